"use strict";
/* Files that are dropped, chosen or recorded go to the console as they are, one request a file; when all are there, the
   place tells the page by the event "sent". <label class="drop" data-to="/uploads/…"> holds a file input, words and a
   progress bar. Nothing here knows what becomes of the files. <button data-record="id of a place">
   records a sound for it. Below: keys that press buttons. */
(() => {
  const LINES = 4; // requests at the same time
  // A sound as it is: what browsers do to voices in calls takes steady tones away.
  const HEARD = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const RECORDED = { audioBitsPerSecond: 256000 };

  document.addEventListener("change", (event) => {
    const place = event.target.closest?.(".drop");
    if (place && event.target.type === "file") send(place, [...event.target.files].map((file) => [pathOf(file), file]));
  });
  for (const name of ["dragover", "dragleave", "drop"])
    document.addEventListener(name, (event) => {
      const place = event.target.closest?.(".drop");
      if (!place) return;
      event.preventDefault();
      place.classList.toggle("over", name === "dragover");
      if (name === "drop") dropped(event.dataTransfer).then((files) => send(place, files));
    });
  document.addEventListener("keydown", (event) => {
    if ((event.key === "Enter" || event.key === " ") && event.target.matches?.(".drop input")) event.target.click();
  });

  let recorder = null;
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-record]");
    if (!button) return;
    if (recorder) return recorder.stop();
    const place = document.getElementById(button.dataset.record);
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: HEARD });
      record(stream, button, place);
    } catch (error) { tell(place, `The microphone cannot be used: ${error.message || error}`, 0, ""); }
  });

  /** Record until the button is pressed again, then send what was heard as a WAV, which every browser can make. */
  function record(stream, button, place) {
    const words = button.textContent, parts = [];
    recorder = new MediaRecorder(stream, RECORDED);
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = async () => {
      recorder = null;
      button.textContent = words;
      button.ariaPressed = "false";
      stream.getTracks().forEach((track) => track.stop());
      const context = new AudioContext();
      try {
        const heard = await context.decodeAudioData(await new Blob(parts).arrayBuffer());
        send(place, [["recording.wav", wav(heard.getChannelData(0), heard.sampleRate)]]);
      } catch (error) { tell(place, `Nothing was recorded: ${error.message || error}`, 0, ""); }
      context.close();
    };
    recorder.start();
    button.textContent = "Stop, and hand it over";
    button.ariaPressed = "true";
  }

  /** One channel of samples as 16-bit WAV. */
  function wav(samples, rate) {
    const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
    const word = (at, text) => [...text].forEach((letter, place) => view.setUint8(at + place, letter.charCodeAt(0)));
    word(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); word(8, "WAVEfmt ");
    view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
    view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true);
    view.setUint16(34, 16, true); word(36, "data"); view.setUint32(40, 2 * samples.length, true);
    samples.forEach((value, place) => view.setInt16(44 + 2 * place, 32767 * Math.max(-1, Math.min(1, value)), true));
    return new Blob([view], { type: "audio/wav" });
  }

  const pathOf = (file) => file.webkitRelativePath || file.name;

  /** Files of a drop with their paths; folders are walked. */
  async function dropped(transfer) {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (!entries.length) return [...transfer.files].map((file) => [file.name, file]);
    const found = [];
    const walk = async (entry) => {
      if (entry.isFile) {
        found.push([entry.fullPath.slice(1), await new Promise((done, failed) => entry.file(done, failed))]);
        return;
      }
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((done, failed) => reader.readEntries(done, failed));
        if (!some.length) return;
        for (const each of some) await walk(each);
      }
    };
    for (const entry of entries) await walk(entry);
    return found;
  }

  /** Send all; the first refusal ends it, and is told. */
  async function send(place, files) {
    if (!files.length || place.dataset.busy) return;
    place.dataset.busy = "1";
    const bar = place.querySelector("progress");
    const total = files.reduce((sum, [, file]) => sum + file.size, 0) || 1;
    const sent = new Map();
    const show = () => bar && (bar.value = [...sent.values()].reduce((a, b) => a + b, 0) / total);
    if (bar) { bar.hidden = false; bar.max = 1; bar.value = 0; }
    const queue = [...files];
    let refused = null;
    const line = async () => {
      while (queue.length && !refused) {
        const [path, file] = queue.shift();
        try {
          await one(place.dataset.to, path, file, (bytes) => { sent.set(path, bytes); show(); });
          sent.set(path, file.size);
        } catch (error) { refused = String(error.message || error); }
        show();
      }
    };
    await Promise.all(Array.from({ length: LINES }, line));
    if (bar) bar.hidden = true;
    delete place.dataset.busy;
    const input = place.querySelector("input");
    if (input) input.value = "";
    tell(place, refused, files.length, files[0][0]);
  }

  function tell(place, refused, count, first) {
    place.dispatchEvent(new CustomEvent("sent", { detail: { refused, count, first } }));
  }

  function one(to, path, file, told) {
    return new Promise((done, failed) => {
      const request = new XMLHttpRequest();
      request.open("POST", `${to}?path=${encodeURIComponent(path)}`);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.upload.onprogress = (event) => told(event.loaded);
      request.onload = () => (request.status < 300 ? done() : failed(new Error(request.responseText.slice(0, 400))));
      request.onerror = () => failed(new Error("The connection was lost. Send it again."));
      request.send(file);
    });
  }
})();

/* A key presses the button that names it, <button data-key="s">, unless somebody types or a dialog is open. */
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("input, select, textarea, [contenteditable]") || document.querySelector(".dialog")) return;
  const button = document.querySelector(`button[data-key="${CSS.escape(event.key.toLowerCase())}"]:not([disabled])`);
  if (!button) return;
  event.preventDefault();
  button.click();
});
