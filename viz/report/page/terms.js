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
  const title = make('dt');
  title.append(linkTo(term, data.book[chapter]));
  at('terms').append(title, make('dd', meaning));
}
// A text whose terms can be asked for; the meaning is written below it.
function withTerms(text) {
  const words = terms.flatMap(([term, chapter, meaning]) =>
    term.split(', ').map(word => ({ word, chapter, meaning })),
  );
  return text
    .split(new RegExp(`\\b(${words.map(({ word }) => word).join('|')})\\b(?! \\d+, column)`))
    .map((piece, i, pieces) => {
      const term = i % 2 ? words.find(({ word }) => word === piece) : null;
      if (!term || pieces.indexOf(piece) < i) return piece;
      const button = make('button', piece, 'term');
      button.type = 'button';
      button.addEventListener('click', () => {
        at('term-note').replaceChildren(
          make('b', piece),
          ': ' + term.meaning + ' ',
          data.book[term.chapter] ? linkTo('The chapter.', data.book[term.chapter]) : '',
        );
        bringBelowTour(pictures.length ? 'stages' : 'word-home');
      });
      return button;
    });
}
