// Terms on demand, each with the chapter that explains it where the book stands beside this page.
const terms = [
  [
    'query, key, value',
    'cross-attention',
    'A row asks with its query; each patch or word answers with its key.' +
      ' The closer the two, the more of its value is read.',
  ],
  ['score', 'self-attention', 'Query times key, divided by the square root of the head\u2019s width.'],
  ['softmax', 'self-attention', 'Turns scores into shares: exp of each, divided by the sum of all.'],
  [
    'head',
    'self-attention',
    'One of several readings that a layer makes side by side, each with its own queries.',
  ],
  ['row', 'lm-head', 'The state of one token. The row of a token predicts the token after it.'],
  ['gate', 'cross-attention', 'A learnt number; its tanh scales what a cross-attention layer adds.'],
  [
    'class token',
    'patch-embedding',
    'A vector in front of each tile\u2019s patches that stands for no place.',
  ],
  ['bits', 'heatmap', 'The spread of attention: n bits are as wide as 2 to the n keys read alike.'],
  ['sink', 'heatmap', 'A key that is read much though it says little, such as the first token.'],
];
for (const [term, chapter, meaning] of terms) {
  const title = make('dt'),
    href = data.book[chapter];
  if (href) {
    const a = make('a', term);
    a.href = href;
    title.append(a);
  } else title.textContent = term;
  at('terms').append(title, make('dd', meaning));
}
