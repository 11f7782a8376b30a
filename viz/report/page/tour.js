// A guided tour through this very run, and the answer played word by word.
const motion = !matchMedia('(prefers-reduced-motion: reduce)').matches;
const tour = { at: -1, steps: [], timer: null };
const pct = percent;

function rowStory(word) {
  const row = rowOf.get(word - 1);
  if (row === undefined || !attention.layers.length || !pictures.length) return null;
  const layer = attention.layers.length - 1,
    map = nMaps - 1,
    seen = attention.rows[row].sees.findIndex(Boolean);
  if (seen < 0) return null;
  const values = grid(layer, map, row, seen),
    order = [...values.keys()].filter(i => shows(stages[seen], i)).sort((a, b) => values[b] - values[a]),
    p = pictures[seen],
    place = i => `row ${Math.floor(i / p.grid[1])}, column ${i % p.grid[1]} (${pct(values[i])})`;
  return {
    row,
    layer,
    map,
    keys: attention.rows[row].keys,
    best: order.slice(0, 3).map(place).join('; '),
    ledger: attention.ledgers[mapIndex(layer, map, row)][seen],
    bits: attention.spread[mapIndex(layer, map, row)],
  };
}
// The first numbers of the row's query, where the page has them.
function queryOf(word, story) {
  const step = data.steps.find(s => s.position === word - 1),
    name = `language_model.layers.${attention.layers[story.layer]}.cross_attn.q_norm`,
    row = step ? rowOfNumbers(name, step.step) : null;
  if (!row) return '';
  const first = Array.from({ length: Math.min(4, row.wide) }, (_, i) => short(valueAt(row, 0, i)));
  return ` That of head 0 begins ${first.join(', ')} and has ${row.wide} numbers.`;
}
function pictureSteps(word, story) {
  const p = pictures[0],
    m = data.model,
    gate = data.gates.length ? data.gates[data.gates.length - 1] : null,
    steps = [];
  steps.push({
    title: 'The picture becomes tiles',
    text:
      `${p.file} is ${p.size[1]} \u00d7 ${p.size[0]} pixels. It is resized to ${p.resized[1]} \u00d7` +
      ` ${p.resized[0]}` +
      ` and cut into ${p.tiles[0]} \u00d7 ${p.tiles[1]} tiles (rows \u00d7 columns) of ${p.tile_size}` +
      ` pixels.`,
    show: () => overlay('tiles'),
  });
  steps.push({
    title: 'Tiles become patches',
    text:
      `Each tile is cut into squares of ${p.patch_size} pixels: ${p.grid[0]} \u00d7 ${p.grid[1]} patches` +
      ` in all.` +
      ' A patch becomes one vector, and a class token is put in front of each tile.',
    show: () => overlay('patches'),
  });
  if (m.vision_layers)
    steps.push({
      title: 'The vision encoder',
      text:
        `${m.vision_layers} layers, then ${m.global_layers} gated global ones, let every patch read every` +
        ` other.` +
        ` What comes out is projected to ${m.width} numbers a patch: the keys and values of cross-attention.`,
      show: () => overlay(null),
    });
  if (!story) return steps;
  steps.push({
    title: `A question in numbers: the row before \u201c${bare(word)}\u201d`,
    text:
      `The word \u201c${bare(word)}\u201d is predicted by row ${word - 1}, that of` +
      ` \u201c${bare(word - 1)}\u201d.` +
      ` In layer ${attention.layers[story.layer]} this row makes a query, one vector for each head.` +
      queryOf(word, story),
    show: () => overlay(null),
  });
  steps.push({
    title: 'Scores, then softmax',
    text:
      `The query is multiplied with the key of each of ${story.keys} patches and class tokens; softmax` +
      ` turns the` +
      ` scores into shares that add up to 100 %. Strongest, mean over heads: ${story.best}.`,
    show: () => overlay(null),
  });
  steps.push({
    title: 'Where the shares went',
    text:
      `${story.ledger[0].toFixed(1)} % lies on the picture, ${story.ledger[1].toFixed(1)} % on padding` +
      ` inside tiles,` +
      ` ${story.ledger[3].toFixed(1)} % on class tokens. The spread is ${story.bits.toFixed(1)} bits, as if` +
      ` ${Math.round(2 ** story.bits)} keys were read alike.`,
    show: () => overlay(null),
  });
  if (gate)
    steps.push({
      title: 'The gate',
      text:
        `What was read is multiplied by tanh(gate) = ${gate.value.toFixed(3)} in layer ${gate.layer} and` +
        ` added to the` +
        ' word\u2019s own state. A gate of 0 would shut the picture out.',
      show: () => overlay(null),
    });
  return steps;
}
function wordSteps(word) {
  const steps = [],
    said = data.steps.find(step => step.position === word - 1);
  if (inner.layers.length && !pictures.length) {
    steps.push({
      title: 'Words in, numbers out',
      text:
        `The prompt is ${data.n_prompt} tokens. Each is looked up in a table and becomes a vector of` +
        ` ${data.model.width || 'd_model'} numbers. There is no picture: cross-attention layers are skipped.`,
    });
    steps.push({
      title: 'Each word reads the words before it',
      text:
        `${inner.layers.length} self-attention layers of ${inner.heads} heads. In the grid below, each` +
        ` square is one` +
        ' head: rows read columns, and what is hatched lies in the future and is masked.',
      at: 'inner-grid',
    });
    steps.push({
      title: `The row that predicts \u201c${bare(word)}\u201d`,
      text: `Row ${word - 1}, that of \u201c${bare(word - 1)}\u201d, is marked in the large map.`,
      at: 'inner-map',
    });
  }
  if (said)
    steps.push({
      title: 'The next word',
      text:
        'After the last layer every word of the vocabulary gets a probability. Here: ' +
        said.words
          .slice(0, 3)
          .map(([text, p]) => `\u201c${text.trim()}\u201d ${(100 * p).toFixed(1)} %`)
          .join(', ') +
        '. The likeliest is written, and it all begins again with one word more.',
      show: () => overlay(null),
    });
  return steps;
}

// Tile borders or the patch grid, drawn over the picture itself.
function overlay(kind) {
  state.plain = kind !== null;
  at('plain').setAttribute('aria-pressed', String(state.plain));
  draw();
  for (const stage of kind ? stages : []) {
    const p = stage.picture,
      step = kind === 'tiles' ? p.tile_size : p.patch_size,
      context = stage.context;
    for (const [width, colour] of [
      [kind === 'tiles' ? 5 : 2, '#111'],
      [kind === 'tiles' ? 2 : 1, '#fff'],
    ]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.beginPath();
      for (let x = 0; x <= p.resized[1]; x += step) {
        context.moveTo((x / p.resized[1]) * stage.canvas.width, 0);
        context.lineTo((x / p.resized[1]) * stage.canvas.width, stage.canvas.height);
      }
      for (let y = 0; y <= p.resized[0]; y += step) {
        context.moveTo(0, (y / p.resized[0]) * stage.canvas.height);
        context.lineTo(stage.canvas.width, (y / p.resized[0]) * stage.canvas.height);
      }
      context.stroke();
    }
  }
}

function startTour() {
  stopPlaying();
  const word = rowOf.has(state.token - 1) || !pictures.length ? state.token : data.first_word;
  state.locked = true;
  choose(word, false);
  tour.steps = [...(pictures.length ? pictureSteps(word, rowStory(word)) : []), ...wordSteps(word)];
  setTour(0);
  at('tour-next').focus();
}
function setTour(index) {
  tour.at = index;
  const on = index >= 0 && index < tour.steps.length;
  at('tour').hidden = !on;
  at('tour-start').hidden = on;
  if (!on) {
    state.locked = false;
    overlay(null);
    return;
  }
  const step = tour.steps[index];
  at('tour-title').textContent = `${index + 1} of ${tour.steps.length}: ${step.title}`;
  at('tour-text').replaceChildren(...withTerms(step.text));
  at('term-note').replaceChildren();
  at('tour-back').disabled = index === 0;
  at('tour-next').textContent = index + 1 === tour.steps.length ? 'Done' : 'Next';
  if (step.show) step.show();
  bringBelowTour(pictures.length ? 'stages' : step.at || 'word-home');
}
// What a step speaks of stands below its text, whatever the window's size.
function bringBelowTour(id) {
  const box = at(id).getBoundingClientRect(),
    tall = at('tour').getBoundingClientRect().height;
  document.documentElement.style.setProperty('--tour-height', tall + 8 + 'px');
  if (box.top < tall || Math.min(box.bottom, box.top + 300) > innerHeight)
    window.scrollBy(0, box.top - tall - 16);
}
at('tour-start').addEventListener('click', startTour);
at('tour-back').addEventListener('click', () => setTour(tour.at - 1));
at('tour-next').addEventListener('click', () => setTour(tour.at + 1));
at('tour-close').addEventListener('click', () => setTour(-1));

// The answer, one word after another; maps fade into each other where motion is welcome.
function stopPlaying() {
  clearInterval(tour.timer);
  tour.timer = null;
  at('play').textContent = 'Play the answer';
  at('play').setAttribute('aria-pressed', 'false');
}
function play() {
  if (tour.timer !== null) return stopPlaying();
  if (state.token + 1 >= tokens.length || state.token < data.n_prompt) choose(data.n_prompt, false);
  state.locked = true;
  draw();
  at('play').textContent = 'Stop';
  at('play').setAttribute('aria-pressed', 'true');
  tour.timer = setInterval(() => {
    if (state.token + 1 >= tokens.length) return stopPlaying();
    const before = stages.map(stage => (motion ? copyOf(stage.canvas) : null));
    choose(state.token + 1, false);
    before.forEach((canvas, i) => canvas && fadeOut(stages[i], canvas));
  }, 900);
}
function copyOf(canvas) {
  const copy = make('canvas', undefined, 'fading');
  copy.width = canvas.width;
  copy.height = canvas.height;
  copy.setAttribute('aria-hidden', 'true');
  copy.getContext('2d').drawImage(canvas, 0, 0);
  return copy;
}
function fadeOut(stage, copy) {
  copy.style.width = stage.canvas.clientWidth + 'px';
  copy.style.height = stage.canvas.clientHeight + 'px';
  stage.canvas.parentElement.append(copy);
  copy.animate([{ opacity: 1 }, { opacity: 0 }], 350).finished.then(() => copy.remove());
}
at('play').addEventListener('click', play);
