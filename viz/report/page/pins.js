function pin() {
  const row = rowOf.get(state.token - 1);
  if (row === undefined || !nMaps) return;
  const gone = state.pins.length === 2 ? state.pins.shift() : null;
  state.pins.push({ token: state.token, row, layer: state.layer, map: state.map });
  drawPins();
  at('pin-state').textContent =
    `Pinned \u201c${bare(state.token)}\u201d` +
    (gone ? `; it replaced \u201c${bare(gone.token)}\u201d, since two maps fit.` : '.');
}
function drawPins() {
  at('pins').replaceChildren();
  const shared = Math.max(
    0,
    ...state.pins.map(pin =>
      Math.max(
        0,
        ...stages.map(stage => {
          if (!attention.rows[pin.row].sees[stage.index]) return 0;
          const v = grid(pin.layer, pin.map, pin.row, stage.index),
            b = strongest(stage, v);
          return b < 0 ? 0 : v[b];
        }),
      ),
    ),
  );
  state.pins.forEach((pin, i) => {
    for (const stage of stages) {
      const figure = make('figure', undefined, 'pin'),
        canvas = make('canvas'),
        caption = make('figcaption');
      canvas.width = stage.canvas.width;
      canvas.height = stage.canvas.height;
      const blind = !attention.rows[pin.row].sees[stage.index];
      const values = blind
        ? new Float64Array(patchesOf[stage.index])
        : grid(pin.layer, pin.map, pin.row, stage.index);
      paint(stage, canvas.getContext('2d'), values, shared);
      const text = `\u201c${bare(pin.token)}\u201d, layer ${attention.layers[pin.layer]},` +
        ` ${attention.maps[pin.map]}${blind ? ': no effect' : ''}`;
      canvas.setAttribute('role', 'img');
      canvas.setAttribute('aria-label', 'pinned: ' + text);
      const drop = make('button', '\u00d7');
      drop.type = 'button';
      drop.setAttribute('aria-label', 'unpin ' + text);
      drop.addEventListener('click', () => {
        state.pins.splice(i, 1);
        drawPins();
        at('pin-state').textContent = `Unpinned \u201c${bare(pin.token)}\u201d.`;
      });
      caption.append(text + ' ', drop);
      figure.append(canvas, caption);
      at('pins').append(figure);
    }
  });
  if (state.pins.length)
    at('pins').append(make('p', `Pinned maps share one scale: 0 to ${percent(shared)}.`, 'soft small'));
}
