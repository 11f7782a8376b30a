// The words of prompt and answer. Pointing at one previews it; a click or Enter keeps it; Escape lets go.
function choose(token, preview) {
  if (!preview) state.rest = token;
  if (state.token === token) return;
  state.token = token;
  draw();
}
function lock(token) {
  state.locked = token !== null && !(state.locked && state.rest === token);
  if (token !== null) choose(token, false);
  draw();
}
const buttons = tokens.map((text, i) => {
  const button = make('button', text === '' ? '\u2205' : text, i < data.n_prompt ? 'prompt' : '');
  button.type = 'button';
  button.dir = 'auto';
  button.dataset.token = String(i);
  button.tabIndex = i === 0 ? 0 : -1;
  const row = rowOf.get(i - 1);
  if (row !== undefined && !attention.rows[row].sees.some(Boolean)) {
    button.classList.add('blind');
    button.title = 'predicted by a row that may see no picture';
  }
  button.addEventListener('mouseenter', () => {
    if (!state.locked) choose(i, true);
  });
  button.addEventListener('focus', () => {
    if (!state.locked) choose(i, false);
  });
  button.addEventListener('click', () => lock(i));
  at(i < data.n_prompt ? 'prompt' : 'answer').append(button);
  return button;
});
for (const part of ['prompt', 'answer'])
  at(part).addEventListener('mouseleave', () => {
    if (!state.locked) choose(state.rest, false);
  });
function drawTokens(row) {
  const pointed = state.patch;
  let weights = null,
    most = 0;
  if (pointed) {
    weights = tokens.map((_, i) => {
      const r = rowOf.get(i - 1);
      return r === undefined || !attention.rows[r].sees[pointed.picture]
        ? 0
        : grid(state.layer, state.map, r, pointed.picture)[pointed.patch];
    });
    most = Math.max(...weights);
  }
  buttons.forEach((button, i) => {
    button.classList.toggle('chosen', i === state.token);
    button.classList.toggle('locked', state.locked && i === state.rest);
    button.classList.toggle('reads', i === state.token - 1);
    button.setAttribute('aria-pressed', String(state.locked && i === state.rest));
    button.tabIndex = i === Math.max(0, state.token) ? 0 : -1;
    button.style.backgroundColor =
      weights && most > 0 ? `rgba(var(--glow),${((0.75 * weights[i]) / most).toFixed(3)})` : '';
    if (weights) button.dataset.weight = String(weights[i]);
    else delete button.dataset.weight;
  });
  at('lock-state').textContent = state.locked
    ? `\u201c${bare(state.rest)}\u201d stays chosen until you click it again or press Esc.`
    : 'Click a word to keep it chosen.';
  if (weights) {
    const best = weights.indexOf(most),
      p = pictures[pointed.picture],
      place = `row ${Math.floor(pointed.patch / p.grid[1])}, column ${pointed.patch % p.grid[1]}`;
    at('pointed').textContent =
      `Patch at ${place}: read most before \u201c${bare(best)}\u201d (${percent(most)}).`;
  } else at('pointed').textContent = '';
}
