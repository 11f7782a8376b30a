const data = JSON.parse(document.getElementById('data').textContent);
const space = 'http://www.w3.org/2000/svg';
const at = id => document.getElementById(id);
const make = (tag, text, name) => {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (name) e.className = name;
  return e;
};
const attention = data.attention,
  pictures = data.pictures,
  tokens = data.tokens;
const patchesOf = pictures.map(p => p.grid[0] * p.grid[1]);
const perMap = patchesOf.reduce((a, b) => a + b, 0);
const nMaps = attention.maps.length,
  nRows = attention.rows.length;
const rowOf = new Map(attention.rows.map((row, i) => [row.position, i]));
const bytes = attention.values
  ? Uint8Array.from(atob(attention.values), c => c.charCodeAt(0))
  : new Uint8Array(0);
const stored = new Uint16Array(bytes.buffer);
const palette = Array.from({ length: 256 }, (_, i) =>
  [0, 2, 4].map(k => parseInt(data.colours.substr(6 * i + k, 2), 16)),
);
const names = [
  'patches on the picture',
  'padding pixels inside tiles',
  'absent tiles',
  'class tokens',
  'other pictures',
  'padding rows',
];
const shades = data.shades;
// Where no word may see a picture the page opens with the answer's first word.
function firstAnswerWord() {
  return tokens.length > data.n_prompt ? data.n_prompt : -1;
}
const state = {
  token: rowOf.has(data.first_word - 1) ? data.first_word : firstAnswerWord(),
  rest: -1, // the word that a preview gives way to
  locked: false, // a clicked word stays while the mouse crosses others
  layer: Math.max(0, attention.layers.length - 1),
  map: nMaps - 1,
  patch: null,
  pins: [],
  plain: false,
  trueColours: false,
};

const percent = share =>
  share === 0
    ? '0 %'
    : share < 0.000095
      ? (100 * share).toExponential(1) + ' %'
      : (100 * share).toFixed(share < 0.01 ? 2 : 1) + ' %';
const mapIndex = (layer, map, row) => (layer * nMaps + map) * nRows + row;
function grid(layer, map, row, picture) {
  const index = mapIndex(layer, map, row),
    largest = attention.largest[index];
  let first = index * perMap;
  for (let p = 0; p < picture; ++p) first += patchesOf[p];
  return Float64Array.from(stored.subarray(first, first + patchesOf[picture]), v => (v / 65535) * largest);
}
const bare = i => {
  const t = tokens[i] === undefined ? '' : tokens[i].trim();
  return t || tokens[i] || '';
};
state.rest = state.token;
