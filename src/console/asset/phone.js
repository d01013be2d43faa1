// The phones of a presentity: what each was told, as lamps.

import { about, act } from "./ask.js";
import { dialog, field, make, toast } from "./element.js";
import { featureName, featureShort, lamp, pill, relative, valuesText, when } from "./word.js";

/** How a phone's lamp of a feature is, as far as is known: `[lamp, word, note]`. */
function shown(state, told, isPending) {
  const isOn = Number(state.status) === 1;
  const word = isOn ? "on" : "off";
  if (isPending) return ["pending", word, "being told"];
  if (!told || told.version === undefined || told.version === null) return ["unknown", "?", "not confirmed"];
  if (told.version < state.version) {
    const why = told.outcome === "failed" ? `answered ${told.status ?? "nothing"}` : told.outcome === "expired" ? "no answer" : `told version ${told.version}`;
    return ["bad", "?", `${why}, is ${word} since version ${state.version}`];
  }
  return [isOn ? "on" : "off", word, ""];
}

function key(state, watcher) {
  const told = watcher.told.find((one) => one.feature === state.feature);
  const [kind, word, note] = shown(state, told, watcher.pending.includes(state.feature));
  const values = kind === "on" ? valuesText(state.values) : "";
  const at = told?.at ? `last told ${told.at}` : undefined;
  return make(
    "li",
    { class: `key ${kind}`, title: at },
    lamp(kind),
    make("span", { class: "key-name", title: featureName(state.feature) }, featureShort(state.feature)),
    make("span", { class: "key-word" }, word),
    (note || values) && make("span", { class: "key-note" }, note || values),
  );
}

async function resyncPhone(watcher) {
  const done = await act("resync", { presentity: watcher.presentity, subscription: watcher.subscription });
  if (done) toast("This phone is told everything again.");
}

async function endPhone(watcher) {
  const reason = make(
    "select",
    {},
    make("option", { value: "deactivated" }, "deactivated: it may subscribe again at once"),
    make("option", { value: "rejected" }, "rejected: it should not come back"),
  );
  const chosen = await dialog({
    title: "End this subscription?",
    text: `${watcher.user_agent || watcher.watcher} gets a last NOTIFY, and its keys are told nothing more until it subscribes again.`,
    fields: [field("Reason", reason)],
    action: "End it",
    tone: "danger",
    read: () => reason.value,
  });
  if (!chosen) return;
  if (await act("end", { subscription: watcher.subscription, reason: chosen })) toast("The subscription has ended.");
}

function actions(watcher) {
  if (!about.actions) return undefined;
  const who = watcher.user_agent || watcher.watcher;
  const button = (word, key, call, tone = "") =>
    make(
      "button",
      { type: "button", class: `small ${tone}`, "data-key": `${key}-${watcher.subscription}`, "aria-label": `${word}: ${who}`, on: { click: () => call(watcher) } },
      word,
    );
  return make("div", { class: "row" }, button("Resync", "resync", resyncPhone), button("End…", "end", endPhone, "danger"));
}

/** One phone: who it is, its keys, what can be done. */
export function phoneCard(watcher, states) {
  const mine = states.filter((state) => state.assigned && watcher.told.some((told) => told.feature === state.feature));
  const life = watcher.ended
    ? [pill("ended", "warn"), make("span", {}, when(watcher.ended.at), ` ${watcher.ended.reason ?? ""}${watcher.ended.actor ? ` by ${watcher.ended.actor}` : ""}`)]
    : [make("span", {}, "expires ", make("time", { datetime: watcher.expires_at, title: watcher.expires_at }, relative(watcher.expires_at)))];
  const facts = [
    [watcher.watcher, "watcher"],
    [watcher.transport.toUpperCase(), "transport"],
    [`on ${watcher.edge_id}`, "edge"],
    [watcher.package === "as-feature-event" ? undefined : watcher.package, "event package"],
  ];
  return make(
    "article",
    { class: `phone ${watcher.ended ? "ended" : ""}` },
    make(
      "header",
      {},
      make("h3", {}, watcher.user_agent || "a phone without a name"),
      make("p", { class: "facts" }, facts.filter(([text]) => text).map(([text, title]) => make("span", { title }, text)), life),
    ),
    !watcher.ended && (mine.length ? make("ul", { class: "keys-of" }, mine.map((state) => key(state, watcher))) : make("p", { class: "dim" }, "It is told no feature.")),
    make("footer", {}, make("code", { class: "id", title: `subscription; Call-ID ${watcher.call_id}` }, watcher.subscription), !watcher.ended && actions(watcher)),
  );
}
