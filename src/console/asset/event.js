// An event as a line for people.

import { make } from "./element.js";
import { featureShort, presentityLink, valuesText, when } from "./word.js";

/** `feature` of `io.dfks.event.v1.feature`. */
export function kindOf(event) {
  return String(event.type ?? "").split(".").pop();
}

const onOff = (status) => (Number(status) === 1 ? "on" : "off");

function changeText(event) {
  const values = valuesText(event.new?.values);
  const by = event.actor ? `${event.actor} (${event.origin})` : event.origin;
  if (event.outcome === "refused") {
    const asked = event.asked ? ` to ${onOff(event.asked.status)}` : "";
    return ["bad", `${featureShort(event.feature)}${asked} refused: ${event.reason ?? ""}, asked by ${by}`];
  }
  const told = event.watchers === 1 ? "1 phone to tell" : `${event.watchers} phones to tell`;
  const target = values && Number(event.new?.status) === 1 ? ` (${values})` : "";
  return ["good", `${featureShort(event.feature)} ${onOff(event.old?.status)} → ${onOff(event.new?.status)}${target} by ${by}, ${told}`];
}

function subscriptionText(event) {
  const phone = event.user_agent || event.watcher;
  const by = event.actor ? ` by ${event.actor}` : "";
  switch (event.what) {
    case "active":
      return ["good", `${phone} subscribed over ${event.transport}`];
    case "refreshed":
      return ["", `${phone} refreshed its subscription`];
    case "resynced":
      return ["warn", `${phone} is told everything again${by}`];
    default:
      return [event.reason === "unsubscribed" || event.reason === "moved" ? "" : "bad", `subscription of ${phone} ended${by}: ${event.reason ?? "ended"}`];
  }
}

function notifyText(event) {
  const what = event.features?.length ? event.features.map(featureShort).join(", ") : "an empty body";
  if (event.outcome === "delivered") return ["", `phone confirmed ${what} after ${event.took_ms} ms`];
  if (event.outcome === "expired") return ["bad", `phone did not answer when told ${what}`];
  return ["bad", `phone answered ${event.status ?? "nothing"} when told ${what}`];
}

/** How bad it is, and what it says. */
export function sentence(event) {
  switch (kindOf(event)) {
    case "feature":
      return changeText(event);
    case "subscription":
      return subscriptionText(event);
    case "notify":
      return notifyText(event);
    case "refused": {
      const who = event.watcher ?? event.actor ?? event.source ?? "somebody";
      const times = event.count > 1 ? `, ${event.count} times` : "";
      const detail = event.detail ? ` (${event.detail})` : "";
      return ["bad", `${event.method ?? "command"} of ${who} refused: ${event.status} ${event.reason}${detail}${times}`];
    }
    case "raw":
      return ["", `${event.user_agent || event.watcher} sent a document that nobody registered: ${event.root}`];
    case "hand":
      return ["warn", `${String(event.what).replaceAll("_", " ")} by ${event.actor ?? "somebody"}`];
    default:
      return ["", JSON.stringify(event)];
  }
}

/** One line of a list of events; with its presentity where the list is of many. */
export function eventLine(event, { isOfMany = false, ladder = false } = {}) {
  const [tone, text] = sentence(event);
  const of = isOfMany && event.presentity && make("a", { class: "of", href: presentityLink(event.presentity) }, event.presentity);
  const whole = ladder && event.cause && kindOf(event) === "feature";
  const way = whole && make("a", { class: "way", href: `#/change/${encodeURIComponent(event.cause)}`, "aria-label": `The whole way of: ${text}` }, "whole way");
  return make("li", { class: `event ${tone}` }, when(event.time), make("span", { class: "kind" }, kindOf(event)), make("span", { class: "what" }, of, of && " ", text), way);
}
