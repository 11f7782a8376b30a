const table = { shown: 0, found: [] };
const short = v =>
  v === null
    ? '\u2013'
    : Math.abs(v) !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5)
      ? v.toExponential(2)
      : String(Number(v.toPrecision(4)));
function bars(text) {
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('width', '80');
  svg.setAttribute('height', '20');
  svg.setAttribute('class', 'bars');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', 'histogram');
  [...text].forEach((c, i) => {
    const h = (parseInt(c, 36) / 35) * 20,
      r = document.createElementNS(space, 'rect');
    r.setAttribute('x', String(4 * i));
    r.setAttribute('y', String(20 - h));
    r.setAttribute('width', '3.4');
    r.setAttribute('height', String(h));
    svg.append(r);
  });
  return svg;
}
function line(row) {
  const [name, step, axes, shape, dtype, min, max, mean, std, zeros, nonfinite, histogram, source, chapter] =
    row;
  const size = shape.reduce((a, b) => a * b, 1),
    tr = make('tr', undefined, nonfinite > 0 || (size > 0 && zeros === size) ? 'odd' : ''),
    cell = make('td'),
    link = make('td');
  if (histogram) cell.append(bars(histogram));
  if (nonfinite > 0) cell.append(`${nonfinite} NaN or infinite`);
  else if (size > 0 && zeros === size) cell.append('all zero');
  if (data.tensors.chapters[chapter]) {
    const a = make('a', chapter);
    a.href = data.tensors.chapters[chapter];
    link.append(a);
  } else link.textContent = chapter;
  const where = make('td', undefined, 'name'),
    to = data.tensors.sources[source];
  if (to) {
    const a = make('a', source.replace(/^.*\//, ''));
    a.href = to;
    a.title = source;
    where.append(a);
  } else where.textContent = source;
  tr.id = `tensor-${step}-${name}`;
  const opens = make('td', undefined, 'name'),
    button = make('button', name, 'link');
  button.type = 'button';
  button.addEventListener('click', () => {
    openTensor(name, step);
    at('model-title').scrollIntoView({ block: 'start' });
    at('tensor-step').focus({ preventScroll: true });
  });
  opens.append(button);
  tr.append(
    opens,
    make('td', String(step), 'number'),
    make('td', shape.join(' \u00d7 ') + ' ' + dtype),
    where,
    link,
    cell,
    ...[min, max, mean, std].map(v => make('td', short(v), 'number')),
    make('td', axes),
  );
  return tr;
}
function search() {
  const words = at('search').value.toLowerCase().split(/\s+/).filter(Boolean);
  table.found = data.tensors.rows.filter(row =>
    words.every(w =>
      w.startsWith('step:')
        ? String(row[1]) === w.slice(5)
        : (row[0] + ' ' + row[2] + ' ' + row[12] + ' ' + row[13]).toLowerCase().includes(w),
    ),
  );
  table.shown = 0;
  at('tensors').replaceChildren();
  more(40);
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
