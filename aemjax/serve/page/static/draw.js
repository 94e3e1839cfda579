// Pictures of an answer, on canvases that are as wide as the page lets them be.

// Dark violet to pale yellow, evenly in lightness.
const COLOURS = [
  [10, 7, 34], [54, 15, 94], [107, 29, 129], [158, 47, 127],
  [210, 66, 112], [244, 105, 92], [253, 160, 109], [252, 253, 191],
];

const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// As many pixels as the screen has, addressed in those of the page.
function prepared(canvas, height) {
  if (height) canvas.style.height = `${height}px`;
  const { clientWidth, clientHeight } = canvas;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(clientWidth * ratio));
  canvas.height = Math.max(1, Math.round(clientHeight * ratio));
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return { context, width: clientWidth, height: clientHeight };
}

export function drawWaveform(canvas, { low, high }) {
  const { context, width, height } = prepared(canvas);
  const peak = Math.max(1e-4, ...high, ...low.map((x) => -x));
  const y = (value) => (height / 2) * (1 - (0.95 * value) / peak);
  context.fillStyle = colour("--accent");
  for (let i = 0; i < low.length; i++) {
    const left = (i * width) / low.length;
    const right = ((i + 1) * width) / low.length;
    const top = y(high[i]);
    context.fillRect(left, top, right - left, Math.max(1, y(low[i]) - top));
  }
}

export function drawFeatures(canvas, features) {
  const { channels, columns, data } = features;
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const small = new OffscreenCanvas(columns, channels);
  const smallContext = small.getContext("2d");
  const image = smallContext.createImageData(columns, channels);
  for (let channel = 0; channel < channels; channel++) {
    const row = channels - 1 - channel; // low tones at the bottom
    for (let column = 0; column < columns; column++) {
      const rgb = shade(bytes[channel * columns + column] / 255);
      image.data.set([...rgb, 255], 4 * (row * columns + column));
    }
  }
  smallContext.putImageData(image, 0, 0);
  const { context, width, height } = prepared(canvas);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, width, height);
}

function shade(share) {
  const place = share * (COLOURS.length - 1);
  const i = Math.min(Math.floor(place), COLOURS.length - 2);
  return COLOURS[i].map((x, k) => x + (place - i) * (COLOURS[i + 1][k] - x));
}

// A row of cells for each class. Where windows overlap, a cell is around its middle.
export function drawTimeline(canvas, timeline, windows, duration_s, row_height) {
  const rows = timeline.labels.length;
  const { context, width } = prepared(canvas, rows * row_height);
  const edges = windowEdges(windows, duration_s).map((s) => (s / duration_s) * width);
  context.fillStyle = colour("--track");
  for (let row = 0; row < rows; row++) {
    context.fillRect(0, row * row_height + 1, width, row_height - 2);
  }
  context.fillStyle = colour("--accent");
  timeline.probabilities.forEach((row, i) => {
    row.forEach((probability, k) => {
      context.globalAlpha = probability;
      context.fillRect(edges[k], i * row_height + 1, edges[k + 1] - edges[k], row_height - 2);
    });
  });
}

export function windowEdges(windows, duration_s) {
  const middles = windows.map(({ start_s, end_s }) => (start_s + end_s) / 2);
  const between = middles.slice(1).map((s, i) => (s + middles[i]) / 2);
  return [0, ...between, duration_s];
}
