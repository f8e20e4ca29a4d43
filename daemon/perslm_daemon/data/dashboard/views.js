// The parts beside the conversation: what each shows, and how it is changed. Each has show(), some value() and start().

import { get, post } from "./api.js";
import { known } from "./known.js";
import { button, make, problem, renew, sure, trying, when } from "./parts.js";
import { plugins } from "./plugins.js";
import { sharing } from "./sharing.js";
import { event } from "./talk.js";

const $ = (id) => document.getElementById(id);

// Memories

let from = 0;
let newest = 0; // of several searches the last one is shown, whichever is answered first
const PAGE = 30;

function memoryCard(memory) {
  const text = make("p", {}, memory.text);
  const card = make("li", {}, text);
  if (memory.reply) card.append(make("p", { className: "dim" }, `→ ${memory.reply}`));
  const why = memory.score === undefined ? "" : ` · ${Math.round(memory.score * 100)} %, ${[memory.why].flat().join(", ")}`;
  card.append(make("p", { className: "dim" }, `${when(memory.when)}${memory.kind ? ` · ${memory.kind}` : ""}${why}`));
  const correct = button("Correct", () => {
    const field = make("textarea", { value: memory.text, rows: 3, "aria-label": "What it should say" });
    const save = button("Save", async () => {
      memory.id = (await post(`api/memories/${memory.id}`, { text: field.value })).id;
      memory.text = field.value.trim();
      card.replaceWith(memoryCard({ ...memory, reply: "", kind: "fact" }));
    });
    card.replaceChildren(field, make("p", { className: "row" }, save, button("Leave it", () => card.replaceWith(memoryCard(memory)))));
    field.focus();
  }, `Correct: ${memory.text}`);
  const forget = button("Forget", async () => {
    if (!await sure(`Forget “${memory.text}”? It is erased for good.`)) return;
    await post("api/forget", { id: memory.id });
    card.remove();
    await known.renew();
  }, `Forget: ${memory.text}`);
  card.append(make("p", { className: "row" }, correct, forget));
  return card;
}

async function searchMemories() {
  const words = $("words").value.trim();
  if (!words) return browse(true);
  const mine = ++newest;
  const found = (await post("api/recall", { text: words, k: 50 })).memories;
  if (mine !== newest) return;
  $("more").hidden = true;
  $("found").replaceChildren(...found.map(memoryCard));
  if (!found.length) $("found").append(make("li", { className: "dim" }, "Nothing that fits is remembered."));
}

async function browse(anew) {
  const mine = ++newest;
  if (anew) from = 0;
  const found = (await get(`api/memories?limit=${PAGE}&offset=${from}&kind=${$("kind").value}`)).memories;
  if (mine !== newest) return;
  if (anew) $("found").replaceChildren();
  from += found.length;
  $("found").append(...found.map(memoryCard));
  $("more").hidden = found.length < PAGE;
  if (!from) $("found").append(make("li", { className: "dim" }, "Nothing is remembered yet."));
}

const memories = {
  async show() { await searchMemories(); await known.renew(); },
  start() {
    known.start(trying);
    $("search").addEventListener("submit", (sent) => { sent.preventDefault(); trying(searchMemories); });
    $("kind").addEventListener("change", () => trying(() => browse(true)));
    $("more").addEventListener("click", () => trying(() => browse(false)));
    $("remember").addEventListener("submit", (sent) => {
      sent.preventDefault();
      trying(async () => { await post("api/remember", { text: $("fact").value }); $("fact").value = ""; await browse(true); });
    });
  },
};

// The home

const SLIDERS = {
  set_brightness: ["Brightness", "brightness", 0, 100], set_position: ["Position", "position", 0, 100],
  set_percentage: ["Speed", "percentage", 0, 100], set_temperature: ["Degrees", "temperature", 5, 35],
  set_humidity: ["Humidity", "humidity", 0, 100], set_volume: ["Volume", "volume", 0, 100],
};
const ACTS = {
  turn_on: "On", turn_off: "Off", open: "Open", stop: "Stop", close: "Close", lock: "Lock", unlock: "Unlock", press: "Press",
  activate: "Activate", start: "Start", pause: "Pause", return_to_base: "To its base", play: "Play",
};

async function work(device, action, value) {
  const told = await post("api/device", { device: device.id, do: action, ...(value === undefined ? {} : { value }) });
  event("home", told.text);
  if (told.confirm) {
    const done = await post("api/home", { action: "confirm", id: told.confirm.id, yes: await sure(told.confirm.question) });
    event("home", done.text);
    problem(done.text);
  } else problem(told.outcomes?.some((one) => !["done", "already", "started"].includes(one.happened)) ? told.text : "");
  await home.show();
}

function spelled(device) {
  const state = Object.entries(device.state ?? {}).map(([name, value]) => {
    const words = name.replaceAll("_", " ");
    if (typeof value === "boolean") return name === "on" ? (value ? "on" : "off") : value ? words : `not ${words}`;
    return name === "value" ? `${value} ${device.unit ?? ""}` : `${words} ${value}`;
  });
  return device.available ? state.join(" · ") || "nothing heard yet" : "not reachable";
}

function deviceCard(device) {
  const does = device.does ?? [];
  const acts = Object.entries(ACTS).filter(([name]) => does.includes(name));
  const card = make("div", {}, make("p", { className: "head" }, make("strong", {}, device.name), make("span", { className: "dim" }, device.kind ?? device.domain)),
    make("p", { className: device.available ? "dim" : "bad" }, spelled(device)));
  if (acts.length) {
    card.append(make("p", { className: "row" }, ...acts.map(([name, text]) => button(text, () => work(device, name), `${device.name}: ${text}`))));
  }
  for (const [name, [text, key, least, most]] of Object.entries(SLIDERS)) {
    if (!does.includes(name)) continue;
    const field = make("input", { type: "range", min: least, max: most, value: device.state?.[key] ?? least, "aria-label": `${device.name}: ${text}` });
    field.addEventListener("change", () => trying(() => work(device, name, Number(field.value))));
    card.append(make("p", { className: "row" }, make("span", {}, text), field));
  }
  return card;
}

const home = {
  async show() {
    const { devices } = await get("api/devices");
    const areas = Map.groupBy ? Map.groupBy(devices, (one) => one.area ?? "Elsewhere") : devices.reduce((all, one) => all.set(one.area ?? "Elsewhere", [...(all.get(one.area ?? "Elsewhere") ?? []), one]), new Map());
    const shown = [...areas].sort(([one], [other]) => one.localeCompare(other)).map(([area, ones]) =>
      make("section", { "aria-label": area }, make("h3", {}, area), make("div", { className: "cards" }, ...ones.map(deviceCard))));
    renew($("devices"), ...(shown.length ? shown : [make("p", { className: "dim" }, "No device has announced itself on the broker yet.")]));
  },
  start() {
    // States come from the devices at any time; a slider that is being moved is left alone.
    setInterval(() => {
      const busy = $("home").hidden || document.hidden || $("sure").open || document.activeElement?.type === "range";
      if (!busy) this.show().catch(() => {});
    }, 3000);
  },
};

// Timers

let ticking = null;

function lengthOf(text) {
  const found = text.trim().match(/^(\d+(?:[.,]\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?)$/i);
  if (!found) return null;
  return Number(found[1].replace(",", ".")) * { s: 1, m: 60, h: 3600 }[found[2][0].toLowerCase()];
}

function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return `${h ? `${h}:${String(m).padStart(2, "0")}` : m}:${String(s).padStart(2, "0")}`;
}

function timerCard(timer) {
  const left = make("p", { className: "big" });
  const until = timer.seconds_left === null ? null : Date.now() + timer.seconds_left * 1000;
  left.tick = () => { left.textContent = until === null ? "—" : clock(timer.state === "paused" ? timer.seconds_left : (until - Date.now()) / 1000); };
  left.tick();
  const act = (action) => async () => { await post("api/timer", { action, id: timer.id }); await timers.show(); };
  const name = (timer.kind === "command" ? timer.name : "") || timer.text || timer.name || timer.kind;
  return make("li", {}, make("p", { className: "head" }, make("strong", {}, name), make("span", { className: "dim" }, `${timer.kind}, ${timer.state}`)), left,
    timer.at ? make("p", { className: "dim" }, when(timer.at)) : null, timer.why ? make("p", { className: "dim" }, timer.why) : null,
    make("p", { className: "row" }, timer.state === "paused" ? button("Go on", act("resume"), `Go on: ${name}`) : button("Pause", act("pause"), `Pause: ${name}`),
      timer.state === "ringing" ? button("Snooze", act("snooze"), `Snooze: ${name}`) : null, button("Cancel", act("cancel"), `Cancel: ${name}`)));
}

const timers = {
  async show() {
    const found = (await get("api/timers")).timers;
    renew($("timer-list"), ...(found.length ? found.map(timerCard) : [make("li", { className: "dim" }, "Nothing is set.")]));
    ticking ??= setInterval(() => { for (const left of document.querySelectorAll("#timer-list .big")) left.tick?.(); }, 1000);
  },
  value(name) { if (name === "timers" && !$("timers").hidden) trying(() => this.show()); },
  start() {
    $("set-timer").addEventListener("submit", (sent) => {
      sent.preventDefault();
      trying(async () => {
        const seconds = lengthOf($("when").value);
        const at = seconds === null ? { at: $("when").value } : { seconds };
        await post("api/timer", { action: "set", ...at, name: $("timer-name").value, text: $("timer-text").value });
        $("set-timer").reset();
        await timers.show();
      });
    });
  },
};

// Models

const models = {
  async show(me) {
    const found = (await get("api/models")).models;
    const admin = me.scopes.includes("admin");
    const rows = found.map((one) => make("tr", {}, make("td", {}, make("strong", {}, one.id)),
      make("td", {}, `${Math.round(one.needs_mb)} MB`), make("td", {}, one.in_use ? make("span", { className: "good" }, "in use") : one.problem || (one.fits ? "fits" : "does not fit this board")),
      make("td", {}, admin && !one.in_use && one.fits && !one.problem ? button("Use", async () => {
        if (await sure(`Answer with ${one.id} from now on? It is loaded meanwhile; the board goes on.`)) { await post("api/model", { action: "use", id: one.id }); event("model", `${one.id} is being loaded`); }
      }, `Use ${one.id}`) : "")));
    $("model-list").replaceChildren(make("table", { className: "panel" }, make("thead", {}, make("tr", {}, ...["Model", "Memory", "State", ""].map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...rows)));
    $("updates").replaceChildren();
    if (admin && me.verbs.includes("sync")) {
      $("updates").append(button("Look for an update", async () => problem(JSON.stringify(await post("api/sync", { action: "check" })))),
        button("Back to the model before", async () => { if (await sure("Go back to the model that was used before?")) problem(`Back to ${(await post("api/sync", { action: "rollback" })).back_to}`); }));
    }
  },
};

// Health

const PLOTS = { cpu_percent: ["Processor", "%"], rss_mb: ["Memory of PersLM", "MB"], memory_available_mb: ["Memory that is free", "MB"], load: ["Load", ""], temperature_c: ["Temperature", "°C"], latency_ms: ["Time to answer", "ms"] };
const history = Object.fromEntries(Object.keys(PLOTS).map((name) => [name, []]));
const MOST = 240;

function keep(name, value) {
  if (typeof value !== "number" || !history[name]) return;
  history[name].push(value);
  if (history[name].length > MOST) history[name].shift();
}

function plot(name) {
  const values = history[name];
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "plot");
  svg.setAttribute("viewBox", `0 0 ${Math.max(values.length - 1, 1)} 1`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${PLOTS[name][0]}: between ${least} and ${most}`);
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const height = (value) => 0.95 - 0.9 * (most > least ? (value - least) / (most - least) : 0.5);
  const points = values.length > 1 ? values : [values[0], values[0]];
  drawn.setAttribute("points", points.map((value, at) => `${at},${height(value)}`).join(" "));
  svg.append(drawn);
  return svg;
}

function drawHealth() {
  const shown = Object.keys(PLOTS).filter((name) => history[name].length);
  $("plots").replaceChildren(...shown.map((name) => make("div", {}, make("p", { className: "head" }, make("strong", {}, PLOTS[name][0]), make("span", {}, `${history[name].at(-1)} ${PLOTS[name][1]}`)), plot(name),
    make("p", { className: "dim" }, `${Math.min(...history[name])} to ${Math.max(...history[name])} ${PLOTS[name][1]}`))));
}

const health = {
  async show() {
    const told = await get("api/status");
    const rows = [["Version", told.version], ["Running for", clock(told.uptime_s)], ...Object.entries(told.models), ...told.degraded.map((one) => [one.part, one.reason]), ["Broker", told.broker], ["Sound", told.health.sound], ["Pressure", told.health.pressure ?? "none"]];
    $("parts").replaceChildren(make("table", {}, make("tbody", {}, ...rows.filter(([, value]) => value).map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value)))))));
    drawHealth();
  },
  value(name, now) {
    if (name === "health") for (const [figure, value] of Object.entries(now)) keep(figure, value);
    else keep(name, now);
    if (!$("health").hidden) drawHealth();
  },
};

// Settings

function control(name, setting) {
  const change = (value) => trying(() => post(`api/settings/${name}`, { value }));
  const id = `setting-${name}`;
  if (setting.kind === "switch") return make("input", { type: "checkbox", id, checked: setting.value, onchange: (changed) => change(changed.target.checked) });
  if (setting.kind === "select") return make("select", { id, onchange: (changed) => change(changed.target.value) }, ...setting.options.map((one) => make("option", { selected: one === setting.value }, one)));
  return make("input", { type: "range", id, min: setting.least, max: setting.most, step: setting.step, value: setting.value, onchange: (changed) => change(Number(changed.target.value)) });
}

let explained = {};
let inForce = {};

function showKeys(admin) {
  const words = $("key-words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = Object.entries(explained).filter(([name, key]) => words.every((word) => `${name} ${key.help}`.toLowerCase().includes(word)));
  const rows = fits.map(([name, key]) => {
    const now = inForce[name];
    const field = now && admin ? make("input", { value: Array.isArray(now.value) ? now.value.join(",") : String(now.value ?? ""), "aria-label": name }) : now ? String(now.value) : "";
    const save = now && admin ? button("Set", async () => {
      if (!await sure(`Set ${name} to “${field.value}”? What it concerns is started anew.`)) return;
      await post("api/config", { action: "set", key: name, value: field.value });
    }, `Set ${name}`) : "";
    return make("tr", {}, make("td", {}, make("strong", {}, name), make("br"), make("span", { className: "dim" }, `${key.help}. It may be ${key.may_be}.`)), make("td", {}, field), make("td", {}, save, now ? make("span", { className: "dim" }, ` ${now.source}`) : ""));
  });
  $("keys").replaceChildren(make("table", { className: "panel" }, make("tbody", {}, ...rows)));
}

const settings = {
  async show(me) {
    const admin = me.scopes.includes("admin");
    const [{ settings: found }, { keys }, config] = await Promise.all([get("api/settings"), get("api/keys"), admin ? get("api/config") : { keys: {} }]);
    $("switches").replaceChildren(...Object.entries(found).map(([name, setting]) => make("div", {}, make("label", { htmlFor: `setting-${name}` }, make("strong", {}, name.replaceAll("_", " ")), make("br"), make("span", { className: "dim" }, setting.about)), make("p", { className: "row" }, control(name, setting)))),
      make("div", {}, make("p", {}, make("strong", {}, me.person), make("br"), make("span", { className: "dim" }, `${me.name || "this machine's own user"}: ${me.scopes.join(", ")}`)), me.name ? button("Forget the token here", () => dispatchEvent(new Event("forget-token"))) : null));
    [explained, inForce] = [keys, config.keys];
    showKeys(admin);
  },
  start(me) { $("key-words").addEventListener("input", () => showKeys(me.scopes.includes("admin"))); },
};

export const views = { talk: {}, memories, home, timers, models, plugins, sharing, health, settings };
