(function () {
  // What scrolls sideways can be reached with the keyboard.
  for (const part of document.querySelectorAll('pre > code, .content table, .table-wrapper')) part.tabIndex = 0;
  // mdBook hides the table of contents by a checkbox, which a label would click; a button does it for the keyboard, too.
  const button = document.getElementById('mdbook-sidebar-toggle');
  const box = document.getElementById('mdbook-sidebar-toggle-anchor');
  if (button && box) button.addEventListener('click', () => box.click());
})();
