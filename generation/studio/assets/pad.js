// The pad: drag the point, click a name, or use the arrow keys. 'moved' tells the page where the point was let go.
const svg = element.querySelector('svg'), knob = element.querySelector('.knob'), read = element.querySelector('.shares');
const names = JSON.parse(element.querySelector('.pad').dataset.names), corners = names.map((_, i) =>
  [Math.sin(2 * Math.PI * i / names.length), -Math.cos(2 * Math.PI * i / names.length)]);
const area = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1]);
let at = [0, 0];

function inside(p) {
  let far = 1;
  corners.forEach((a, i) => {
    const b = corners[(i + 1) % corners.length], n = [b[1] - a[1], a[0] - b[0]];
    far = Math.max(far, (n[0] * p[0] + n[1] * p[1]) / (n[0] * a[0] + n[1] * a[1]));
  });
  return [p[0] / far, p[1] / far];
}

function shares(p) {
  const n = corners.length, areas = corners.map((a, i) => Math.max(0, area(p, a, corners[(i + 1) % n])));
  const weights = corners.map((_, i) => areas.reduce((all, each, j) => j === i || j === (i + n - 1) % n ? all : all * each, 1));
  const sum = weights.reduce((a, b) => a + b), kept = weights.map(w => w >= 0.03 * sum ? w : 0), all = kept.reduce((a, b) => a + b);
  return kept.map(w => w / all);
}

function show(p) {
  at = inside(p);
  knob.setAttribute('cx', at[0]);
  knob.setAttribute('cy', at[1]);
  const found = shares(at);
  const words = found.map((share, i) => [share, names[i]]).filter(each => each[0] > 0.005).sort((a, b) => b[0] - a[0])
    .map(each => each[1] + ' ' + Math.round(100 * each[0]) + ' %').join(', ');
  knob.setAttribute('aria-valuetext', words);
  knob.setAttribute('aria-valuenow', Math.round(100 * Math.max(...found)));
  read.textContent = words;
  element.querySelectorAll('.ray').forEach((ray, i) => ray.style.opacity = 0.08 + 0.92 * found[i]);
  element.querySelectorAll('.corner').forEach((corner, i) => corner.classList.toggle('on', found[i] > 0.2));
}

function told() { trigger('moved', {x: at[0], y: at[1]}); }

function where(event) {
  const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
  return [view.x + (event.clientX - box.left) / box.width * view.width, view.y + (event.clientY - box.top) / box.height * view.height];
}

svg.addEventListener('pointerdown', event => {
  const corner = event.target.closest('.corner');
  show(corner ? corners[Number(corner.dataset.number)] : where(event));
  svg.setPointerCapture(event.pointerId);
  knob.focus({preventScroll: true});
  event.preventDefault();
});
svg.addEventListener('pointermove', event => { if (svg.hasPointerCapture(event.pointerId) && event.buttons) show(where(event)); });
svg.addEventListener('pointerup', told);

let waiting;
knob.addEventListener('keydown', event => {
  const far = event.shiftKey ? 0.25 : 0.08;
  const step = {ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far]}[event.key];
  const jump = Number(event.key) >= 1 && Number(event.key) <= names.length ? corners[Number(event.key) - 1] : null;
  if (!step && !jump && event.key !== 'Home') return;
  event.preventDefault();
  show(jump ?? (step ? [at[0] + step[0], at[1] + step[1]] : [0, 0]));
  clearTimeout(waiting);
  waiting = setTimeout(told, 500);
});

const given = () => { if (props.value) show([props.value.x, props.value.y]); };
watch('value', given);
given();
