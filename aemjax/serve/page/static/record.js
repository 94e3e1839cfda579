// A recording of the microphone as a WAV file. What browsers record by themselves, WebM or
// MP4, the server cannot read.

const REASONS = {
  NotAllowedError: "The microphone was refused. Allow it for this page in the browser's settings.",
  NotFoundError: "No microphone was found. Plug one in, or choose a file.",
  NotReadableError: "The microphone cannot be opened. Another program may hold it.",
};

export class Recording {
  // Begins at once; `progress` is called with the seconds that there are.
  static async begin(progress) {
    if (!navigator.mediaDevices || !window.AudioWorkletNode) {
      throw new Error(
        "The browser gives the microphone only to pages of this machine (localhost) or " +
          "over https. Open the page there, or choose a file.",
      );
    }
    let stream;
    try {
      // As it is: the network was not trained on what these would leave of a sound.
      stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The microphone cannot be used: ${error.message}`);
    }
    const recording = new Recording(stream);
    try {
      await recording.#listen(progress);
    } catch (error) {
      await recording.#close();
      throw error;
    }
    return recording;
  }

  #stream;
  #context = new AudioContext();
  #blocks = [];
  #samples = 0;

  constructor(stream) {
    this.#stream = stream;
  }

  async #listen(progress) {
    await this.#context.audioWorklet.addModule("static/worklet.js");
    const tap = new AudioWorkletNode(this.#context, "tap", { numberOfOutputs: 0 });
    tap.port.onmessage = ({ data }) => {
      this.#blocks.push(data);
      this.#samples += data.length;
      progress(this.#samples / this.#context.sampleRate);
    };
    this.#context.createMediaStreamSource(this.#stream).connect(tap);
    await this.#context.resume();
  }

  // Ends it; the WAV file, no longer than so many seconds.
  async end(max_s) {
    await this.#close();
    const rate = this.#context.sampleRate;
    const samples = new Float32Array(this.#samples);
    let place = 0;
    for (const block of this.#blocks) {
      samples.set(block, place);
      place += block.length;
    }
    const kept = samples.subarray(0, Math.floor(max_s * rate));
    return new File([wav(kept, rate)], "recording.wav", { type: "audio/wav" });
  }

  async #close() {
    for (const track of this.#stream.getTracks()) track.stop();
    if (this.#context.state !== "closed") await this.#context.close();
  }
}

// 16 bit, one channel.
function wav(samples, rate) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (place, letters) =>
    [...letters].forEach((letter, i) => bytes.setUint8(place + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true); // of this chunk
  bytes.setUint16(20, 1, true); // PCM
  bytes.setUint16(22, 1, true); // channels
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, 2 * rate, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  text(36, "data");
  bytes.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => {
    const level = Math.round(32768 * x);
    bytes.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, level)), true);
  });
  return bytes.buffer;
}
