// What goes to the training host: a person's consent, what waits to be looked at, changed or taken back, and what went.

import { post } from "./api.js";
import { button, make, renew, repeatedly, sure, when } from "./parts.js";

const $ = (id) => document.getElementById(id);
const KINDS = {
  corrections: ["Corrections", "answers you corrected, or gave a thumb"],
  failed: ["What was understood the second time", "commands that you had to say again"],
  conversations: ["Conversations", "those that you choose yourself, and no others"],
};

const editing = () => $("examples").querySelector("textarea") !== null; // what is being written is left alone
const share = (action, more = {}) => post("api/share", { action, ...more });

function consent(kind, allowed) {
  const [name, about] = KINDS[kind];
  const box = make("input", { type: "checkbox", id: `share-${kind}`, checked: allowed });
  box.addEventListener("change", async () => {
    const asked = box.checked ? `Let ${about} go to the training host? Each waits first, to be looked at here.`
      : "Let no more of these go? What waits of them is dropped.";
    if (await sure(asked)) await share(box.checked ? "on" : "off", { kinds: [kind] }).catch((error) => { $("share-state").textContent = error.message; });
    repeatedly("sharing", () => sharing.show());
  });
  return make("div", {}, make("label", {}, box, " ", make("strong", {}, name), make("br"), make("span", { className: "dim" }, about)));
}

function said(messages, meant) {
  const lines = messages.map((one) => make("p", {}, make("strong", {}, one.role === "user" ? "You: " : "PersLM: "), one.content));
  return [...lines, meant ? make("p", { className: "good" }, `Meant: ${meant}`) : null];
}

async function left() {
  $("examples").replaceChildren();
  await sharing.show();
}

function edited(one, card) {
  const fields = one.sends.messages.map((line) => make("textarea", { value: line.content, rows: 2, "aria-label": line.role === "user" ? "What you said" : "What PersLM answered" }));
  const meant = one.sends.meant ? make("textarea", { value: one.sends.meant, rows: 2, "aria-label": "What was meant" }) : null;
  const save = button("Save", async () => {
    const messages = one.sends.messages.map((line, at) => ({ role: line.role, content: fields[at].value }));
    await share("edit", { id: one.id, messages, text: meant?.value ?? "" });
    await left();
  });
  card.replaceChildren(...fields, meant ?? "", make("p", { className: "row" }, save, button("Leave it", left)));
  fields[0]?.focus();
}

function example(one) {
  const name = `example ${one.id}`;
  const card = make("li", {}, make("p", { className: "head" }, make("strong", {}, KINDS[one.kind][0]), make("span", { className: "dim" }, one.state)),
    ...said(one.sends.messages ?? [], one.sends.meant),
    make("p", { className: "dim" }, one.leaves_at ? `leaves ${when(one.leaves_at * 1000)}` : `since ${when(one.changed_at)}`));
  if (one.state === "waiting" || one.state === "sent") {
    card.append(make("p", { className: "row" },
      one.state === "waiting" ? button("Change", () => edited(one, card), `Change ${name}`) : null,
      button("Take it back", async () => {
        if (await sure(one.state === "waiting" ? "Drop this? It never leaves the board." : "Ask the host to delete this?")) await share("drop", { id: one.id });
        await sharing.show();
      }, `Take back ${name}`)));
  }
  return card;
}

export const sharing = {
  async show() {
    const [told, { examples }] = await Promise.all([share("status"), share("list")]);
    if (editing()) return;
    const counts = Object.entries(told.counts).map(([state, kinds]) => `${Object.values(kinds).reduce((sum, one) => sum + one, 0)} ${state}`).join(", ") || "nothing yet";
    $("share-state").textContent = `${told.person}: ${counts}. ${told.host ? `The host is ${told.host}.` : "No training host is known."} What waits is sent after ${told.wait_h} hours.${told.problem ? ` ${told.problem}` : ""}`;
    renew($("share-kinds"), ...Object.keys(KINDS).map((kind) => consent(kind, told.allowed.includes(kind))));
    renew($("examples"), ...(examples.length ? examples.map(example) : [make("li", { className: "dim" }, "Nothing waits, and nothing has gone.")]));
    $("share-acts").replaceChildren(...(examples.length ? [
      button("Send what waits now", async () => { if (await sure("Send all that waits now, without waiting any longer?")) await share("send"); await sharing.show(); }),
      button("Take back all that went", async () => { if (await sure("Ask the host to delete everything that went?")) await share("withdraw"); await sharing.show(); }),
    ] : []));
  },
};
