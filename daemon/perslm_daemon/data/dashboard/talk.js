// The conversation by text and by voice, and what happens on the board.

import { Refused, post, speech, stream, transcribe } from "./api.js";

const $ = (id) => document.getElementById(id);
let running = null;
let player = null;

export function line(kind, text) {
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  $("conversation").append(item);
  item.scrollIntoView({ block: "nearest" });
  return item;
}

export function event(what, text) {
  const item = document.createElement("li");
  const time = document.createElement("span");
  time.className = "dim";
  time.textContent = new Date().toLocaleTimeString() + " ";
  item.append(time, what + (text ? `: ${text}` : ""));
  $("events").prepend(item);
  while ($("events").children.length > 100) $("events").lastChild.remove();
}

async function ask(text) {
  line("me", text);
  let answer = null;
  running = new AbortController();
  try {
    for await (const { name, data } of stream("api/ask", { text }, running.signal)) {
      if (name === "recalled" && data.memories.length) {
        line("recalled", "Remembered: " + data.memories.map((memory) => memory.text).join(" · "));
      } else if (name === "sentence") {
        answer ??= line("it", "");
        answer.textContent += data.text;
        answer.scrollIntoView({ block: "nearest" });
      } else if (name === "answer") {
        if (data.status !== "ok") throw new Refused(0, data.error);
        if (!answer) answer = line("it", data.data.text || "(done)");
        for (const problem of data.data.problems) line("recalled", problem);
        if ($("aloud").checked && data.data.text) await play(data.data.text);
      }
    }
  } catch (error) {
    if (error.name !== "AbortError") line("it bad", error.message);
  } finally {
    running = null;
  }
}

async function play(text) {
  player?.pause();
  const url = URL.createObjectURL(await speech(text));
  player = new Audio(url);
  player.onended = () => URL.revokeObjectURL(url);
  await player.play();
}

function stop() {
  running?.abort();
  player?.pause();
  post("api/stop").catch(() => {});
}

// Push to talk: pressed as long as one speaks, by mouse, finger or key.

let recorder = null;
let wanted = false;

async function press() {
  if (wanted) return;
  wanted = true;
  $("push").setAttribute("aria-pressed", "true");
  $("push").textContent = "Listening …";
  try {
    const sound = await navigator.mediaDevices.getUserMedia({ audio: true });
    const pieces = [];
    recorder = new MediaRecorder(sound);
    recorder.ondataavailable = (piece) => pieces.push(piece.data);
    recorder.onstop = () => {
      for (const track of sound.getTracks()) track.stop();
      heard(new Blob(pieces, { type: recorder.mimeType }));
      recorder = null;
    };
    recorder.start();
    if (!wanted) recorder.stop();
  } catch (error) {
    release();
    const why = window.isSecureContext ? error.message : "a browser gives the microphone only to https pages and to localhost";
    line("it bad", `The microphone cannot be used: ${why}`);
  }
}

function release() {
  if (!wanted) return;
  wanted = false;
  $("push").setAttribute("aria-pressed", "false");
  $("push").textContent = "Hold to speak";
  if (recorder?.state === "recording") setTimeout(() => recorder?.stop(), 200);
}

async function heard(blob) {
  if (blob.size < 1000) return;
  try {
    const text = (await transcribe(blob)).trim();
    if (text) await ask(text);
  } catch (error) {
    line("it bad", error.message);
  }
}

export function start(me) {
  const may = (scope) => me.scopes.includes(scope);
  $("ask").addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    const text = $("question").value.trim();
    if (!text || running) return;
    $("question").value = "";
    ask(text);
  });
  $("question").addEventListener("keydown", (pressed) => {
    if (pressed.key === "Enter" && !pressed.shiftKey && !pressed.isComposing) {
      pressed.preventDefault();
      $("ask").requestSubmit();
    }
  });
  $("stop").addEventListener("click", stop);
  const push = $("push");
  push.addEventListener("pointerdown", (pressed) => { push.setPointerCapture(pressed.pointerId); press(); });
  for (const end of ["pointerup", "pointercancel", "blur"]) push.addEventListener(end, release);
  push.addEventListener("keydown", (pressed) => {
    if ([" ", "Enter"].includes(pressed.key) && !pressed.repeat) { pressed.preventDefault(); press(); }
  });
  push.addEventListener("keyup", release);
  push.addEventListener("contextmenu", (opened) => opened.preventDefault());
  $("listen").hidden = !(me.verbs.includes("listen") && may("home"));
  $("listen").addEventListener("click", async () => {
    try { await post("api/listen"); } catch (error) { line("it bad", error.message); }
  });
  for (const button of ["question", "push"]) $(button).disabled = !(may("chat") && may("home"));
}
