// Dead letters: what was given up on, published again or taken away.

import { about, act } from "./ask.js";
import { dialog, fill, make, toast } from "./element.js";
import { noAnswer, poll } from "./poll.js";
import { count, featureShort, pill, presentityLink, when } from "./word.js";

const EVERY_MS = 10_000;

async function carryOut(errand, letter, word) {
  if (errand === "dead/drop") {
    const isMeant = await dialog({ title: `Drop dead letter ${letter.seq}?`, text: "What it asked for is not carried out, and it is gone.", action: "Drop it", tone: "danger", read: () => true });
    if (!isMeant) return;
  }
  if (await act(errand, { seq: letter.seq })) {
    toast(`Dead letter ${letter.seq} ${word}.`);
    document.dispatchEvent(new CustomEvent("again"));
  }
}

function letterCard(letter) {
  const button = (word, errand, done, tone = "") =>
    make("button", { type: "button", class: `small ${tone}`, "data-key": `${errand}-${letter.seq}`, "aria-label": `${word} dead letter ${letter.seq}`, on: { click: () => carryOut(errand, letter, done) } }, word);
  const payload = typeof letter.payload === "string" ? letter.payload : JSON.stringify(letter.payload, null, 2);
  return make(
    "article",
    { class: "letter" },
    make(
      "header",
      {},
      make("h2", { class: "letter-title" }, make("span", { class: "dim" }, `${letter.seq} `), letter.stage === "notify" ? "NOTIFY job" : "Command", letter.features.length > 0 && ` ${letter.features.map(featureShort).join(", ")}`),
      pill(letter.reason.replaceAll("_", " "), "bad"),
      make("span", { class: "grow" }),
      make("span", { class: "dim" }, when(letter.time)),
    ),
    letter.presentity && make("p", {}, make("a", { class: "of", href: presentityLink(letter.presentity) }, letter.presentity)),
    letter.detail && make("p", { class: "error" }, letter.detail),
    make(
      "p",
      { class: "facts" },
      make("span", {}, make("code", { class: "id" }, letter.subject)),
      letter.deliveries && make("span", {}, letter.deliveries === 1 ? "tried once" : `tried ${letter.deliveries} times`),
      letter.msg_id && make("span", {}, "sender’s id ", make("code", { class: "id" }, letter.msg_id)),
      letter.cause && make("a", { href: `#/change/${encodeURIComponent(letter.cause)}` }, "its whole way"),
    ),
    make("details", {}, make("summary", {}, "What it says"), make("pre", { tabindex: "0" }, payload)),
    about.actions && make("div", { class: "row end" }, button("Drop…", "dead/drop", "is gone", "danger"), button("Replay", "dead/replay", "is published again")),
  );
}

export function deadPage(root, _argument, gone) {
  document.title = "dead letters · dfks";
  const input = (id, placeholder) => make("input", { type: "text", id, placeholder, autocomplete: "off", spellcheck: "false", maxlength: 1100 });
  const [presentity, domain, reason] = [input("dead-presentity", "sip:alice@example.com"), input("dead-domain", "example.com"), input("dead-reason", "denied")];
  const row = (label, of) => make("p", { class: "field" }, make("label", { for: of.id }, label), of);
  const list = make("div", { class: "letters", "aria-live": "polite" });
  const note = make("p", { class: "dim small-text" });
  const body = () => Object.fromEntries([["presentity", presentity], ["domain", domain], ["reason", reason]].map(([name, of]) => [name, of.value.trim()]).filter(([, text]) => text));
  let shown = "";
  const show = ({ letters, has_more }) => {
    note.textContent = letters.length ? `${letters.length === 1 ? "1 letter" : `${count(letters.length)} letters`}, the newest first${has_more ? "; there are older ones" : ""}. Replay publishes one again where it came from, once.` : "";
    const now = JSON.stringify(letters.map((letter) => letter.seq)) + String(about.actions);
    if (now === shown && letters.length) return;
    shown = now;
    fill(list, letters.length ? letters.map(letterCard) : make("p", { class: "lone" }, "Nothing was given up on."));
  };
  const again = poll("dead/list", EVERY_MS, { body, show, fail: (error) => ((shown = ""), fill(list, noAnswer(error, make))) }, gone);
  fill(
    root,
    make("header", { class: "head" }, make("h1", {}, "Dead letters")),
    make("form", { class: "filter", "aria-label": "Filter", on: { submit: (event) => (event.preventDefault(), again()), change: () => again() } }, row("Presentity", presentity), row("Domain", domain), row("Reason", reason)),
    note,
    list,
  );
}
