// What is known of the people: a drawing of who belongs to whom, and every claim with how sure it is and whence.

import { post } from "./api.js";

const $ = (id) => document.getElementById(id);

function row(known) {
  const item = document.createElement("li");
  const text = document.createElement("p");
  text.textContent = known.text;
  const whence = document.createElement("p");
  whence.className = "dim";
  const since = new Date(known.since).toLocaleDateString([], { dateStyle: "medium" });
  whence.textContent = `since ${since} · ${Math.round(known.confidence * 100)} % sure · ${known.how}`
    + (known.sources.length ? ` · from memory ${known.sources.join(", ")}` : "");
  item.append(text, whence);
  return item;
}

/** The board's drawing as elements: it is read as XML, its text was escaped there, and no script runs from it. */
function drawing(graph) {
  const read = new DOMParser().parseFromString(graph.svg, "image/svg+xml").documentElement;
  const picture = document.adoptNode(read);
  picture.setAttribute("role", "img");
  const links = graph.links.map((one) => `${graph.nodes[one.from]}: ${one.relation} ${graph.nodes[one.to]}`);
  picture.setAttribute("aria-label", `What is known, as a drawing. ${links.join("; ")}`);
  return picture;
}

async function show() {
  const [profile, graph] = await Promise.all([post("api/memory", { action: "profile" }), post("api/memory", { action: "graph" })]);
  $("known-list").replaceChildren(...profile.known.map(row));
  $("graph").replaceChildren(...(graph.nodes.length ? [drawing(graph)] : []));
  $("nothing-known").hidden = profile.known.length > 0;
}

export const known = {
  start(trying) { $("known").addEventListener("toggle", () => { if ($("known").open) trying(show); }); },
  /** Anew, where it is open: something was remembered, corrected or forgotten. */
  renew: () => ($("known").open ? show() : undefined),
};
