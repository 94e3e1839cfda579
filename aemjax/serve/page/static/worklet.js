// Runs where the browser handles audio: hands each block of the microphone to the page.
class Tap extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) this.port.postMessage(channels[0].slice());
    return true;
  }
}

registerProcessor("tap", Tap);
