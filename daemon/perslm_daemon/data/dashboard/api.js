// How the page speaks to the board: the token, answers, and streams of events. Knows no element of the page.

const KEPT = "perslm.token";
let token = sessionStorage.getItem(KEPT) || localStorage.getItem(KEPT) || "";

export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

export function setToken(text, keep) {
  token = text.trim();
  sessionStorage.setItem(KEPT, token);
  if (keep) localStorage.setItem(KEPT, token); else localStorage.removeItem(KEPT);
}

export function forgetToken() { token = ""; sessionStorage.removeItem(KEPT); localStorage.removeItem(KEPT); }

async function fetched(path, options = {}) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  if (response.ok) return response;
  let message = `${response.status}`;
  try {
    const told = await response.json();
    message = told.error?.message ?? told.error ?? message;
  } catch { /* no JSON: the status has to do */ }
  throw new Refused(response.status, message);
}

export async function get(path) { return (await (await fetched(path)).json()).data; }

export async function post(path, body = {}) {
  const options = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return (await (await fetched(path, options)).json()).data;
}

/** Every server-sent event of an answer, as {name, data}; ends with the answer. */
export async function* stream(path, body, signal) {
  const headers = { Accept: "text/event-stream", ...(body ? { "Content-Type": "application/json" } : {}) };
  const response = await fetched(path, { method: body ? "POST" : "GET", body: body && JSON.stringify(body), headers, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
      const data = lines.find((line) => line.startsWith("data: "))?.slice(6);
      if (name && data) yield { name, data: JSON.parse(data) };
    }
  }
}

export async function transcribe(blob) {
  const form = new FormData();
  form.append("file", blob, "question");
  form.append("model", "whisper-1");
  return (await (await fetched("v1/audio/transcriptions", { method: "POST", body: form })).json()).text;
}

export async function speech(text) {
  const body = JSON.stringify({ model: "tts-1", voice: "board", input: text, response_format: "mp3" });
  const options = { method: "POST", body, headers: { "Content-Type": "application/json" } };
  return (await fetched("v1/audio/speech", options)).blob();
}
