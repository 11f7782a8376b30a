// The theme that was chosen in the book, or else the system's.
(function () {
  let theme = null;
  try { theme = localStorage.getItem('mdbook-theme'); } catch (error) { /* pages from disk may have no storage */ }
  if (theme) theme = theme.replace(/"/g, '');
  const dark = theme ? ['navy', 'coal', 'ayu'].includes(theme) : matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.className = dark ? 'dark' : 'light';
})();
