// From the model to one number: a layer opens its graph, a box its tensor, a tensor one row of numbers, and a
// number what made it.
const numbers = data.numbers;
const rowsByTensor = new Map(); // name -> its rows of the table of tensors, a step each
for (const row of data.tensors.rows) {
  if (!rowsByTensor.has(row[0])) rowsByTensor.set(row[0], []);
  rowsByTensor.get(row[0]).push(row);
}
const usedBy = new Map();
for (const [name, inputs] of Object.entries(numbers.inputs))
  for (const input of inputs) usedBy.set(input, [...(usedBy.get(input) || []), name]);
const opened = { name: '', step: 0, head: 0, at: -1 };

// One row as the page has it: {part, values, heads, wide}; null: it has none.
function rowOfNumbers(name, step) {
  const found = numbers.rows[`${step} ${name}`],
    entry = (rowsByTensor.get(name) || []).find(row => row[1] === step);
  if (!found || !entry) return null;
  const raw = Uint8Array.from(atob(found.values), c => c.charCodeAt(0)),
    wide = entry[3][entry[3].length - 1];
  return { part: found.part, values: new Float32Array(raw.buffer), wide, axes: entry[2].split(' ') };
}
const headAxis = row => row.part.findIndex((index, axis) => index < 0 && axis < row.part.length - 1);
const valueAt = (row, head, i) => row.values[(headAxis(row) < 0 ? 0 : head) * row.wide + i];
function indexOf(row, head, i) {
  const index = row.part.slice();
  if (headAxis(row) >= 0) index[headAxis(row)] = head;
  index[index.length - 1] = i;
  return index;
}
// A place on an axis in words: the word of a token, the patch of a key.
function placeInWords(name, step, axis, i) {
  if (axis === 'vocabulary') return `vocabulary ${i}`;
  const place = data.steps.find(s => s.step === step);
  if (axis === 'token') {
    const rows = (rowsByTensor.get(name) || []).find(row => row[1] === step)[3],
      count = rows[(rowsByTensor.get(name) || [])[0][2].split(' ').indexOf('token')],
      token = place ? place.position - count + 1 + i : i;
    return `token ${token} \u201c${bare(token)}\u201d`;
  }
  if (axis === 'key' && /^language_model.*self_attn/.test(name)) return `token ${i} \u201c${bare(i)}\u201d`;
  if (axis === 'key' && /cross_attn/.test(name) && pictures.length) {
    const p = pictures[0],
      side = p.tile_size / p.patch_size,
      perTile = 1 + side * side,
      tile = Math.floor(i / perTile),
      patch = (i % perTile) - 1;
    if (pictures.length > 1 || tile >= p.tiles[0] * p.tiles[1]) return `key ${i}`;
    const row = Math.floor(tile / p.tiles[1]) * side + Math.floor(patch / side),
      column = (tile % p.tiles[1]) * side + (patch % side);
    return patch < 0
      ? `key ${i} (class token of tile ${tile})`
      : `key ${i} (patch at row ${row}, column ${column})`;
  }
  return `${axis} ${i}`;
}
const quoted = text => "'" + text.replace(/'/g, "'\\''") + "'";
const whyCommand = (name, step, index) =>
  `build/trace why ${quoted(data.name)} ${quoted(`${name}[${index.join(',')}]`)}` +
  ` --step ${step} --html why.html`;

function openTensor(name, step) {
  const entries = rowsByTensor.get(name);
  if (!entries) return;
  opened.name = name;
  opened.step = entries.some(row => row[1] === step) ? step : entries[0][1];
  opened.head = 0;
  opened.at = -1;
  const graph = graphOf(name);
  if (graph >= 0 && Number(at('graph-layer').value) !== graph) {
    at('graph-layer').value = String(graph);
    showGraph(graph);
  }
  drawTensor();
  markGraph();
}
function graphOf(name) {
  return data.graphs.findIndex(g => name === g.prefix || name.startsWith(g.prefix + '.'));
}
function linkTo(text, href) {
  if (!href) return document.createTextNode(text);
  const a = make('a', text);
  a.href = href;
  return a;
}
function tensorButton(name) {
  const button = make('button', name.replace(/^.*\.layers\.\d+\.(?=.)/, ''), 'link');
  button.type = 'button';
  button.title = name;
  button.addEventListener('click', () => openTensor(name, opened.step));
  return button;
}
function drawTensor() {
  const entries = rowsByTensor.get(opened.name),
    entry = entries.find(row => row[1] === opened.step),
    row = rowOfNumbers(opened.name, opened.step);
  const [name, step, axes, shape, dtype, min, max, mean, std, , , , source, chapter] = entry;
  at('tensor-name').textContent = name;
  at('tensor-facts').replaceChildren(
    `${axes.split(' ').join(' \u00d7 ')} [${shape.join(', ')}] ${dtype}, made at `,
    linkTo(source || 'an unknown place', data.tensors.sources[source]),
    chapter ? ', chapter ' : '',
    chapter ? linkTo(chapter, data.tensors.chapters[chapter]) : '',
    `; ${short(min)} to ${short(max)}, mean ${short(mean)} \u00b1 ${short(std)}. `,
  );
  const choose = at('tensor-step');
  choose.replaceChildren(
    ...entries.map(each => {
      const option = make('option', String(each[1]));
      option.value = String(each[1]);
      return option;
    }),
  );
  choose.value = String(step);
  const lists = [
    ['made from', (numbers.inputs[name] || []).filter(other => rowsByTensor.has(other))],
    ['used by', (usedBy.get(name) || []).filter(other => rowsByTensor.has(other))],
  ];
  at('tensor-links').replaceChildren();
  for (const [text, names] of lists)
    if (names.length)
      at('tensor-links').append(
        make('span', text + ' ', 'soft'),
        ...names.flatMap(other => [tensorButton(other), ' ']),
      );
  const heads = row && headAxis(row) >= 0 ? shape[headAxis(row)] : 0;
  at('tensor-head-label').hidden = heads === 0;
  at('tensor-head').replaceChildren(
    ...Array.from({ length: heads }, (_, head) => {
      const option = make('option', String(head));
      option.value = String(head);
      return option;
    }),
  );
  at('tensor-head').value = String(opened.head);
  drawNumbers(row);
}
function drawNumbers(row) {
  at('why').hidden = true;
  if (!row) {
    at('row-words').textContent =
      `This page has rows of numbers for steps ${numbers.steps.join(' and ')}, where they were recorded` +
      ` whole.` +
      ` For others: build/trace show ${quoted(data.name)} ${quoted(opened.name)} --step ${opened.step}`;
    at('row').replaceChildren();
    return;
  }
  const fixed = row.part
    .map((index, axis) =>
      index >= 0 ? placeInWords(opened.name, opened.step, row.axes[axis], index) : '',
    )
    .filter(Boolean);
  at('row-words').textContent =
    `Row of ${fixed.join(', ') || 'the whole'}: ${row.wide} numbers along ${row.axes[row.axes.length - 1]}.` +
    ' Choose one to ask what made it.';
  const values = Array.from({ length: row.wide }, (_, i) => valueAt(row, opened.head, i)),
    ordinary = values.map(Math.abs).filter(size => size < 1e30), // a mask is far below all of them
    most = Math.max(0, ...ordinary);
  at('row').replaceChildren(
    ...values.map((value, i) => {
      const button = make('button', short(Number.isFinite(value) && value > -1e30 ? value : null));
      button.type = 'button';
      button.tabIndex = i === Math.max(0, opened.at) ? 0 : -1;
      const part = most > 0 && Math.abs(value) < 1e30 ? Math.abs(value) / most : 0;
      button.style.backgroundColor = `rgba(var(--${value < 0 ? 'less' : 'glow'}),${(0.5 * part).toFixed(3)})`;
      button.setAttribute(
        'aria-label',
        `${placeInWords(opened.name, opened.step, row.axes[row.axes.length - 1], i)}: ${button.textContent}`,
      );
      button.title = button.getAttribute('aria-label');
      return button;
    }),
  );
}
at('row').addEventListener('click', event => {
  const i = [...at('row').children].indexOf(event.target.closest('button'));
  if (i >= 0) chooseNumber(i);
});
at('row').addEventListener('keydown', event => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key],
    all = [...at('row').children],
    now = all.indexOf(document.activeElement);
  if (!by || now < 0) return;
  const next = all[clamp(now + by, all.length - 1)];
  all[now].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
  event.preventDefault();
  event.stopPropagation();
});
function chooseNumber(i) {
  const row = rowOfNumbers(opened.name, opened.step),
    index = indexOf(row, opened.head, i),
    value = valueAt(row, opened.head, i);
  opened.at = i;
  [...at('row').children].forEach((button, k) => button.setAttribute('aria-pressed', String(k === i)));
  const places = index.map((k, axis) => placeInWords(opened.name, opened.step, row.axes[axis], k));
  ask(
    opened.name,
    opened.step,
    index,
    `${opened.name}[${index.join(', ')}] = ${String(value)}: ${places.join(', ')}.`,
    reasons(row, i, value),
  );
}

// What made a number, as far as the numbers in the page tell.
function reasons(row, i, value) {
  const inputs = (numbers.inputs[opened.name] || [])
      .map(name => ({ name, row: rowOfNumbers(name, opened.step) }))
      .filter(input => input.row),
    same = inputs.filter(
      input => input.row.values.length === row.values.length && input.row.wide === row.wide,
    ),
    of = input => valueAt(input.row, opened.head, i),
      named = input => `${input.name}: ${short(of(input))}`;
  const leaf = opened.name.split('.').pop();
  if (leaf === 'probs' && same.length === 1) return softmaxInWords(same[0], row, i, value);
  if (same.length === 2 && Math.abs(of(same[0]) + of(same[1]) - value) <= 1e-5 * (1 + Math.abs(value)))
    return `${same.map(named).join(' plus ')} gives ${short(value)}.`;
  if (same.length === 2 && Math.abs(of(same[0]) * of(same[1]) - value) <= 1e-5 * (1 + Math.abs(value)))
    return `${same.map(named).join(' times ')} gives ${short(value)}.`;
  if (same.length === 1)
    return (
      `It came from ${same[0].name}, which has ${short(of(same[0]))} at this place` +
      (/gated/.test(leaf) && of(same[0]) ? `; the gate let ${percent(value / of(same[0]))} through.` : '.')
    );
  return inputs.length
    ? `It is a sum over ${inputs.map(input => input.name).join(' and ')}; the command lists its terms.`
    : '';
}
function softmaxInWords(input, row, i, value) {
  const all = Array.from({ length: row.wide }, (_, k) => valueAt(input.row, opened.head, k)),
    top = Math.max(...all),
    sum = all.reduce((total, score) => total + Math.exp(score - top), 0),
    best = all.map((_, k) => k).sort((a, b) => all[b] - all[a]);
  const named = k => placeInWords(opened.name, opened.step, row.axes[row.axes.length - 1], k);
  return (
    `Its score is ${short(all[i])}, the largest of the row ${short(top)}: exp(${short(all[i] - top)}) =` +
    ` ${short(Math.exp(all[i] - top))}, divided by the sum over ${row.wide} keys, ${short(sum)}, is` +
    ` ${short(value)}. It competes with ${best
      .filter(k => k !== i)
      .slice(0, 3)
      .map(k => `${named(k)} ${percent(valueAt(row, opened.head, k))}`)
      .join('; ')}.`
  );
}
function ask(name, step, index, what, reason) {
  at('why').hidden = false;
  at('why-number').textContent = what;
  at('why-reason').textContent = reason;
  at('why-command').textContent = whyCommand(name, step, index);
  at('why-copy').textContent = 'Copy';
}
at('why-copy').addEventListener('click', () => {
  const range = document.createRange();
  range.selectNodeContents(at('why-command'));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  // A page opened from a file may not reach the clipboard; then the command stays selected.
  const done = document.execCommand('copy');
  at('why-copy').textContent = done ? 'Copied' : 'Selected: press Ctrl+C';
});
at('tensor-step').addEventListener('change', event => {
  opened.step = Number(event.target.value);
  opened.at = -1;
  drawTensor();
});
at('tensor-head').addEventListener('change', event => {
  opened.head = Number(event.target.value);
  drawNumbers(rowOfNumbers(opened.name, opened.step));
});
at('tensor-find').addEventListener('click', () => {
  at('search').value = `${opened.name} step:${opened.step}`;
  search();
  at('tensors-title').scrollIntoView({ block: 'start' });
  at('search').focus({ preventScroll: true });
});
// A number of another part of the page: opened here where the page has its row.
function askFor(name, step, index, what) {
  const row = rowOfNumbers(name, step);
  openTensor(name, step);
  const held =
    row && row.part.every((k, axis) => k < 0 || k === index[axis]);
  if (held) {
    if (headAxis(row) >= 0) opened.head = index[headAxis(row)];
    drawTensor();
    chooseNumber(index[index.length - 1]);
  } else ask(name, step, index, what, '');
  at('model-title').scrollIntoView({ block: 'start' });
  at('why-copy').focus({ preventScroll: true });
}

const shortTitle = title =>
  title
    .replace(/, .*$/, '')
    .replace('Text layer', 'layer')
    .replace('Global vision layer', 'global')
    .replace('Vision layer', 'vision');
// The model as a line of layers: each opens its graph.
function buildModel() {
  const sides = [
    [
      'picture',
      /^vision/,
      ['pixel_values', 'vision_model.patch_embedding'],
      ['vision_model', 'multi_modal_projector'],
    ],
    ['words', /^language/, ['input_ids', 'language_model.embed_tokens'], ['language_model.norm', 'lm_head']],
  ];
  for (const [title, of, before, after] of sides) {
    const graphs = data.graphs.map((g, i) => ({ ...g, i })).filter(g => of.test(g.prefix)),
      list = make('ol', undefined, 'model');
    if (!graphs.length) continue;
    list.setAttribute('aria-label', `the ${title}'s way through the model`);
    const step = (text, name, kind, go) => {
      const item = make('li'),
        button = make('button', text, kind);
      button.type = 'button';
      button.dataset.opens = name;
      button.addEventListener('click', go);
      item.append(button);
      list.append(item);
    };
    for (const name of before)
      if (rowsByTensor.has(name)) step(name.split('.').pop(), name, 'step', () => openTensor(name, 0));
    for (const g of graphs)
      step(shortTitle(g.title), g.prefix, /cross/.test(g.title) ? 'cross' : 'layer', () =>
        openLayer(g.i),
      );
    for (const name of after)
      if (rowsByTensor.has(name)) step(name.split('.').pop(), name, 'step', () => openTensor(name, 0));
    at('model').append(list);
  }
}
// A layer by its number in the list of graphs.
function openLayer(i) {
  at('graph-layer').value = String(i);
  showGraph(i);
  const { prefix } = data.graphs[i];
  const inside = [...rowsByTensor.keys()].find(name => name.startsWith(prefix + '.'));
  openTensor(rowsByTensor.has(prefix) ? prefix : inside, 0);
}
// The box of the opened tensor, and the layer it stands in.
function markGraph() {
  for (const box of document.querySelectorAll('#graph .node'))
    box.setAttribute('aria-pressed', String(box.dataset.tensor === opened.name));
  for (const button of document.querySelectorAll('.model button'))
    button.setAttribute(
      'aria-current',
      String(
        opened.name === button.dataset.opens ||
          (button.className !== 'step' && opened.name.startsWith(button.dataset.opens + '.')),
      ),
    );
}
buildModel();
at('model-section').hidden = !data.tensors.rows.length;

// The patch that was clicked, in the layer and head that are shown; of the mean, the head that read it most.
function askForPatch(stage, patch) {
  const row = rowOf.get(state.token - 1);
  if (row === undefined || !nMaps || patch === null || pictures.length !== 1) return;
  const r = attention.rows[row],
    name = `language_model.layers.${attention.layers[state.layer]}.cross_attn.probs`,
    entry = (rowsByTensor.get(name) || []).find(each => each[1] === r.step);
  if (!entry || !r.sees[0]) return;
  const p = stage.picture,
    side = p.tile_size / p.patch_size,
    [high, wide] = [Math.floor(patch / p.grid[1]), patch % p.grid[1]],
    tile = Math.floor(high / side) * p.tiles[1] + Math.floor(wide / side),
    key = tile * (1 + side * side) + 1 + (high % side) * side + (wide % side);
  const read = head => grid(state.layer, head, row, 0)[patch],
    heads = Array.from({ length: entry[3][0] }, (_, h) => h),
    head = state.map < heads.length ? state.map : heads.reduce((a, b) => (read(b) > read(a) ? b : a));
  const place = data.steps.find(s => s.step === r.step),
    inStep = place ? r.position - place.position + entry[3][1] - 1 : 0;
  askFor(
    name,
    r.step,
    [head, inStep, key],
    `Head ${head} of layer ${attention.layers[state.layer]} gave ${percent(read(head))} of its reading` +
      ` before \u201c${bare(state.token)}\u201d to the patch at row ${high}, column ${wide}.`,
  );
}
