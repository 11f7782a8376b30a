// A picture's pixels: how light each is, and which patch it was read through.
const stages = pictures.map((picture, index) => {
  const figure = make('figure', undefined, 'stage'),
    canvas = make('canvas'),
    caption = make('figcaption');
  const [height, width] = picture.size,
    zoom = Math.min(4, Math.max(0.05, 620 / Math.max(height, width)));
  canvas.width = Math.max(1, Math.round(width * zoom));
  canvas.height = Math.max(1, Math.round(height * zoom));
  canvas.tabIndex = 0;
  canvas.setAttribute('role', 'img');
  const veil = make('div', 'no effect: this row may see no picture', 'veil');
  veil.hidden = true;
  const bar = make('div', undefined, 'ledger');
  bar.setAttribute('aria-hidden', 'true');
  const words = make('ul', undefined, 'ledger-words');
  figure.append(canvas, veil, bar, words, caption);
  at('stages').append(figure);
  const patchAt = new Int32Array(canvas.width * canvas.height);
  for (let y = 0; y < canvas.height; ++y)
    for (let x = 0; x < canvas.width; ++x) {
      const row = Math.floor(((y + 0.5) * picture.resized[0]) / canvas.height / picture.patch_size),
        column = Math.floor(((x + 0.5) * picture.resized[1]) / canvas.width / picture.patch_size);
      patchAt[y * canvas.width + x] = row * picture.grid[1] + column;
    }
  const stage = {
    picture,
    index,
    canvas,
    veil,
    bar,
    words,
    caption,
    patchAt,
    context: canvas.getContext('2d', { willReadFrequently: true }),
    original: null,
    light: new Float32Array(canvas.width * canvas.height).fill(0.6),
    cursor: null,
  };
  if (picture.source) {
    const image = new Image();
    image.onload = () => {
      stage.context.drawImage(image, 0, 0, canvas.width, canvas.height);
      stage.original = stage.context.getImageData(0, 0, canvas.width, canvas.height);
      const p = stage.original.data;
      for (let i = 0; i < stage.light.length; ++i)
        stage.light[i] = (0.2126 * p[4 * i] + 0.7152 * p[4 * i + 1] + 0.0722 * p[4 * i + 2]) / 255;
      document.body.dataset.pictures = String(Number(document.body.dataset.pictures || 0) + 1);
      draw();
    };
    image.src = picture.source;
  }
  return stage;
});

function paint(stage, context, values, scale) {
  const { width, height } = stage.canvas,
    image = context.createImageData(width, height),
    out = image.data;
  if (state.trueColours && stage.original) return paintTrueColours(stage, context, values, scale);
  const colours = Array.from(values, v => {
    const t = scale > 0 ? Math.min(1, v / scale) : 0;
    return [palette[Math.round(255 * t)], 0.62 + 0.36 * t];
  });
  for (let i = 0; i < stage.patchAt.length; ++i) {
    const ground = 255 * (0.1 + 0.66 * stage.light[i]),
      [c, opacity] = colours[stage.patchAt[i]];
    out[4 * i] = ground + (c[0] - ground) * opacity;
    out[4 * i + 1] = ground + (c[1] - ground) * opacity;
    out[4 * i + 2] = ground + (c[2] - ground) * opacity;
    out[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
// The picture in its own colours: patches that were looked at keep their light, others are dimmed to a fifth.
const dimmed = 0.2;
function paintTrueColours(stage, context, values, scale) {
  const image = context.createImageData(stage.canvas.width, stage.canvas.height),
    from = stage.original.data,
    to = image.data;
  const light = Array.from(
    values,
    v => dimmed + (1 - dimmed) * Math.sqrt(scale > 0 ? Math.min(1, v / scale) : 0),
  );
  for (let i = 0; i < stage.patchAt.length; ++i) {
    const factor = light[stage.patchAt[i]];
    for (let channel = 0; channel < 3; ++channel) to[4 * i + channel] = factor * from[4 * i + channel];
    to[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
function outline(stage, context, patch) {
  const p = stage.picture,
    sx = stage.canvas.width / p.resized[1],
    sy = stage.canvas.height / p.resized[0],
    row = Math.floor(patch / p.grid[1]),
    column = patch % p.grid[1];
  const x = column * p.patch_size * sx,
    y = row * p.patch_size * sy,
    w = Math.min((column + 1) * p.patch_size, p.resized[1]) * sx - x,
    h = Math.min((row + 1) * p.patch_size, p.resized[0]) * sy - y;
  context.lineWidth = 5;
  context.strokeStyle = '#111';
  context.strokeRect(x, y, w, h);
  context.lineWidth = 2;
  context.strokeStyle = '#fff';
  context.strokeRect(x, y, w, h);
}
const shows = (stage, patch) => {
  const p = stage.picture;
  return (
    Math.floor(patch / p.grid[1]) * p.patch_size < p.resized[0] &&
    (patch % p.grid[1]) * p.patch_size < p.resized[1]
  );
};
function strongest(stage, values) {
  let best = -1;
  for (let i = 0; i < values.length; ++i)
    if (shows(stage, i) && values[i] > 0 && (best < 0 || values[i] > values[best])) best = i;
  return best;
}
