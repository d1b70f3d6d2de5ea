// A picture that can be drawn on. Places are x and y in pixels of the picture, from 0.
const PAUSE = 120; // milliseconds between two places of the mouse that are told
let path = null;
let told = 0;

const canvas = () => element.querySelector('canvas');

const place = (event) => {
  const box = canvas().getBoundingClientRect();
  const along = (at, start, length, pixels) =>
    Math.round(10 * Math.min(Math.max(((at - start) / length) * pixels - 0.5, 0), pixels - 1)) / 10;
  return [
    along(event.clientX, box.left, box.width, canvas().width),
    along(event.clientY, box.top, box.height, canvas().height),
  ];
};

const draw = () => {
  const pen = canvas().getContext('2d');
  pen.clearRect(0, 0, canvas().width, canvas().height);
  pen.lineCap = pen.lineJoin = 'round';
  pen.lineWidth = 2 * props.value.radius;
  pen.strokeStyle = props.value.colour;
  pen.beginPath();
  pen.moveTo(...path[0]);
  for (const point of path) pen.lineTo(...point);
  pen.stroke();
};

// The new picture shows what was drawn.
watch('value', () => {
  if (!path) canvas().getContext('2d').clearRect(0, 0, canvas().width, canvas().height);
});

element.addEventListener('pointerdown', (event) => {
  if (event.target !== canvas() || event.button || props.value.kind !== 'draws') return;
  event.preventDefault();
  path = [place(event)];
  draw();
});

// On the window: the picture may be replaced while a path is drawn, and a path may leave it.
window.addEventListener('pointermove', (event) => {
  if (path) {
    path.push(place(event));
    draw();
  } else if (props.value.kind === 'hovers' && event.target === canvas() && Date.now() - told > PAUSE) {
    told = Date.now();
    trigger('hover', { place: place(event) });
  }
});

window.addEventListener('pointerup', () => {
  if (path) trigger('draw', { path });
  path = null;
});

element.addEventListener('click', (event) => {
  if (props.value.kind === 'hovers' && event.target === canvas()) trigger('hover', { place: place(event) });
});
