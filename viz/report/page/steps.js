for (const step of data.steps) {
  const line = make('tr'),
    words = make('div', undefined, 'words'),
    taken = tokens[step.position + 1];
  step.words.forEach(([word, probability]) => {
    const span = make('span', undefined, word === taken ? 'taken' : ''),
      meter = make('meter');
    meter.value = probability;
    meter.setAttribute('aria-hidden', 'true');
    span.dir = 'auto';
    span.append(word, meter, (100 * probability).toFixed(1) + ' %');
    words.append(span);
  });
  const cell = make('td');
  cell.append(words);
  line.append(
    make('td', String(step.step), 'number'),
    make('td', String(step.position), 'number'),
    make('td', bare(step.position), 'name'),
    cell,
  );
  at('steps').append(line);
}
