function draw() {
  const row = rowOf.get(state.token - 1);
  document.body.dataset.token = String(state.token);
  const scale = sharedScale(row); // all pictures of a run on one scale
  at('most').textContent = scale > 0 && !state.plain ? percent(scale) : '';
  for (const stage of stages) drawStage(stage, row, scale);
  drawTokens(row);
  at('head-name').textContent = attention.maps[state.map] || '';
  at('head').value = String(state.map);
  at('head').setAttribute('aria-valuetext', attention.maps[state.map] || '');
  at('layer').value = String(state.layer);
  at('sentence').textContent = sentence(row);
  drawSelfAttention();
  drawSpreads(row);
}
// What the page shows now, in words.
function sentence(row) {
  if (state.token < 0) return 'No word chosen: this is the picture as it went in.';
  const word = `\u201c${bare(state.token)}\u201d is token ${state.token}.`;
  if (!attention.layers.length)
    return (
      word +
      (pictures.length
        ? ' Cross-attention was not recorded in this run.'
        : ' This run has no picture: the cross-attention layers were skipped. What the words read in each' +
          ' other is below.')
    );
  if (row === undefined) return `${word} The row that predicts it is not in this page.`;
  const r = attention.rows[row],
    reader = `row ${r.position}, that of \u201c${bare(r.position)}\u201d (${r.kind} step ${r.step})`,
    where = `Layer ${attention.layers[state.layer]}, ${attention.maps[state.map]}, read from ${reader}`;
  const why =
    state.token >= data.n_prompt
      ? ', which predicts it.'
      : ', the row before it. The word was given in the prompt: the row predicted something too,' +
        ' but nobody asked it.';
  const spread = r.sees.some(Boolean) && r.keys > 0;
  return (
    `${word} ${where}${why}` +
    (spread ? ` Spread: ${spreadText(attention.spread[mapIndex(state.layer, state.map, row)], r.keys)}.` : '')
  );
}
const spreadText = (bits, keys) =>
  `${bits.toFixed(1)} of at most ${Math.log2(keys).toFixed(1)} bits, as wide as ${Math.round(2 ** bits)}` +
  ` of ${keys} keys read alike`;
const spreads = attention.maps.map((name, map) => {
  const button = make('button', name.replace(/ of .*/, '') + ' '),
    value = make('b'),
    track = make('i'),
    bar = make('i');
  button.type = 'button';
  track.append(bar);
  button.append(value, track);
  button.addEventListener('click', () => setMap(map));
  at('spreads').append(button);
  return { button, value, bar };
});
function drawSpreads(row) {
  const r = row === undefined ? null : attention.rows[row],
    seen = r !== null && r.sees.some(Boolean) && r.keys > 1;
  at('spreads').hidden = !nMaps;
  spreads.forEach(({ button, value, bar }, map) => {
    const bits = seen ? attention.spread[mapIndex(state.layer, map, row)] : 0;
    value.textContent = seen ? bits.toFixed(1) : '\u2013';
    bar.style.width = seen ? Math.min(100, (100 * bits) / Math.log2(r.keys)) + '%' : '0';
    button.setAttribute('aria-pressed', String(map === state.map));
    button.setAttribute(
      'aria-label',
      `${attention.maps[map].replace(/ of .*/, '')} ${seen ? bits.toFixed(1) + ' bits of spread' : '\u2013'}`,
    );
  });
}
function sharedScale(row) {
  if (row === undefined || !nMaps) return 0;
  return Math.max(
    0,
    ...stages
      .filter(stage => attention.rows[row].sees[stage.index])
      .map(stage => {
        const values = grid(state.layer, state.map, row, stage.index),
          best = strongest(stage, values);
        return best < 0 ? 0 : values[best];
      }),
  );
}
function drawStage(stage, row, scale) {
  const context = stage.context,
    p = stage.picture;
  stage.veil.hidden = true;
  stage.bar.replaceChildren();
  stage.words.replaceChildren();
  stage.values = null;
  delete stage.canvas.dataset.strongest;
  if (row === undefined || !nMaps || state.plain) {
    if (stage.original) context.putImageData(stage.original, 0, 0);
    else paint(stage, context, new Float64Array(patchesOf[stage.index]), 1);
    stage.caption.textContent = `${p.file}, ${p.size[1]} \u00d7 ${p.size[0]} pixels, ${p.tiles[0]} \u00d7` +
      ` ${p.tiles[1]} tiles, ${p.grid[0]} \u00d7 ${p.grid[1]} patches`;
    stage.canvas.setAttribute('aria-label', 'the picture ' + stage.caption.textContent);
  } else if (!attention.rows[row].sees[stage.index]) {
    paint(stage, context, new Float64Array(patchesOf[stage.index]), 1);
    stage.veil.hidden = false;
    stage.caption.textContent = 'no effect';
    stage.canvas.setAttribute('aria-label', 'no effect: this row may see no picture');
  } else {
    const values = grid(state.layer, state.map, row, stage.index),
      best = strongest(stage, values),
      most = best < 0 ? 0 : values[best];
    stage.values = values;
    paint(stage, context, values, scale);
    if (best >= 0) outline(stage, context, best);
    const where =
      best < 0
        ? 'nothing was read'
        : `strongest patch: row ${Math.floor(best / p.grid[1])}, column ${best % p.grid[1]},` +
          ` ${percent(most)}`;
    stage.canvas.dataset.strongest = String(best);
    stage.canvas.dataset.value = String(most);
    stage.caption.textContent = where;
    stage.canvas.setAttribute(
      'aria-label',
      `where layer ${attention.layers[state.layer]} looked before \u201c${bare(state.token)}\u201d; ${where}`,
    );
    const ledger = attention.ledgers[mapIndex(state.layer, state.map, row)][stage.index];
    ledger.forEach((part, i) => {
      if (part > 0) {
        const piece = make('i');
        piece.style.width = part + '%';
        piece.style.background = shades[i];
        stage.bar.append(piece);
      }
      if (i < 4 || part > 0) {
        const item = make('li'),
          mark = make('i');
        mark.style.background = shades[i];
        item.append(mark, make('b', part.toFixed(1) + ' %'), ' ' + names[i]);
        stage.words.append(item);
      }
    });
  }
  if (stage.cursor !== null) outline(stage, context, stage.cursor);
}
