// What the report does: words and patches that light each other up, keys, pins, layer graphs, the table of
// tensors.
#include "viz/report/report.h"

namespace pictor {

const char* const report_script = R"js(
'use strict';
(() => {
const data = JSON.parse(document.getElementById('data').textContent);
const at = id => document.getElementById(id);
const make = (tag, text, name) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; if (name) e.className = name; return e; };
const attention = data.attention, pictures = data.pictures, tokens = data.tokens;
const patchesOf = pictures.map(p => p.grid[0] * p.grid[1]);
const perMap = patchesOf.reduce((a, b) => a + b, 0);
const nMaps = attention.maps.length, nRows = attention.rows.length;
const rowOf = new Map(attention.rows.map((row, i) => [row.position, i]));
const bytes = attention.values ? Uint8Array.from(atob(attention.values), c => c.charCodeAt(0)) : new Uint8Array(0);
const stored = new Uint16Array(bytes.buffer);
const palette = Array.from({length: 256}, (_, i) => [0, 2, 4].map(k => parseInt(data.colours.substr(6 * i + k, 2), 16)));
const names = ['patches on the picture', 'padding pixels inside tiles', 'absent tiles', 'class tokens', 'other pictures', 'padding rows'];
const shades = data.shades;
const state = {token: rowOf.has(data.first_word - 1) ? data.first_word : -1, layer: Math.max(0, attention.layers.length - 1), map: nMaps - 1, patch: null, pins: [], plain: false};

const percent = share => share === 0 ? '0 %' : share < 0.000095 ? (100 * share).toExponential(1) + ' %' : (100 * share).toFixed(share < 0.01 ? 2 : 1) + ' %';
const mapIndex = (layer, map, row) => (layer * nMaps + map) * nRows + row;
function grid(layer, map, row, picture) {
  const index = mapIndex(layer, map, row), largest = attention.largest[index];
  let first = index * perMap;
  for (let p = 0; p < picture; ++p) first += patchesOf[p];
  return Float64Array.from(stored.subarray(first, first + patchesOf[picture]), v => v / 65535 * largest);
}
const bare = i => { const t = tokens[i] === undefined ? '' : tokens[i].trim(); return t || tokens[i] || ''; };

// A picture's pixels: how light each is, and which patch it was read through.
const stages = pictures.map((picture, index) => {
  const figure = make('figure', undefined, 'stage'), canvas = make('canvas'), caption = make('figcaption');
  const [height, width] = picture.size, zoom = Math.min(4, Math.max(0.05, 620 / Math.max(height, width)));
  canvas.width = Math.max(1, Math.round(width * zoom)); canvas.height = Math.max(1, Math.round(height * zoom));
  canvas.tabIndex = 0; canvas.setAttribute('role', 'img');
  const veil = make('div', 'no effect: this row may see no picture', 'veil'); veil.hidden = true;
  const bar = make('div', undefined, 'ledger'); bar.setAttribute('aria-hidden', 'true');
  const words = make('ul', undefined, 'ledger-words');
  figure.append(canvas, veil, bar, words, caption);
  at('stages').append(figure);
  const patchAt = new Int32Array(canvas.width * canvas.height);
  for (let y = 0; y < canvas.height; ++y) for (let x = 0; x < canvas.width; ++x) {
    const row = Math.floor((y + 0.5) * picture.resized[0] / canvas.height / picture.patch_size), column = Math.floor((x + 0.5) * picture.resized[1] / canvas.width / picture.patch_size);
    patchAt[y * canvas.width + x] = row * picture.grid[1] + column;
  }
  const stage = {picture, index, canvas, veil, bar, words, caption, patchAt, context: canvas.getContext('2d', {willReadFrequently: true}), original: null, light: new Float32Array(canvas.width * canvas.height).fill(0.6), cursor: null};
  if (picture.source) {
    const image = new Image();
    image.onload = () => {
      stage.context.drawImage(image, 0, 0, canvas.width, canvas.height);
      stage.original = stage.context.getImageData(0, 0, canvas.width, canvas.height);
      const p = stage.original.data;
      for (let i = 0; i < stage.light.length; ++i) stage.light[i] = (0.2126 * p[4 * i] + 0.7152 * p[4 * i + 1] + 0.0722 * p[4 * i + 2]) / 255;
      document.body.dataset.pictures = String(Number(document.body.dataset.pictures || 0) + 1);
      draw();
    };
    image.src = picture.source;
  }
  return stage;
});

function paint(stage, context, values, scale) {
  const {width, height} = stage.canvas, image = context.createImageData(width, height), out = image.data;
  const colours = Array.from(values, v => { const t = scale > 0 ? Math.min(1, v / scale) : 0; return [palette[Math.round(255 * t)], 0.62 + 0.36 * t]; });
  for (let i = 0; i < stage.patchAt.length; ++i) {
    const ground = 255 * (0.10 + 0.66 * stage.light[i]), [c, opacity] = colours[stage.patchAt[i]];
    out[4 * i] = ground + (c[0] - ground) * opacity; out[4 * i + 1] = ground + (c[1] - ground) * opacity; out[4 * i + 2] = ground + (c[2] - ground) * opacity; out[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
function outline(stage, context, patch) {
  const p = stage.picture, sx = stage.canvas.width / p.resized[1], sy = stage.canvas.height / p.resized[0], row = Math.floor(patch / p.grid[1]), column = patch % p.grid[1];
  const x = column * p.patch_size * sx, y = row * p.patch_size * sy, w = Math.min((column + 1) * p.patch_size, p.resized[1]) * sx - x, h = Math.min((row + 1) * p.patch_size, p.resized[0]) * sy - y;
  context.lineWidth = 5; context.strokeStyle = '#111'; context.strokeRect(x, y, w, h);
  context.lineWidth = 2; context.strokeStyle = '#fff'; context.strokeRect(x, y, w, h);
}
const shows = (stage, patch) => { const p = stage.picture; return Math.floor(patch / p.grid[1]) * p.patch_size < p.resized[0] && patch % p.grid[1] * p.patch_size < p.resized[1]; };
function strongest(stage, values) {
  let best = -1;
  for (let i = 0; i < values.length; ++i) if (shows(stage, i) && values[i] > 0 && (best < 0 || values[i] > values[best])) best = i;
  return best;
}

function draw() {
  const row = rowOf.get(state.token - 1);
  document.body.dataset.token = String(state.token);
  const scale = sharedScale(row);   // all pictures of a run on one scale
  at('most').textContent = scale > 0 && !state.plain ? percent(scale) : '';
  for (const stage of stages) drawStage(stage, row, scale);
  drawTokens(row);
  at('head-name').textContent = attention.maps[state.map] || '';
  at('head').value = String(state.map);
  at('head').setAttribute('aria-valuetext', attention.maps[state.map] || '');
  at('layer').value = String(state.layer);
  if (state.token < 0) at('sentence').textContent = attention.layers.length ? 'No word chosen: this is the picture as it went in.' : 'This run looked at no picture, or its cross-attention was not recorded.';
  else if (row === undefined) at('sentence').textContent = `No map for \u201c${bare(state.token)}\u201d: the row that predicts it is not in this page.`;
  else { const r = attention.rows[row]; at('sentence').textContent = `\u201c${bare(state.token)}\u201d is token ${state.token}. Layer ${attention.layers[state.layer]}, ${attention.maps[state.map]}, read from row ${r.position}, that of \u201c${bare(r.position)}\u201d (${r.kind} step ${r.step}), which predicts it.` + (r.sees.some(Boolean) && r.keys > 0 ? ` Spread: ${spreadText(attention.spread[mapIndex(state.layer, state.map, row)], r.keys)}.` : ''); }
  drawSpreads(row);
}
const spreadText = (bits, keys) => `${bits.toFixed(1)} of at most ${Math.log2(keys).toFixed(1)} bits, as wide as ${Math.round(2 ** bits)} of ${keys} keys read alike`;
const spreads = attention.maps.map((name, map) => {
  const button = make('button', name.replace(/ of .*/, '') + ' '), value = make('b'), track = make('i'), bar = make('i');
  button.type = 'button'; track.append(bar); button.append(value, track);
  button.addEventListener('click', () => setMap(map));
  at('spreads').append(button);
  return {button, value, bar};
});
function drawSpreads(row) {
  const r = row === undefined ? null : attention.rows[row], seen = r !== null && r.sees.some(Boolean) && r.keys > 1;
  at('spreads').hidden = !nMaps;
  spreads.forEach(({button, value, bar}, map) => {
    const bits = seen ? attention.spread[mapIndex(state.layer, map, row)] : 0;
    value.textContent = seen ? bits.toFixed(1) : '\u2013';
    bar.style.width = seen ? Math.min(100, 100 * bits / Math.log2(r.keys)) + '%' : '0';
    button.setAttribute('aria-pressed', String(map === state.map));
    button.setAttribute('aria-label', seen ? `${attention.maps[map]}: spread ${bits.toFixed(1)} bits` : attention.maps[map]);
  });
}
function sharedScale(row) {
  if (row === undefined || !nMaps) return 0;
  return Math.max(0, ...stages.filter(stage => attention.rows[row].sees[stage.index]).map(stage => { const values = grid(state.layer, state.map, row, stage.index), best = strongest(stage, values); return best < 0 ? 0 : values[best]; }));
}
function drawStage(stage, row, scale) {
  const context = stage.context, p = stage.picture;
  stage.veil.hidden = true; stage.bar.replaceChildren(); stage.words.replaceChildren();
  stage.values = null; delete stage.canvas.dataset.strongest;
  if (row === undefined || !nMaps || state.plain) {
    if (stage.original) context.putImageData(stage.original, 0, 0);
    else paint(stage, context, new Float64Array(patchesOf[stage.index]), 1);
    stage.caption.textContent = `${p.file}, ${p.size[1]} \u00d7 ${p.size[0]} pixels, ${p.tiles[0]} \u00d7 ${p.tiles[1]} tiles, ${p.grid[0]} \u00d7 ${p.grid[1]} patches`;
    stage.canvas.setAttribute('aria-label', 'the picture ' + stage.caption.textContent);
  } else if (!attention.rows[row].sees[stage.index]) {
    paint(stage, context, new Float64Array(patchesOf[stage.index]), 1);
    stage.veil.hidden = false;
    stage.caption.textContent = 'no effect';
    stage.canvas.setAttribute('aria-label', 'no effect: this row may see no picture');
  } else {
    const values = grid(state.layer, state.map, row, stage.index), best = strongest(stage, values), most = best < 0 ? 0 : values[best];
    stage.values = values;
    paint(stage, context, values, scale);
    if (best >= 0) outline(stage, context, best);
    const where = best < 0 ? 'nothing was read' : `strongest patch: row ${Math.floor(best / p.grid[1])}, column ${best % p.grid[1]}, ${percent(most)}`;
    stage.canvas.dataset.strongest = String(best); stage.canvas.dataset.value = String(most);
    stage.caption.textContent = where;
    stage.canvas.setAttribute('aria-label', `where layer ${attention.layers[state.layer]} looked before \u201c${bare(state.token)}\u201d; ${where}`);
    const ledger = attention.ledgers[mapIndex(state.layer, state.map, row)][stage.index];
    ledger.forEach((part, i) => {
      if (part > 0) { const piece = make('i'); piece.style.width = part + '%'; piece.style.background = shades[i]; stage.bar.append(piece); }
      if (i < 4 || part > 0) { const item = make('li'), mark = make('i'); mark.style.background = shades[i]; item.append(mark, make('b', part.toFixed(1) + ' %'), ' ' + names[i]); stage.words.append(item); }
    });
  }
  if (stage.cursor !== null) outline(stage, context, stage.cursor);
}

const buttons = tokens.map((text, i) => {
  const button = make('button', text === '' ? '\u2205' : text, i < data.n_prompt ? 'prompt' : '');
  button.type = 'button'; button.dir = 'auto'; button.dataset.token = String(i);
  button.tabIndex = i === 0 ? 0 : -1;
  const row = rowOf.get(i - 1);
  if (row !== undefined && !attention.rows[row].sees.some(Boolean)) { button.classList.add('blind'); button.title = 'read from a row that may see no picture'; }
  const choose = () => { if (state.token !== i) { state.token = i; draw(); } };
  button.addEventListener('mouseenter', choose); button.addEventListener('focus', choose); button.addEventListener('click', choose);
  at(i < data.n_prompt ? 'prompt' : 'answer').append(button);
  return button;
});
function drawTokens(row) {
  const pointed = state.patch;
  let weights = null, most = 0;
  if (pointed) {
    weights = tokens.map((_, i) => { const r = rowOf.get(i - 1); return r === undefined || !attention.rows[r].sees[pointed.picture] ? 0 : grid(state.layer, state.map, r, pointed.picture)[pointed.patch]; });
    most = Math.max(...weights);
  }
  buttons.forEach((button, i) => {
    button.classList.toggle('chosen', i === state.token);
    button.classList.toggle('reads', row !== undefined && i === state.token - 1);
    button.setAttribute('aria-pressed', String(i === state.token));
    button.tabIndex = i === Math.max(0, state.token) ? 0 : -1;
    button.style.backgroundColor = weights && most > 0 ? `rgba(var(--glow),${(0.75 * weights[i] / most).toFixed(3)})` : '';
    if (weights) button.dataset.weight = String(weights[i]); else delete button.dataset.weight;
  });
  if (weights) {
    const best = weights.indexOf(most), p = pictures[pointed.picture];
    at('pointed').textContent = `Patch at row ${Math.floor(pointed.patch / p.grid[1])}, column ${pointed.patch % p.grid[1]}: read most before \u201c${bare(best)}\u201d (${percent(most)}).`;
  } else at('pointed').textContent = '';
}

function pointAt(stage, patch) {
  stage.cursor = patch;
  state.patch = patch === null || !nMaps ? null : {picture: stage.index, patch};
  draw();
}
for (const stage of stages) {
  const {canvas, picture} = stage;
  canvas.addEventListener('mousemove', event => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * canvas.width), y = Math.floor((event.clientY - box.top) / box.height * canvas.height);
    if (x < 0 || y < 0 || x >= canvas.width || y >= canvas.height) return;
    const patch = stage.patchAt[y * canvas.width + x];
    if (patch !== stage.cursor) pointAt(stage, patch);
  });
  canvas.addEventListener('mouseleave', () => pointAt(stage, null));
  canvas.addEventListener('blur', () => { if (stage.cursor !== null) pointAt(stage, null); });
  canvas.addEventListener('keydown', event => {
    const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (event.key === 'Escape') { pointAt(stage, null); canvas.blur(); event.stopPropagation(); return; }
    if (!step) return;
    const rows = Math.ceil(picture.resized[0] / picture.patch_size), columns = Math.ceil(picture.resized[1] / picture.patch_size);
    const now = stage.cursor === null ? [0, 0] : [Math.floor(stage.cursor / picture.grid[1]) + step[0], stage.cursor % picture.grid[1] + step[1]];
    pointAt(stage, Math.min(rows - 1, Math.max(0, now[0])) * picture.grid[1] + Math.min(columns - 1, Math.max(0, now[1])));
    event.preventDefault(); event.stopPropagation();
  });
}

function pin() {
  const row = rowOf.get(state.token - 1);
  if (row === undefined || !nMaps) return;
  if (state.pins.length === 2) state.pins.shift();
  state.pins.push({token: state.token, row, layer: state.layer, map: state.map});
  drawPins();
}
function drawPins() {
  at('pins').replaceChildren();
  const shared = Math.max(0, ...state.pins.map(pin => Math.max(0, ...stages.map(stage => { if (!attention.rows[pin.row].sees[stage.index]) return 0; const v = grid(pin.layer, pin.map, pin.row, stage.index), b = strongest(stage, v); return b < 0 ? 0 : v[b]; }))));
  state.pins.forEach((pin, i) => {
    for (const stage of stages) {
      const figure = make('figure', undefined, 'pin'), canvas = make('canvas'), caption = make('figcaption');
      canvas.width = stage.canvas.width; canvas.height = stage.canvas.height;
      const blind = !attention.rows[pin.row].sees[stage.index];
      const values = blind ? new Float64Array(patchesOf[stage.index]) : grid(pin.layer, pin.map, pin.row, stage.index);
      paint(stage, canvas.getContext('2d'), values, shared);
      const text = `\u201c${bare(pin.token)}\u201d, layer ${attention.layers[pin.layer]}, ${attention.maps[pin.map]}${blind ? ': no effect' : ''}`;
      canvas.setAttribute('role', 'img'); canvas.setAttribute('aria-label', 'pinned: ' + text);
      const drop = make('button', '\u00d7'); drop.type = 'button'; drop.setAttribute('aria-label', 'unpin ' + text);
      drop.addEventListener('click', () => { state.pins.splice(i, 1); drawPins(); });
      caption.append(text + ' ', drop); figure.append(canvas, caption); at('pins').append(figure);
    }
  });
  if (state.pins.length) at('pins').append(make('p', `Pinned maps share one scale: 0 to ${percent(shared)}.`, 'soft small'));
}

const clamp = (value, most) => Math.min(most, Math.max(0, value));
const setLayer = layer => { if (attention.layers.length) { state.layer = clamp(layer, attention.layers.length - 1); draw(); } };
const togglePlain = () => { state.plain = !state.plain; at('plain').setAttribute('aria-pressed', String(state.plain)); draw(); };
const setMap = map => { if (nMaps) { state.map = clamp(map, nMaps - 1); draw(); } };
attention.layers.forEach((layer, i) => { const option = make('option', String(layer)); option.value = String(i); at('layer').append(option); });
at('head').max = String(Math.max(0, nMaps - 1));
at('layer').addEventListener('change', event => setLayer(Number(event.target.value)));
at('head').addEventListener('input', event => setMap(Number(event.target.value)));
at('pin').addEventListener('click', pin);
at('plain').addEventListener('click', togglePlain);
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || event.target.closest('#graph')) return;
  const go = {ArrowLeft: () => buttons[clamp(state.token - 1, tokens.length - 1)].focus(), ArrowRight: () => buttons[clamp(state.token + 1, tokens.length - 1)].focus(),
    ArrowUp: () => setLayer(state.layer + 1), ArrowDown: () => setLayer(state.layer - 1), '[': () => setMap(state.map - 1), ']': () => setMap(state.map + 1), m: () => setMap(nMaps - 1), p: pin, o: togglePlain}[event.key];
  if (go && tokens.length) { go(); event.preventDefault(); }
});

const ramp = at('scale').getContext('2d');
for (let i = 0; i < 256; ++i) { const t = i / 255, ground = 255 * 0.43, o = 0.62 + 0.36 * t; ramp.fillStyle = `rgb(${palette[i].map(c => Math.round(ground + (c - ground) * o)).join(',')})`; ramp.fillRect(i, 0, 1, 1); }

at('title').textContent = tokens.slice(data.n_prompt).filter(t => !/^<\|.*\|>$/.test(t)).join('').trim() || data.name;
at('about').textContent = [data.name, data.producer && 'recorded by ' + data.producer, data.reference && `rules of ${data.reference}`, `${data.n_prompt} prompt tokens, ${tokens.length - data.n_prompt} answer tokens`].filter(Boolean).join(' \u00b7 ');

for (const step of data.steps) {
  const line = make('tr'), words = make('div', undefined, 'words'), taken = tokens[step.position + 1];
  step.words.forEach(([word, probability]) => {
    const span = make('span', undefined, word === taken ? 'taken' : ''), meter = make('meter');
    meter.value = probability; meter.setAttribute('aria-hidden', 'true');
    span.dir = 'auto'; span.append(word, meter, (100 * probability).toFixed(1) + ' %'); words.append(span);
  });
  const cell = make('td'); cell.append(words);
  line.append(make('td', String(step.step), 'number'), make('td', String(step.position), 'number'), make('td', bare(step.position), 'name'), cell);
  at('steps').append(line);
}

// A layer's graph, built anew from what a drawing may hold: shapes, words and links to files beside this page.
const graphParts = new Set(['svg', 'g', 'path', 'polygon', 'polyline', 'ellipse', 'text', 'title', 'a']);
const graphAttributes = new Set(['id', 'class', 'd', 'points', 'fill', 'stroke', 'stroke-width', 'stroke-dasharray', 'x', 'y', 'cx', 'cy', 'rx', 'ry', 'transform', 'text-anchor', 'font-family', 'font-size', 'font-weight', 'viewBox']);
const space = 'http://www.w3.org/2000/svg';
function rebuilt(from) {
  const to = document.createElementNS(space, from.localName);
  for (const {name, value} of from.attributes) {
    if (graphAttributes.has(name)) to.setAttribute(name, value);
    else if (name === 'xlink:href' && from.localName === 'a' && /^[^:<>"'\\]+$/.test(value) && !value.startsWith('//')) to.setAttribute('href', value);
  }
  for (const child of from.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) to.append(child.data);
    else if (child.nodeType === Node.ELEMENT_NODE && child.namespaceURI === space && graphParts.has(child.localName)) to.append(rebuilt(child));
  }
  return to;
}
const viewer = {zoom: 0, svg: null, width: 1};
function showGraph(index) {
  const graph = data.graphs[index];
  if (!graph) return;
  viewer.svg = rebuilt(new DOMParser().parseFromString(graph.svg, 'image/svg+xml').documentElement);
  const box = (viewer.svg.getAttribute('viewBox') || '0 0 1 1').split(' ');
  viewer.width = Number(box[2]) * 4 / 3 || 1;   // points to pixels
  viewer.svg.setAttribute('role', 'group');
  viewer.svg.setAttribute('aria-label', 'graph of ' + graph.title + ': every operation with shape, mean, standard deviation and range; the table below has the same numbers');
  at('graph').replaceChildren(viewer.svg);
  at('graph').scrollTo(0, 0);
  resize();
}
const fitting = () => Math.min(1, Math.max(20, at('graph').clientWidth - 4) / viewer.width);
function resize() {
  const zoom = viewer.zoom || fitting();
  if (viewer.svg) viewer.svg.style.width = viewer.width * zoom + 'px';
  at('zoom').textContent = viewer.zoom ? Math.round(100 * zoom) + ' %' : 'fit';
}
const zoomBy = factor => { viewer.zoom = Math.min(4, Math.max(0.1, (viewer.zoom || fitting()) * factor)); resize(); };
at('graph').addEventListener('keydown', event => { const factor = {'+': 1.25, '-': 0.8}[event.key]; if (factor && !event.ctrlKey && !event.metaKey) { zoomBy(factor); event.preventDefault(); } });
data.graphs.forEach((graph, i) => { const option = make('option', graph.title); option.value = String(i); at('graph-layer').append(option); });
at('graph-layer').addEventListener('change', event => showGraph(Number(event.target.value)));
at('zoom-in').addEventListener('click', () => zoomBy(1.25));
at('zoom-out').addEventListener('click', () => zoomBy(0.8));
at('zoom-fit').addEventListener('click', () => { viewer.zoom = 0; resize(); });
window.addEventListener('resize', resize);
if (data.graphs.length) { const first = Math.max(0, data.graphs.findIndex(g => /cross/.test(g.title))); at('graph-layer').value = String(first); showGraph(first); }
else at('graph').textContent = 'No layer graphs in this page.';

const table = {shown: 0, found: []};
const short = v => v === null ? '\u2013' : Math.abs(v) !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5) ? v.toExponential(2) : String(Number(v.toPrecision(4)));
function bars(text) {
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('width', '80'); svg.setAttribute('height', '20'); svg.setAttribute('class', 'bars'); svg.setAttribute('role', 'img'); svg.setAttribute('aria-label', 'histogram');
  [...text].forEach((c, i) => { const h = parseInt(c, 36) / 35 * 20, r = document.createElementNS(space, 'rect'); r.setAttribute('x', String(4 * i)); r.setAttribute('y', String(20 - h)); r.setAttribute('width', '3.4'); r.setAttribute('height', String(h)); svg.append(r); });
  return svg;
}
function line(row) {
  const [name, step, axes, shape, dtype, min, max, mean, std, zeros, nonfinite, histogram, source, chapter] = row;
  const size = shape.reduce((a, b) => a * b, 1), tr = make('tr', undefined, nonfinite > 0 || (size > 0 && zeros === size) ? 'odd' : ''), cell = make('td'), link = make('td');
  if (histogram) cell.append(bars(histogram));
  if (nonfinite > 0) cell.append(`${nonfinite} NaN or infinite`); else if (size > 0 && zeros === size) cell.append('all zero');
  if (data.tensors.chapters[chapter]) { const a = make('a', chapter); a.href = data.tensors.chapters[chapter]; link.append(a); } else link.textContent = chapter;
  tr.append(make('td', name, 'name'), make('td', String(step), 'number'), cell, make('td', axes), make('td', shape.join(' \u00d7 ') + ' ' + dtype), ...[min, max, mean, std].map(v => make('td', short(v), 'number')), make('td', source, 'name'), link);
  return tr;
}
function search() {
  const words = at('search').value.toLowerCase().split(/\s+/).filter(Boolean);
  table.found = data.tensors.rows.filter(row => words.every(w => w.startsWith('step:') ? String(row[1]) === w.slice(5) : (row[0] + ' ' + row[2] + ' ' + row[12] + ' ' + row[13]).toLowerCase().includes(w)));
  table.shown = 0; at('tensors').replaceChildren(); more(40);
}
function more(count) {
  at('tensors').append(...table.found.slice(table.shown, table.shown + count).map(line));
  table.shown = Math.min(table.found.length, table.shown + count);
  at('found').textContent = `${table.shown} of ${table.found.length} shown`;
  at('more').hidden = table.shown === table.found.length;
}
at('search').addEventListener('input', search);
at('more').addEventListener('click', () => more(200));
search();

at('left').hidden = data.left_out.length === 0;
for (const sentence of data.left_out) at('left-out').append(make('li', sentence));
draw();
document.body.dataset.ready = 'yes';
})();
)js";

}  // namespace pictor
