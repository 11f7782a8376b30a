for (const step of data.steps) {
  const line = make('tr'),
    words = make('div', undefined, 'words'),
    taken = tokens[step.position + 1];
  step.words.forEach(([word, probability, id]) => {
    const span = make('span', undefined, word === taken ? 'taken' : ''),
      meter = make('meter');
    meter.value = probability;
    meter.setAttribute('aria-hidden', 'true');
    span.dir = 'auto';
    const percentage = (100 * probability).toFixed(1) + ' %';
    if (word !== taken) {
      span.append(word, meter, percentage);
      words.append(span);
      return;
    }
    const chance = make('button', percentage, 'link');
    chance.type = 'button';
    chance.title = `why \u201c${word.trim()}\u201d?`;
    chance.setAttribute('aria-label', `${chance.textContent}: why \u201c${word.trim()}\u201d?`);
    chance.addEventListener('click', () => {
      const shape = (rowsByTensor.get('lm_head') || []).find(row => row[1] === step.step);
      if (!shape) return;
      askFor(
        'lm_head',
        step.step,
        [shape[3][0] - 1, id],
        `\u201c${word.trim()}\u201d had ${chance.textContent} after \u201c${bare(step.position)}\u201d.`,
      );
    });
    span.append(word, meter, chance);
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
