// Asks again and again while a page is looked at, and not while it is hidden.

import { ask } from "./ask.js";

/** Calls `show` with each answer, `fail` with what went wrong, until `gone`; asked anew at once on `again`. */
export function poll(errand, everyMs, { body, show, fail }, gone) {
  let timer;
  const look = async () => {
    clearTimeout(timer);
    try {
      if (!document.hidden) show(await ask(errand, body?.(), gone));
    } catch (error) {
      if (!gone.aborted) fail(error);
    }
    if (!gone.aborted) timer = setTimeout(look, everyMs);
  };
  document.addEventListener("again", look, { signal: gone });
  document.addEventListener("visibilitychange", () => document.hidden || look(), { signal: gone });
  gone.addEventListener("abort", () => clearTimeout(timer));
  look();
  return look;
}

/** A line in place of an answer. */
export function noAnswer(error, make) {
  return make("p", { class: "lone bad" }, error.message);
}
