// The features of a presentity as they are, who answers for each, and a change of one.

import { about, act } from "./ask.js";
import { dialog, field, make, toast } from "./element.js";
import { featureName, featureShort, lamp, pill, relative, valuesText } from "./word.js";

/** The values that the built-in features have; `dfks get` shows those of others. */
const FIELDS = {
  CallForwardingAlways: [["forwardTo", "Forward to"]],
  CallForwardingBusy: [["forwardTo", "Forward to"]],
  CallForwardingNoAnswer: [["forwardTo", "Forward to"], ["ringCount", "Rings before"]],
  AgentState: [["state", "State"], ["reason", "Reason"]],
};

async function change(presentity, state) {
  const isOn = Number(state.status) === 1;
  const status = make("select", {}, make("option", { value: "1" }, "on"), make("option", { value: "0" }, "off"));
  status.value = isOn ? "0" : "1";
  const inputs = (FIELDS[state.feature] ?? []).map(([name, label]) => {
    const input = make("input", { type: "text", autocomplete: "off", spellcheck: "false", maxlength: 512, value: state.values?.[name] ?? "" });
    return [name, input, field(label, input)];
  });
  const request = await dialog({
    title: `Set ${featureName(state.feature)}`,
    text: `For ${presentity}. Script and responder have their say, then every phone is told.`,
    fields: [field("Status", status), inputs.map(([, , row]) => row)],
    action: "Set it",
    read: () => {
      const values = {};
      for (const [name, input] of inputs) if (input.value !== (state.values?.[name] ?? "")) values[name] = input.value;
      return { presentity, feature: state.feature, status: Number(status.value), values };
    },
  });
  if (!request) return;
  const done = await act("set", request);
  if (!done) return;
  const also = done.also?.length ? `, along with it ${done.also.map((one) => featureShort(one.feature)).join(", ")}` : "";
  const phones = done.watchers === 1 ? "1 phone is told" : `${done.watchers} phones are told`;
  toast(`${featureName(state.feature)} is ${Number(done.state?.status) === 1 ? "on" : "off"}${also}: ${phones}.`);
}

function owner(of) {
  if (of.kind !== "responder") {
    const words = { script: "the route script", store: "the store", default: "nobody: the default" };
    return make("span", {}, words[of.kind] ?? of.kind);
  }
  const heard = of.last_heard ? `heard ${relative(of.last_heard)}` : "never heard";
  return [
    make("code", { class: "id" }, of.subject ?? "a responder"),
    make("span", { class: "dim" }, ` ${heard}`),
    of.breaker && of.breaker !== "closed" && [" ", pill(`breaker ${of.breaker.replace("_", " ")}`, of.breaker === "open" ? "bad" : "warn")],
    of.last_error && make("span", { class: "error" }, of.last_error),
  ];
}

/** A row of the table of features. */
export function featureRow(presentity, { state, owner: of }) {
  const isOn = Number(state.status) === 1;
  const kind = state.assigned ? (isOn ? "on" : "off") : "none";
  const word = state.assigned ? (isOn ? "on" : "off") : "not assigned";
  const values = valuesText(state.values);
  const button =
    about.actions &&
    make(
      "button",
      { type: "button", class: "small", "data-key": `set-${state.feature}`, "aria-label": `Set ${featureName(state.feature)}`, on: { click: () => change(presentity, state) } },
      "Set…",
    );
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, featureName(state.feature), make("small", { class: "dim" }, ` ${state.feature}`)),
    make("td", {}, lamp(kind, word), values && make("span", { class: "values" }, values), state.until && make("span", { class: "values" }, `until ${state.until}`)),
    make("td", { class: "number" }, make("span", { class: "narrow-only dim" }, "version "), String(state.version)),
    make("td", {}, owner(of)),
    make("td", { class: "act" }, button),
  );
}
