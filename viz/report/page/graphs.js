// A layer's graph, rebuilt from what a drawing may hold: shapes and words. Each box opens its tensor.
const graphParts = new Set(['svg', 'g', 'path', 'polygon', 'polyline', 'ellipse', 'text', 'title', 'a']);
const graphAttributes = new Set([
  'id',
  'class',
  'd',
  'points',
  'fill',
  'stroke',
  'stroke-width',
  'stroke-dasharray',
  'x',
  'y',
  'cx',
  'cy',
  'rx',
  'ry',
  'transform',
  'text-anchor',
  'font-family',
  'font-size',
  'font-weight',
  'viewBox',
]);
function rebuilt(from) {
  const to = document.createElementNS(space, from.localName === 'a' ? 'g' : from.localName);
  for (const { name, value } of from.attributes) {
    if (graphAttributes.has(name)) to.setAttribute(name, value);
  }
  for (const child of from.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) to.append(child.data);
    else if (
      child.nodeType === Node.ELEMENT_NODE &&
      child.namespaceURI === space &&
      graphParts.has(child.localName)
    )
      to.append(rebuilt(child));
  }
  return to;
}
const viewer = { zoom: 0, svg: null, width: 1 };
function showGraph(index) {
  const graph = data.graphs[index];
  if (!graph) return;
  viewer.svg = rebuilt(new DOMParser().parseFromString(graph.svg, 'image/svg+xml').documentElement);
  const box = (viewer.svg.getAttribute('viewBox') || '0 0 1 1').split(' ');
  viewer.width = (Number(box[2]) * 4) / 3 || 1; // points to pixels
  viewer.svg.setAttribute('role', 'group');
  viewer.svg.setAttribute(
    'aria-label',
    'graph of ' +
      graph.title +
      ': every operation with shape, mean, standard deviation and range; the table below has the same' +
      ' numbers',
  );
  for (const box of viewer.svg.querySelectorAll('.node')) {
    const name = box.querySelector('title').textContent.split('  ')[0];
    if (!rowsByTensor.has(name)) continue;
    box.dataset.tensor = name;
    box.setAttribute('tabindex', '0');
    box.setAttribute('role', 'button');
    box.setAttribute('aria-label', `${box.querySelector('text').textContent}: open ${name}`);
    box.addEventListener('click', () => openTensor(name, 0));
    box.addEventListener('keydown', event => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      openTensor(name, 0);
      event.preventDefault();
    });
  }
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
const zoomBy = factor => {
  viewer.zoom = Math.min(4, Math.max(0.1, (viewer.zoom || fitting()) * factor));
  resize();
};
at('graph').addEventListener('keydown', event => {
  const factor = { '+': 1.25, '-': 0.8 }[event.key];
  if (factor && !event.ctrlKey && !event.metaKey) {
    zoomBy(factor);
    event.preventDefault();
  }
});
data.graphs.forEach((graph, i) => {
  const option = make('option', graph.title);
  option.value = String(i);
  at('graph-layer').append(option);
});
at('graph-layer').addEventListener('change', event => openLayer(Number(event.target.value)));
at('zoom-in').addEventListener('click', () => zoomBy(1.25));
at('zoom-out').addEventListener('click', () => zoomBy(0.8));
at('zoom-fit').addEventListener('click', () => {
  viewer.zoom = 0;
  resize();
});
window.addEventListener('resize', resize);
if (data.graphs.length) {
  const first = Math.max(
    0,
    data.graphs.findIndex(g => /cross/.test(g.title)),
  );
  openLayer(first);
} else at('graph').textContent = 'No layer graphs in this page.';
