// The plug-ins: what is installed and how it is; a look at one in its sandbox; letting it run, or no more.

import { post } from "./api.js";
import { button, make, renew, repeatedly, sure } from "./parts.js";

const $ = (id) => document.getElementById(id);
const GOOD = ["ready", "enabled", "starting"];
const looked = new Map(); // what a look at a plug-in has told, for as long as the page is open

function brings(told) {
  const rows = told.tools.map((tool) => make("li", {}, `${tool.name}: ${tool.about}`
    + (tool.changes.length ? `; changes ${tool.changes.join(", ")}` : "") + (tool.asks ? ", asks first" : "")));
  const needed = told.settings.map((one) => make("li", {}, `${one.name} (${one.kind}${one.needed ? ", needed" : ""}): ${one.about}`));
  return make("div", {}, make("p", {}, told.about), make("p", { className: "dim" }, `Reaches ${told.reaches.join(", ") || "no other machine"}.`),
    rows.length ? make("ul", { "aria-label": `Tools of ${told.name}` }, ...rows) : null,
    needed.length ? make("ul", { "aria-label": `Settings of ${told.name}, in plugins.toml`, className: "dim" }, ...needed) : null,
    told.problem ? make("p", { className: "bad" }, told.problem) : null);
}

function card(one, admin) {
  const on = one.state !== "off";
  const look = button("Look at it", async () => {
    looked.set(one.name, await post("api/plugin", { name: one.name }));
    await plugins.show({ scopes: admin ? ["admin"] : [] });
  }, `Look at ${one.name}`);
  const enable = button("Enable", async () => {
    const told = await post("api/plugin", { name: one.name });
    if (told.problem) throw new Error(`${one.name} is not enabled: ${told.problem}`);
    const reach = told.reaches.join(", ") || "no other machine";
    if (!await sure(`Let ${one.name} run? It brings ${told.tools.length} tools and may reach ${reach}.`)) return;
    await post("api/plugin", { action: "enable", name: one.name });
    later();
  }, `Enable ${one.name}`);
  const disable = button("Disable", async () => {
    if (!await sure(`Let ${one.name} run no more? What it has kept stays.`)) return;
    await post("api/plugin", { action: "disable", name: one.name });
    later();
  }, `Disable ${one.name}`);
  return make("li", {}, make("p", { className: "head" }, make("strong", {}, one.name),
    make("span", { className: one.problem ? "bad" : GOOD.includes(one.state) ? "good" : "dim" }, one.problem ? "failed" : one.state)),
  make("p", { className: "dim" }, [one.group, one.package].filter(Boolean).join(" · ")),
  one.problem ? make("p", { className: "bad" }, one.problem) : null, looked.has(one.name) ? brings(looked.get(one.name)) : null,
  admin ? make("p", { className: "row" }, look, on ? disable : enable) : null);
}

let mine = null;

const later = () => repeatedly("plugins", () => plugins.show(mine));

export const plugins = {
  async show(me) {
    mine = me;
    const found = (await post("api/plugins", { action: "installed" })).plugins;
    const shown = found.map((one) => card(one, me.scopes.includes("admin")));
    renew($("plugin-list"), ...(shown.length ? shown : [make("li", { className: "dim" }, "No plug-in is installed.")]));
  },
};
