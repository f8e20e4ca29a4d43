// What waits for a yes, and what the board tells by itself: shown above every part, answered with one press.

import { post } from "./api.js";

const $ = (id) => document.getElementById(id);
let may = false;

function button(text, press, kind = "button") {
  const made = document.createElement("button");
  made.type = kind;
  made.textContent = text;
  made.addEventListener("click", press);
  return made;
}

function entry(text, ...buttons) {
  const item = document.createElement("li");
  const words = document.createElement("p");
  words.textContent = text;
  const row = document.createElement("p");
  row.className = "row";
  row.append(...buttons);
  item.append(words, row);
  return item;
}

function question(one) {
  const answer = (yes) => async () => {
    for (const pressed of item.querySelectorAll("button")) pressed.disabled = true;
    let said;
    try {
      said = (await post("api/approve", { id: one.id, yes })).text;
    } catch (error) {
      said = error.message;
    }
    item.querySelector("p").textContent = said;
    setTimeout(() => item.remove(), 5000);
  };
  const item = entry(one.question, button("Yes, do it", answer(true)), button("No", answer(false)));
  item.dataset.id = one.id;
  return item;
}

function standing(id) { return [...$("asks").children].find((item) => item.dataset.id === id); }

/** The events `approval` and `home_confirmation`: a question comes, or goes because it was answered elsewhere or expired. */
export function happened(type, fields) {
  if (type === "home_confirmation" && may && !standing(fields.id)) {
    const item = question(fields);
    item.dataset.home = "";
    $("asks").append(item);
    setTimeout(() => item.remove(), 30_000); // as long as the home waits
  }
  if (type === "home_action") for (const item of document.querySelectorAll("#asks [data-home]:not(:has(:disabled))")) item.remove();
  if (type !== "approval" || !may) return;
  if (fields.outcome === "asked") {
    if (!standing(fields.id)) $("asks").append(question(fields));
  } else if (fields.outcome !== "yes" && fields.outcome !== "no") standing(fields.id)?.remove();
  else if (!standing(fields.id)?.querySelector("button:disabled")) standing(fields.id)?.remove();
}

/** The value `notifications`: what nobody has seen yet. Questions have their place above. */
export function value(name, now) {
  if (name !== "notifications") return;
  const shown = now.filter((one) => one.subject !== "approvals");
  const seen = (one) => async () => { await post("api/notify", { action: "seen", id: one.id }); };
  $("notices").replaceChildren(...shown.map((one) => {
    const when = new Date(one.at).toLocaleTimeString([], { timeStyle: "short" });
    const item = entry(`${one.title ? `${one.title}: ` : ""}${one.text} (${when})`, button("Seen", seen(one)));
    item.dataset.urgency = one.urgency;
    return item;
  }));
}

export async function start(me) {
  may = me.verbs.includes("approve") && ["chat", "memory", "home"].every((scope) => me.scopes.includes(scope));
  if (!may) return;
  for (const one of (await post("api/approve", { action: "list" })).approvals) {
    if (!standing(one.id)) $("asks").append(question(one));
  }
}
