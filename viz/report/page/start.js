at('left').hidden = data.left_out.length === 0;
for (const sentence of data.left_out) at('left-out').append(make('li', sentence));
draw();
document.body.dataset.ready = 'yes';
