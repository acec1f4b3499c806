// Distributions, running sums and the Jacobian with other numbers: src/explain/html/pictures.rs.
const LEVELS = 8;
const BINS = 48;
const STACK = 64;
const HALF = 56;

function drawStrip(svg, values, chosen) {
  // The line grows where values leave it, and so keeps its scale otherwise.
  const low = Math.min(Number(svg.dataset.low), ...values);
  const high = Math.max(Number(svg.dataset.high), ...values);
  const share = (value) => (100 * (value - low)) / (high - low);
  const bin = (value) => Math.min(BINS, Math.max(0, Math.floor((share(value) / 100) * BINS)));
  const bins = new Array(BINS + 1).fill(0);
  values.forEach((value) => bins[bin(value)]++);
  const step = Math.min(9, STACK / Math.max(1, ...bins));
  bins.fill(0);
  svg.querySelectorAll('.dot').forEach((dot, i) => {
    dot.setAttribute('cx', share(values[i]) + '%');
    dot.setAttribute('cy', STACK + 8 - step * (bins[bin(values[i])]++ + 0.5));
    dot.classList.toggle('chosen', i === chosen);
  });
  const { mean, deviation } = statistics(values);
  const width = (100 * deviation) / (high - low);
  const band = svg.querySelector('.band');
  band.setAttribute('x', share(mean) - width + '%');
  band.setAttribute('width', 2 * width + '%');
  const line = svg.querySelector('.mean');
  line.setAttribute('x1', share(mean) + '%');
  line.setAttribute('x2', share(mean) + '%');
}

function drawSum(svg, terms) {
  const sums = [0];
  terms.forEach((term) => sums.push(sums[sums.length - 1] + term));
  const scale = Math.max(...sums.map(Math.abs));
  const y = (sum) => HALF + 4 - (scale > 0 ? (HALF * sum) / scale : 0);
  svg.querySelectorAll('rect').forEach((bar, i) => {
    const [from, to] = [sums[i], sums[i + 1]];
    const top = y(Math.max(from, to));
    bar.setAttribute('class', to < from ? 'down' : 'up');
    bar.setAttribute('y', top);
    bar.setAttribute('height', Math.max(1, y(Math.min(from, to)) - top));
  });
}

function drawHeat(svg, rows, count) {
  const onDiagonal = (place) => Math.floor(place / count) === place % count;
  const largest = (diagonal) => Math.max(0, ...rows.filter((_, place) => onDiagonal(place) === diagonal).map(Math.abs));
  const scale = largest(false) || largest(true);
  const paths = {};
  rows.forEach((value, place) => {
    const share = scale > 0 ? value / scale : 0;
    const level = Math.sign(share) * Math.min(LEVELS, Math.ceil(Math.abs(LEVELS * share))) || 0;
    paths[level] = (paths[level] ?? '') + `M${place % count} ${Math.floor(place / count)}h1v1h-1z`;
  });
  svg.querySelectorAll('[data-level]').forEach((path) => path.setAttribute('d', paths[path.dataset.level] ?? ''));
}

