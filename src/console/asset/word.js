// Words, times and lamps: how things are called and shown everywhere.

import { make } from "./element.js";

const FEATURES = {
  DoNotDisturb: ["Do not disturb", "DND"],
  CallForwardingAlways: ["Forward always", "CFA"],
  CallForwardingBusy: ["Forward when busy", "CFB"],
  CallForwardingNoAnswer: ["Forward on no answer", "CFNA"],
  AgentState: ["Agent state", "ACD"],
};

/** `Do not disturb`; the name itself where it is none of ours. */
export function featureName(feature) {
  return FEATURES[feature]?.[0] ?? feature;
}

/** `DND` */
export function featureShort(feature) {
  return FEATURES[feature]?.[1] ?? feature;
}

const VERDICTS = {
  in_step: ["In step", "good"],
  never_subscribed: ["Never subscribed", "bad"],
  expired: ["Expired", "bad"],
  unsubscribed: ["Unsubscribed", "warn"],
  not_assigned: ["Not assigned", "warn"],
  suppressed: ["Suppressed", "warn"],
  behind: ["Behind", "bad"],
  pending: ["Pending", "warn"],
  notify_failed: ["NOTIFY failed", "bad"],
  unreachable: ["Unreachable", "bad"],
  edge_silent: ["Edge silent", "bad"],
  refused: ["Refused", "bad"],
  responder_failing: ["Responder failing", "bad"],
  no_worker: ["No worker", "bad"],
  bus_away: ["Bus away", "bad"],
};

/** A finding's word and how bad it is: `["Behind", "bad"]`. */
export function verdictWord(verdict) {
  return VERDICTS[verdict] ?? [verdict, "warn"];
}

export function pill(text, tone) {
  return make("span", { class: `pill ${tone}` }, text);
}

/** A lamp as a phone has it, with its word for whoever does not see colours. */
export function lamp(kind, word) {
  return make("span", { class: "lamp-word" }, make("i", { class: `lamp ${kind}`, "aria-hidden": "true" }), word && make("span", {}, word));
}

const two = (number) => String(number).padStart(2, "0");

/** `03:02:11` in this machine's time zone, with the day where it is another one. */
export function clockTime(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return text ?? "";
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? time : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

/** An element that shows a time, and all of it when asked. */
export function when(text) {
  return make("time", { datetime: text, title: text }, clockTime(text));
}

/** `41 min`, `12 s`, `3 days` */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 90) return `${whole} s`;
  if (whole < 90 * 60) return `${Math.round(whole / 60)} min`;
  if (whole < 36 * 3600) return `${Math.round(whole / 3600)} h`;
  return `${Math.round(whole / 86400)} days`;
}

/** `2 min ago`, `in 41 min` */
export function relative(text) {
  const seconds = (new Date(text).getTime() - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return "";
  if (Math.abs(seconds) < 2) return "now";
  return seconds < 0 ? `${span(-seconds)} ago` : `in ${span(seconds)}`;
}

/** `1,234` */
export function count(number) {
  return Number(number ?? 0).toLocaleString("en-US");
}

const VALUES = {
  forwardTo: (value) => `to ${value || "nobody"}`,
  ringCount: (value) => `after ${value} ring${value === "1" ? "" : "s"}`,
};

/** `to sip:bob@example.com, after 4 rings`; of others `state ready`. */
export function valuesText(values) {
  return Object.entries(values ?? {}).map(([name, value]) => VALUES[name]?.(value) ?? `${name} ${value}`).join(", ");
}

/** The page of a presentity. The fragment stays in the browser. */
export function presentityLink(presentity) {
  return `#/p/${encodeURIComponent(presentity)}`;
}
