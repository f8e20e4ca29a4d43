// What every part of the page is built of: elements, buttons that say what went wrong, a question before what cannot be undone.

const $ = (id) => document.getElementById(id);

/** An element with its properties and what is in it; nothing is ever parsed as HTML. */
export function make(tag, properties = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...inside.filter((one) => one !== null && one !== undefined && one !== ""));
  return made;
}

export function button(text, act, label = "") {
  const made = make("button", { type: "button", ...(label ? { "aria-label": label } : {}) }, text);
  made.addEventListener("click", async () => {
    made.disabled = true;
    await trying(act);
    made.disabled = false;
  });
  return made;
}

export async function trying(act) {
  problem("");
  try {
    await act();
  } catch (error) {
    problem(error.message);
  }
}

export function problem(text) { $("problem").hidden = !text; $("problem").textContent = text; }

export function sure(text) {
  $("sure-text").textContent = text;
  $("sure").returnValue = "no";
  $("sure").showModal();
  return new Promise((resolve) => $("sure").addEventListener("close", () => resolve($("sure").returnValue === "yes"), { once: true }));
}

/** Put new elements in place of old ones; who is at one of them stays at its successor. */
export function renew(place, ...shown) {
  const at = place.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  place.replaceChildren(...shown);
  if (at) for (const one of place.querySelectorAll("[aria-label]")) if (one.getAttribute("aria-label") === at) one.focus();
}

export const when = (text) => new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

/** Show a part again for ten seconds: the board starts anew what a change concerns, and is away for a moment. */
export function repeatedly(part, show, times = 20) {
  setTimeout(async () => {
    await show().catch(() => {});
    if (times > 1 && !$(part).hidden) repeatedly(part, show, times - 1);
  }, 500);
}
