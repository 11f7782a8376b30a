const clamp = (value, most) => Math.min(most, Math.max(0, value));
const setLayer = layer => {
  if (attention.layers.length) {
    state.layer = clamp(layer, attention.layers.length - 1);
    draw();
  }
};
const togglePlain = () => {
  state.plain = !state.plain;
  at('plain').setAttribute('aria-pressed', String(state.plain));
  draw();
};
const toggleTrueColours = () => {
  state.trueColours = !state.trueColours;
  at('true-colours').setAttribute('aria-pressed', String(state.trueColours));
  drawLegend();
  drawPins();
  draw();
};
const setMap = map => {
  if (nMaps) {
    state.map = clamp(map, nMaps - 1);
    draw();
  }
};
attention.layers.forEach((layer, i) => {
  const option = make('option', String(layer));
  option.value = String(i);
  at('layer').append(option);
});
at('head').max = String(Math.max(0, nMaps - 1));
at('layer').addEventListener('change', event => setLayer(Number(event.target.value)));
at('head').addEventListener('input', event => setMap(Number(event.target.value)));
at('pin').addEventListener('click', pin);
at('plain').addEventListener('click', togglePlain);
at('true-colours').addEventListener('click', toggleTrueColours);
// The next word; a kept word hands on to it.
function walk(by) {
  const next = clamp(state.token + by, tokens.length - 1);
  if (state.locked) choose(next, false);
  buttons[next].focus();
  draw();
}
document.addEventListener('keydown', event => {
  if (
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) ||
    event.target.closest('#graph, .scroll')
  )
    return;
  const go = {
    ArrowLeft: () => walk(-1),
    ArrowRight: () => walk(1),
    ArrowUp: () => setLayer(state.layer + 1),
    ArrowDown: () => setLayer(state.layer - 1),
    '[': () => setMap(state.map - 1),
    ']': () => setMap(state.map + 1),
    m: () => setMap(nMaps - 1),
    p: pin,
    o: togglePlain,
    c: toggleTrueColours,
    Escape: () => lock(null),
  }[event.key];
  if (go && tokens.length) {
    go();
    event.preventDefault();
  }
});

function drawLegend() {
  const ramp = at('scale').getContext('2d');
  for (let i = 0; i < 256; ++i) {
    const t = i / 255,
      ground = 255 * 0.43,
      o = 0.62 + 0.36 * t,
      gray = 255 * (dimmed + (1 - dimmed) * Math.sqrt(t));
    ramp.fillStyle = `rgb(${palette[i]
      .map(c => Math.round(state.trueColours ? gray : ground + (c - ground) * o))
      .join(',')})`;
    ramp.fillRect(i, 0, 1, 1);
  }
}
drawLegend();

at('title').textContent =
  tokens
    .slice(data.n_prompt)
    .filter(t => !/^<\|.*\|>$/.test(t))
    .join('')
    .trim() || data.name;
at('about').textContent = [
  data.name,
  data.producer && 'recorded by ' + data.producer,
  data.reference && `rules of ${data.reference}`,
  `${data.n_prompt} prompt tokens, ${tokens.length - data.n_prompt} answer tokens`,
]
  .filter(Boolean)
  .join(' \u00b7 ');
