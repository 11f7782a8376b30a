function pointAt(stage, patch) {
  stage.cursor = patch;
  state.patch = patch === null || !nMaps ? null : { picture: stage.index, patch };
  draw();
}
const patchName = (stage, patch) =>
  `row ${Math.floor(patch / stage.picture.grid[1])}, column ${patch % stage.picture.grid[1]}`;
for (const stage of stages) {
  const { canvas, picture } = stage;
  canvas.addEventListener('mousemove', event => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * canvas.width),
      y = Math.floor(((event.clientY - box.top) / box.height) * canvas.height);
    if (x < 0 || y < 0 || x >= canvas.width || y >= canvas.height) return;
    const patch = stage.patchAt[y * canvas.width + x];
    if (patch !== stage.cursor) pointAt(stage, patch);
  });
  canvas.addEventListener('click', () => {
    state.asked = { stage, patch: stage.cursor };
    at('ask-patch').hidden = stage.cursor === null || pictures.length !== 1;
    at('ask-patch').textContent = `Why was ${patchName(stage, stage.cursor)} read?`;
  });
  canvas.addEventListener('mouseleave', () => pointAt(stage, null));
  canvas.addEventListener('blur', () => {
    if (stage.cursor !== null) pointAt(stage, null);
  });
  canvas.addEventListener('keydown', event => {
    if (event.key === 'Enter' && stage.cursor !== null) {
      askForPatch(stage, stage.cursor);
      event.preventDefault();
      return;
    }
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === 'Escape') {
      pointAt(stage, null);
      canvas.blur();
      event.stopPropagation();
      return;
    }
    if (!step) return;
    const rows = Math.ceil(picture.resized[0] / picture.patch_size),
      columns = Math.ceil(picture.resized[1] / picture.patch_size);
    const now =
      stage.cursor === null
        ? [0, 0]
        : [Math.floor(stage.cursor / picture.grid[1]) + step[0], (stage.cursor % picture.grid[1]) + step[1]];
    pointAt(
      stage,
      Math.min(rows - 1, Math.max(0, now[0])) * picture.grid[1] + Math.min(columns - 1, Math.max(0, now[1])),
    );
    event.preventDefault();
    event.stopPropagation();
  });
}
at('ask-patch').addEventListener('click', () => askForPatch(state.asked.stage, state.asked.patch));
