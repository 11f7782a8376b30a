// Words reading words: every self-attention layer and head, and one row's way from scores to shares.
const inner = data.self_attention;
const unpacked = text => {
  const raw = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return new Uint16Array(raw.buffer);
};
const shares = unpacked(inner.shares || ''),
  scores = unpacked(inner.scores || ''),
  perHead = (inner.rows * (inner.rows + 1)) / 2; // a row reads itself and what stands before it
const chosen = { layer: inner.layers.length - 1, head: 0 };
const triangle = (layer, head, row) => (layer * inner.heads + head) * perHead + (row * (row + 1)) / 2;
const shareOf = (layer, head, row, key) => shares[triangle(layer, head, row) + key] / 65535;
function scoreOf(layer, head, row, key) {
  const [low, high] = inner.score_ranges[layer * inner.heads + head];
  return low + (scores[triangle(layer, head, row) + key] / 65535) * (high - low);
}

function paintTriangle(canvas, layer, head, marked) {
  const n = inner.rows,
    side = canvas.width,
    context = canvas.getContext('2d'),
    image = context.createImageData(side, side);
  for (let y = 0; y < side; ++y)
    for (let x = 0; x < side; ++x) {
      const row = Math.floor(((y + 0.5) * n) / side),
        key = Math.floor(((x + 0.5) * n) / side),
        at4 = 4 * (y * side + x);
      // Later words are masked: hatched, so that they are not taken for zeros.
      const hatch = (x + y) % 6 < 2 ? 150 : 128;
      const colour =
        key > row
          ? [hatch, hatch, hatch]
          : palette[Math.round(255 * Math.sqrt(shareOf(layer, head, row, key)))];
      for (let c = 0; c < 3; ++c) image.data[at4 + c] = colour[c];
      image.data[at4 + 3] = key > row ? 90 : 255;
    }
  context.putImageData(image, 0, 0);
  if (marked >= 0) {
    context.strokeStyle = '#fff';
    context.lineWidth = 2;
    context.strokeRect(1, (marked * side) / n, side - 2, Math.max(3, side / n));
  }
}

const cells = [];
function buildGrid() {
  const head = make('tr');
  head.append(make('th', 'layer'));
  for (let h = 0; h < inner.heads; ++h) head.append(make('th', 'head ' + h));
  at('inner-grid').append(head);
  inner.layers.forEach((name, layer) => {
    const line = make('tr'),
      title = make('th', String(name));
    line.append(title);
    for (let h = 0; h < inner.heads; ++h) {
      const cell = make('td'),
        button = make('button', undefined, 'thumb'),
        canvas = make('canvas');
      canvas.width = canvas.height = 48;
      canvas.setAttribute('aria-hidden', 'true');
      button.type = 'button';
      button.setAttribute('aria-label', `layer ${name}, head ${h}`);
      button.append(canvas);
      button.addEventListener('click', () => {
        chosen.layer = layer;
        chosen.head = h;
        drawSelfAttention();
      });
      paintTriangle(canvas, layer, h, -1);
      cell.append(button);
      line.append(cell);
      cells.push({ button, layer, head: h });
    }
    at('inner-grid').append(line);
  });
}

function drawSelfAttention() {
  if (!inner.layers.length) return;
  const row = state.token - 1; // the row that predicts the chosen word
  for (const { button, layer, head } of cells)
    button.setAttribute('aria-pressed', String(layer === chosen.layer && head === chosen.head));
  paintTriangle(at('inner-map'), chosen.layer, chosen.head, row);
  at('inner-map').setAttribute(
    'aria-label',
    `layer ${inner.layers[chosen.layer]}, head ${chosen.head}: rows read columns; later words are masked`,
  );
  if (row < 0 || row >= inner.rows) {
    at('inner-sentence').textContent = 'The first word has no row before it: choose another word.';
    at('inner-rows').replaceChildren();
    at('inner-words').replaceChildren();
    return;
  }
  const order = Array.from({ length: row + 1 }, (_, key) => key).sort(
    (a, b) => shareOf(chosen.layer, chosen.head, row, b) - shareOf(chosen.layer, chosen.head, row, a),
  );
  const best = order[0];
  at('inner-sentence').textContent =
    `Layer ${inner.layers[chosen.layer]}, head ${chosen.head}. Row ${row}, that of` +
    ` \u201c${bare(row)}\u201d,` +
    ` reads most from \u201c${bare(best)}\u201d (token ${best}): ` +
    `${percent(shareOf(chosen.layer, chosen.head, row, best))}.`;
  drawInnerWords(row);
  drawInnerRows(row, order);
}
function drawInnerWords(row) {
  const words = [];
  for (let key = 0; key < Math.min(tokens.length, inner.rows + 1); ++key) {
    const word = make('span', tokens[key] || '\u2205', key > row ? 'masked' : '');
    const share = key > row ? 0 : shareOf(chosen.layer, chosen.head, row, key);
    word.style.borderBottomColor = `rgba(var(--glow),${Math.sqrt(share).toFixed(3)})`;
    word.dataset.share = key > row ? 'masked' : String(share);
    word.dir = 'auto';
    words.push(word);
  }
  at('inner-words').replaceChildren(...words);
}
// A share, to be asked why.
function askButton(row, key, text) {
  const button = make('button', text, 'link'),
    step = [...data.steps].sort((a, b) => a.position - b.position).find(s => s.position >= row),
    name = `language_model.layers.${inner.layers[chosen.layer]}.self_attn.probs`;
  button.type = 'button';
  button.title = `why did row ${row} read token ${key} so much?`;
  button.addEventListener('click', () => {
    const entry = (rowsByTensor.get(name) || []).find(each => each[1] === (step ? step.step : 0));
    if (!entry) return;
    const first = step.position - entry[3][1] + 1;
    askFor(
      name,
      step.step,
      [chosen.head, row - first, key],
      `Head ${chosen.head} of layer ${inner.layers[chosen.layer]}: row ${row}, that of` +
        ` \u201c${bare(row)}\u201d, read ${text} from token ${key}, \u201c${bare(key)}\u201d.`,
    );
  });
  return button;
}
// score -> exp(score - largest) -> share of their sum -> share x length of the value: the weighted sum.
function drawInnerRows(row, order) {
  const shown = order.slice(0, 8),
    lines = [];
  const has = inner.score_ranges.length > 0,
    top = has ? Math.max(...order.map(key => scoreOf(chosen.layer, chosen.head, row, key))) : 0,
    kv = Math.floor(chosen.head / inner.heads_per_kv);
  const cellsOf = key => {
    const share = shareOf(chosen.layer, chosen.head, row, key),
      score = has ? scoreOf(chosen.layer, chosen.head, row, key) : null,
      length = inner.value_lengths.length ? inner.value_lengths[chosen.layer][kv][key] : null;
    return [
      has ? score.toFixed(2) : '\u2013',
      has ? Math.exp(score - top).toFixed(4) : '\u2013',
      percent(share),
      length === null ? '\u2013' : length.toFixed(2),
      length === null ? '\u2013' : (share * length).toFixed(3),
    ];
  };
  for (const key of shown) {
    const line = make('tr');
    line.append(
      make('td', String(key), 'number'),
      make('td', tokens[key], 'name'),
      ...cellsOf(key).map(text => make('td', text, 'number')),
    );
    line.cells[4].replaceChildren(askButton(row, key, line.cells[4].textContent));
    lines.push(line);
  }
  const rest = order.slice(8);
  if (rest.length) {
    const line = make('tr'),
      sum = rest.reduce((total, key) => total + shareOf(chosen.layer, chosen.head, row, key), 0);
    line.append(make('td', ''), make('td', `${rest.length} others`), make('td', ''), make('td', ''));
    line.append(make('td', percent(sum), 'number'), make('td', ''), make('td', ''));
    lines.push(line);
  }
  at('inner-rows').replaceChildren(...lines);
}

at('inner').hidden = inner.layers.length === 0;
if (inner.layers.length) {
  buildGrid();
  at('inner-map').addEventListener('click', event => {
    const box = at('inner-map').getBoundingClientRect(),
      row = Math.floor(((event.clientY - box.top) / box.height) * inner.rows);
    if (row + 1 < tokens.length) lock(row + 1);
  });
}
at('look-section').hidden = pictures.length === 0;
if (!pictures.length) at('word-home').append(at('word-panel'));
