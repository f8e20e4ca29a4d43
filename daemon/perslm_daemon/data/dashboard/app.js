// The page's frame: who asks, which part is shown, and the board's events to the parts that show them.

import { Refused, forgetToken, get, setToken, stream } from "./api.js";
import * as asks from "./asks.js";
import * as talk from "./talk.js";
import { views } from "./views.js";

const $ = (id) => document.getElementById(id);
const NAMES = { idle: "idle", listening: "listening", processing: "thinking", responding: "answering" };
let me = null;

export function problem(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text;
}

function state(name) {
  $("state").dataset.state = name;
  $("state").textContent = NAMES[name] ?? name;
}

async function show() {
  const name = views[location.hash.slice(1)] ? location.hash.slice(1) : "talk";
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash !== `#${name}`) { link.removeAttribute("aria-current"); continue; }
    link.setAttribute("aria-current", "page");
    link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - 40; // on a phone they do not all fit
  }
  scrollTo(0, 0);
  document.title = `${$("node").textContent}: ${$(`${name}-title`).textContent}`;
  problem("");
  try {
    await views[name].show?.(me);
  } catch (error) {
    if (error.status === 401) return enter();
    problem(error.message);
  }
}

function happened({ event_type: type, fields }) {
  asks.happened(type, fields);
  const text = fields.question ?? fields.message ?? fields.text ?? fields.name ?? "";
  talk.event(type.replaceAll("_", " "), typeof text === "string" ? text : "");
}

function value({ name, value: now }) {
  if (name === "activity") state(now);
  if (name === "info") $("node").textContent = now.node;
  asks.value(name, now);
  for (const view of Object.values(views)) view.value?.(name, now);
}

async function follow() {
  for (let wait = 1; ; wait = Math.min(wait * 2, 30)) {
    try {
      for await (const { name, data } of stream("api/events")) {
        wait = 1;
        if (name === "value") value(data); else happened(data);
      }
    } catch (error) {
      if (error instanceof Refused && error.status === 401) return enter();
    }
    state("off");
    $("state").textContent = "not connected";
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
  }
}

async function enter(told = "") {
  try {
    me = await get("api/me");
  } catch (error) {
    if (!(error instanceof Refused)) {
      problem("The board does not answer.");
      setTimeout(enter, 3000);
      return;
    }
    $("login-problem").textContent = told || (error.status === 401 ? "" : error.message);
    if (!$("login").open) $("login").showModal();
    return;
  }
  talk.start(me);
  asks.start(me).catch((error) => problem(error.message));
  for (const view of Object.values(views)) view.start?.(me);
  follow();
  await show();
}

$("login-form").addEventListener("submit", () => {
  setToken($("token").value, $("keep").checked);
  $("token").value = "";
  enter("This token is wrong, or was revoked.");
});
$("login").addEventListener("cancel", (cancelled) => cancelled.preventDefault());
addEventListener("hashchange", async () => {
  const shown = show();
  $("main").focus(); // at once: when the data are there, somebody may be typing already
  await shown;
});
addEventListener("forget-token", () => { forgetToken(); location.reload(); });
enter();
