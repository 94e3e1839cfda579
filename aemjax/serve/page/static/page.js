// The page: takes a file or a recording, has it classified, shows the answer.

import { Shown, element } from "./answer.js";
import { Recording } from "./record.js";

const byId = (id) => document.getElementById(id);
const WINDOWS_S = [0.5, 1, 2, 5, 10, 30, 60];

const player = byId("player");
let model = null;
let file = null;
let shown = null;
let recording = null;
let request = null;
let frame = 0;

function status(text, { busy = false } = {}) {
  byId("status").textContent = text;
  byId("status").classList.toggle("busy", busy);
}

function fail(error) {
  status("");
  byId("error").textContent = error.message;
  byId("error").hidden = false;
}

async function json(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is it still running?");
  }
  const answer = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    if (response.ok) throw new Error("The server's answer broke off. Try again.");
    return {};
  });
  if (response.ok) return answer;
  throw new Error(answer.error ?? `The server answered ${response.status}. Try again.`);
}

async function classify(chosen) {
  request?.abort();
  request = new AbortController();
  const { signal } = request;
  file = chosen;
  player.pause();
  byId("error").hidden = true;
  byId("results").hidden = true;
  shown = null;
  const { max_bytes } = model.limits;
  if (file.size > max_bytes) {
    fail(new Error(
      `${file.name} has ${(file.size / 1e6).toFixed(1)} MB, expected ${max_bytes / 1e6} MB ` +
        "at most. Cut it, or compress it as FLAC."));
    return;
  }
  status(`Listening to ${file.name}. The first clips take longer.`, { busy: true });
  const window_s = Number(byId("window").value);
  const query = new URLSearchParams({ window_s, hop_s: window_s / 2 });
  const parts = ["waveform", "features", ...(model.neighbours ? ["neighbours"] : [])];
  query.set("include", parts.join(","));
  try {
    // Read first: a file that cannot be read is told from a server that is gone.
    const body = await file.arrayBuffer().catch(() => {
      throw new Error(`${file.name} cannot be read. Is it a folder, or was it changed?`);
    });
    const answer = await json(`api/classify?${query}`, { method: "POST", body, signal });
    show(answer);
  } catch (error) {
    if (signal.aborted) return;
    fail(new Error(error.message.replace(/^the file\b/, () => chosen.name)));
  }
}

function show(answer) {
  status("");
  byId("clip-title").textContent = `${file.name}, ${answer.duration_s.toFixed(2)} s`;
  URL.revokeObjectURL(player.src);
  byId("unplayable").hidden = true;
  player.hidden = false;
  player.src = URL.createObjectURL(file);
  shown = new Shown(answer, model);
  follow();
}

// The playhead is where the player is.
function follow() {
  cancelAnimationFrame(frame); // each seek comes here while the last one is under way
  if (!shown) return;
  const seconds = Math.min(player.currentTime, shown.duration_s);
  byId("playhead").style.left = `${(100 * seconds) / shown.duration_s}%`;
  byId("moment").textContent = shown.at(seconds);
  if (!player.paused) frame = requestAnimationFrame(follow);
}

function seek(event) {
  const { left, width } = byId("waveform").getBoundingClientRect();
  const share = (event.clientX - left) / width;
  if (shown && share >= 0 && share <= 1) player.currentTime = share * shown.duration_s;
}

async function record() {
  const button = byId("record");
  const { max_s } = model.limits;
  button.disabled = true;
  try {
    if (recording) {
      const ended = recording;
      recording = null;
      button.textContent = "Record";
      button.classList.remove("recording");
      await classify(await ended.end(max_s));
      return;
    }
    byId("error").hidden = true;
    recording = await Recording.begin((seconds) => {
      if (!recording) return;
      status(`Recording, ${seconds.toFixed(1)} s of ${max_s} s at most`);
      if (seconds >= max_s && !button.disabled) record();
    });
    button.textContent = "Stop and classify";
    button.classList.add("recording");
  } catch (error) {
    fail(error);
  } finally {
    button.disabled = false;
  }
}

function describe() {
  const { name, frontend, dataset, labels, sample_rate, limits } = model;
  byId("facts").textContent =
    `${name} with ${frontend}, ${labels.length} classes` +
    (dataset ? ` of ${dataset}` : "") + `, ${sample_rate / 1000} kHz`;
  byId("limits").textContent = `, up to ${limits.max_bytes / 1e6} MB and ${limits.max_s} s`;
  const usable = WINDOWS_S.filter((s) => limits.max_s / (s / 2) <= limits.max_windows);
  byId("window").replaceChildren(...usable.map((s) => {
    const option = element("option", `${s} s`);
    option.value = s;
    return option;
  }));
  byId("window").value = usable.find((s) => s >= 1);
  byId("curl").textContent =
    `curl --data-binary @clip.wav '${location.origin}/api/classify?top_k=3&window_s=1'`;
}

function listen() {
  const drop = byId("drop");
  byId("file").addEventListener("change", ({ target }) => {
    if (target.files.length) classify(target.files[0]);
    target.value = ""; // the same file may be chosen again
  });
  byId("record").addEventListener("click", record);
  byId("window").addEventListener("change", () => file && classify(file));
  for (const type of ["dragenter", "dragover"]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) classify(event.dataTransfer.files[0]);
  });
  byId("plots").addEventListener("click", seek);
  player.addEventListener("play", follow);
  player.addEventListener("seeked", follow);
  player.addEventListener("error", () => {
    player.hidden = true;
    byId("unplayable").hidden = false;
  });
  const redraw = () => shown?.draw();
  new ResizeObserver(redraw).observe(byId("plots"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

try {
  model = await json("api/model");
  describe();
  listen();
} catch (error) {
  fail(error);
}
