// Shows an answer. All text goes in as text: labels and file names may look like HTML.

import { drawFeatures, drawTimeline, drawWaveform, windowEdges } from "./draw.js";

const byId = (id) => document.getElementById(id);
const TICKS_S = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600];

export function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

export class Shown {
  #answer;
  #edges;

  constructor(answer, model) {
    this.#answer = answer;
    this.#edges = windowEdges(answer.windows, answer.duration_s);
    const { top, features, timeline, neighbours, windows } = answer;
    bars(byId("top"), top.map(({ label, probability }) => [label, probability]));
    byId("top-note").textContent = model.multi_label
      ? "Each probability stands by itself: several classes may be present."
      : "Probabilities of all classes sum to 1.";
    const learned = features.tones_hz !== null;
    byId("features-title").textContent =
      `Front end, ${features.channels} channels` +
      (learned ? ", by the tone that each answers to most" : "");
    byId("features").setAttribute(
      "aria-label", `Output of the front end, ${features.channels} channels over time`);
    byId("tones").replaceChildren(...(learned ? tones(features.tones_hz) : []));
    byId("classes").replaceChildren(...timeline.labels.map((label) => {
      const row = element("div", label);
      row.title = label;
      return row;
    }));
    byId("timeline").setAttribute("aria-label", spoken(windows));
    byId("seconds").replaceChildren(...ticks(answer.duration_s));
    byId("neighbours-card").hidden = neighbours === null;
    bars(byId("neighbours"), (neighbours ?? []).map((n) => [n.path, n.similarity]));
    byId("results").hidden = false;
    this.draw();
  }

  get duration_s() {
    return this.#answer.duration_s;
  }

  draw() {
    const { waveform, features, timeline, windows, duration_s } = this.#answer;
    drawWaveform(byId("waveform"), waveform);
    drawFeatures(byId("features"), features);
    const row = byId("classes").firstElementChild;
    drawTimeline(byId("timeline"), timeline, windows, duration_s, row.offsetHeight);
  }

  // What was found at a moment, as text.
  at(seconds) {
    const last = this.#edges.length - 2;
    const i = this.#edges.findIndex((edge) => edge > seconds) - 1;
    const { start_s, end_s, top } = this.#answer.windows[i < 0 ? last : i];
    const scores = top.slice(0, 3).map((s) => `${s.label} ${s.probability.toFixed(3)}`);
    return `${start_s.toFixed(2)} to ${end_s.toFixed(2)} s: ${scores.join(", ")}`;
  }
}

function bars(list, rows) {
  list.replaceChildren(...rows.map(([name, value]) => {
    const row = element("li");
    const track = element("div", "", "track");
    const bar = element("div");
    bar.style.width = `${100 * Math.max(0, value)}%`;
    track.append(bar);
    row.append(element("span", name, "name"), element("span", value.toFixed(3), "value"), track);
    return row;
  }));
}

function tones(tones_hz) {
  const n = tones_hz.length;
  return [0.02, 0.25, 0.5, 0.75, 0.98].map((share) => {
    const hz = tones_hz[Math.round(share * (n - 1))];
    const text = hz < 1000 ? `${Math.round(hz)} Hz` : `${(hz / 1000).toFixed(1)} kHz`;
    const label = element("span", text);
    label.style.top = `${100 * (1 - share)}%`;
    return label;
  });
}

function ticks(duration_s) {
  const step = TICKS_S.find((s) => duration_s / s <= 6) ?? 900;
  const marks = [];
  for (let i = 0; i * step < 0.97 * duration_s; i++) {
    const mark = element("span", i ? `${+(i * step).toFixed(2)}` : "0 s");
    mark.style.left = `${(100 * i * step) / duration_s}%`;
    marks.push(mark);
  }
  return marks;
}

// The heat map for those who do not see it: which class leads when.
function spoken(windows) {
  const parts = [];
  let before = null;
  for (const { start_s, top } of windows) {
    if (top[0].label !== before) parts.push(`from ${start_s.toFixed(1)} s ${top[0].label}`);
    before = top[0].label;
  }
  return `Most probable class over time: ${parts.join(", ")}`;
}
