// One change's whole way: a picture of who spoke with whom, and each step with the time it took.

import { ask } from "./ask.js";
import { draw, fill, make } from "./element.js";
import { follow } from "./stream.js";
import { noAnswer } from "./poll.js";
import { featureShort, pill, presentityLink, when } from "./word.js";

const SETTLE_MS = 400;
const WORDS = {
  asked: "asked",
  subscription: "subscription",
  worker: "route run by a worker",
  read: "state read",
  script: "route script",
  responder: "responder asked",
  store: "stored",
  change: "changed",
  job: "NOTIFY job",
  notify: "NOTIFY",
  refused: "refused",
};
const TONES = { ok: "good", covered: "good", waiting: "warn", refused: "bad", expired: "bad", failed: "bad" };

const ms = (number) => `${Number(number).toLocaleString("en-US", { maximumFractionDigits: number < 10 ? 2 : 0 })} ms`;

/** When a step was, of the whole: a bar with a least width, so that a short one is seen. */
function bar(step, whole) {
  const start = whole ? (step.after_ms / whole) * 100 : 0;
  const width = Math.max(0.8, whole ? ((step.took_ms ?? 0) / whole) * 100 : 0);
  return draw(
    "svg",
    { class: "span", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("rect", { class: "track", width: 100, height: 8, rx: 1 }),
    draw("rect", { class: TONES[step.outcome] ?? "", x: Math.min(start, 99.2), width: Math.min(width, 100 - Math.min(start, 99.2)), height: 8, rx: 1 }),
  );
}

function stepRow(step, whole) {
  const tone = TONES[step.outcome] ?? "";
  const about = [step.features?.map(featureShort).join(", "), step.status, step.detail].filter(Boolean).join(" · ");
  return make(
    "li",
    { class: `step ${tone}` },
    make("span", { class: "at number" }, `+${ms(step.after_ms)}`),
    make("span", { class: "did" }, make("b", {}, WORDS[step.step] ?? step.step), step.outcome !== "ok" && [" ", pill(step.outcome, tone)], make("span", { class: "who" }, step.to ? `${step.who} → ${step.to}` : step.who), about && make("span", { class: "dim" }, about)),
    make("span", { class: "took number" }, step.took_ms === null || step.took_ms === undefined ? "" : ms(step.took_ms)),
    bar(step, whole),
  );
}

class Page {
  constructor(root, cause, gone) {
    Object.assign(this, { cause, gone, picture: undefined });
    this.head = make("header", { class: "head" }, make("h1", {}, "A change’s whole way"));
    this.ladder = make("div", { class: "ladder scroll", tabindex: "0", role: "region", "aria-label": "Ladder" });
    this.steps = make("ol", { class: "steps", "aria-live": "polite" });
    this.note = make("p", { class: "dim small-text" });
    fill(root, this.head, this.ladder, make("section", {}, make("div", { class: "title" }, make("h2", {}, "Step by step")), this.steps, this.note));
    gone.addEventListener("abort", () => this.picture && URL.revokeObjectURL(this.picture));
  }

  show({ trace, picture }) {
    const tone = TONES[trace.outcome] ?? "";
    const word = { ok: "Told", covered: "Told", waiting: "Under way", refused: "Refused", expired: "No answer", failed: "Failed" }[trace.outcome] ?? trace.outcome;
    fill(
      this.head,
      make("h1", {}, "A change’s whole way"),
      trace.steps.length > 0 && [pill(word, tone), make("span", { class: "dim" }, ms(trace.took_ms))],
      trace.presentity && make("a", { class: "of", href: presentityLink(trace.presentity) }, trace.presentity),
      make("span", { class: "grow" }),
      trace.steps[0] && make("span", { class: "dim" }, "from ", when(trace.steps[0].at)),
      make("code", { class: "id dim" }, trace.cause),
    );
    this.note.textContent = `Events were looked at from ${trace.since}${trace.until ? ` to ${trace.until}: there were too many` : ""}.`;
    this.ladder.hidden = trace.steps.length === 0;
    if (!trace.steps.length) {
      fill(this.steps, make("li", { class: "lone" }, "No event has this cause, or none that is still kept."));
      return;
    }
    if (this.picture) URL.revokeObjectURL(this.picture);
    this.picture = URL.createObjectURL(new Blob([picture], { type: "image/svg+xml" }));
    fill(this.ladder, make("img", { src: this.picture, alt: "The same as the list below: who spoke with whom, from top to bottom." }));
    fill(this.steps, trace.steps.map((step) => stepRow(step, trace.took_ms)));
    this.follow(trace.presentity);
  }

  /** What is still on its way is seen when it comes. */
  follow(presentity) {
    if (!presentity || this.isFollowing) return;
    this.isFollowing = true;
    const event = (event) => {
      if (event.cause !== this.cause) return;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.look(), SETTLE_MS);
    };
    follow({ presentity }, { event }, this.gone);
  }

  async look() {
    try {
      this.show(await ask("trace", { cause: this.cause }, this.gone));
    } catch (error) {
      if (!this.gone.aborted) fill(this.steps, make("li", {}, noAnswer(error, make)));
    }
  }
}

export function changePage(root, cause, gone) {
  document.title = "a change · dfks";
  const page = new Page(root, cause, gone);
  document.addEventListener("again", () => page.look(), { signal: gone });
  page.look();
}
