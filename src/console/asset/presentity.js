// A presentity: why its lamps are as they are, its phones, its features, and what happened. It follows what happens meanwhile.

import { about, act, ask } from "./ask.js";
import { fill, make, toast } from "./element.js";
import { eventLine, kindOf } from "./event.js";
import { featureRow } from "./feature.js";
import { phoneCard } from "./phone.js";
import { follow } from "./stream.js";
import { clockTime, featureShort, pill, verdictWord, when } from "./word.js";

/** What happens at once is looked at once. */
const SETTLE_MS = 400;
/** Expiries and owners change without an event. */
const AGAIN_MS = 30_000;
const MOST_EVENTS = 200;

/** The command in a next step: what follows from `dfks ` on. */
function nextStep(text) {
  const [before, command] = text.split(/(?=\bdfks [a-z]+ )/, 2);
  if (!command) return make("p", { class: "next" }, make("b", {}, "Next: "), text);
  const copy = make(
    "button",
    {
      type: "button",
      class: "small",
      "aria-label": `Copy: ${command}`,
      on: {
        click: async () => {
          await navigator.clipboard.writeText(command).then(() => toast("Copied."), () => toast("The browser lets nothing be copied here.", "warn"));
        },
      },
    },
    "Copy",
  );
  return make("p", { class: "next" }, make("b", {}, "Next: "), before, make("code", {}, command), " ", copy);
}

function finding({ verdict, feature, text, next }) {
  const [word, tone] = verdictWord(verdict);
  return make(
    "li",
    { class: `finding ${tone}` },
    make("p", {}, pill(word, tone), feature && make("span", { class: "of-feature" }, featureShort(feature)), make("span", {}, text)),
    next && nextStep(next),
  );
}

async function resyncAll(presentity) {
  const done = await act("resync", { presentity });
  if (done) toast(done.phones === 1 ? "1 phone is told everything again." : `${done.phones} phones are told everything again.`);
}

function heading(presentity, answer, lookAgain) {
  const worst = answer?.findings.find((one) => one.verdict !== "in_step")?.verdict;
  const [word, tone] = answer ? (answer.in_step ? ["In step", "good"] : worst ? verdictWord(worst) : ["Not in step", "bad"]) : ["looking", ""];
  const hasPhones = answer?.watchers.some((watcher) => !watcher.ended);
  return [
    make("h1", {}, make("span", { class: "uri" }, answer?.presentity ?? presentity)),
    pill(word, tone),
    make("span", { class: "grow" }),
    answer && make("span", { class: "dim" }, "as of ", when(answer.at)),
    make("button", { type: "button", class: "quiet", "data-key": "again", on: { click: lookAgain } }, "Look again"),
    about.actions && hasPhones && make("button", { type: "button", "data-key": "resync-all", on: { click: () => resyncAll(answer.presentity) } }, "Resync all phones"),
  ];
}

function featureTable(answer) {
  if (!answer.features.length) return make("p", { class: "dim" }, "No worker answers, so no state is known.");
  const heads = ["Feature", "Is", "Version", "Who answers for it", ""];
  return make(
    "table",
    { class: "features" },
    make("thead", {}, make("tr", {}, heads.map((head) => (head ? make("th", { scope: "col", class: head === "Version" ? "number" : undefined }, head) : make("td", {}))))),
    make("tbody", {}, answer.features.map((one) => featureRow(answer.presentity, one))),
  );
}

function phones(answer) {
  const states = answer.features.map((one) => one.state);
  const live = answer.watchers.filter((watcher) => !watcher.ended);
  const ended = answer.watchers.filter((watcher) => watcher.ended);
  return [
    live.length ? live.map((watcher) => phoneCard(watcher, states)) : make("p", { class: "lone" }, "No phone has a live subscription."),
    ended.length > 0 &&
      make("details", {}, make("summary", {}, `${ended.length} ended within the last 24 h`), ended.slice(0, 50).map((watcher) => phoneCard(watcher, states))),
  ];
}

class Page {
  constructor(root, presentity, gone) {
    Object.assign(this, { presentity, gone, events: [], timer: undefined, isAsking: false, isStale: false });
    this.head = make("header", { class: "head" });
    this.findings = make("ul", { class: "findings", "aria-label": "What was found", "aria-live": "polite" });
    this.phones = make("div", { class: "phones" });
    this.features = make("div", { class: "scroll" });
    this.past = make("ol", { class: "events of-one" });
    this.live = make("span", { class: "live", role: "status" });
    this.since = make("p", { class: "dim small-text" });
    const section = (title, extra, ...inside) => make("section", {}, make("div", { class: "title" }, make("h2", {}, title), extra), inside);
    fill(
      root,
      this.head,
      this.findings,
      make(
        "div",
        { class: "columns" },
        make("div", {}, section("Phones", undefined, this.phones), section("Features", undefined, this.features)),
        section("What happened", this.live, this.past, this.since),
      ),
    );
    this.showHead(undefined);
  }

  showHead(answer) {
    fill(this.head, heading(this.presentity, answer, () => this.look()));
  }

  async look() {
    if (this.isAsking) {
      this.isStale = true;
      return;
    }
    this.isAsking = true;
    try {
      this.answer = await ask("why", { presentity: this.presentity }, this.gone);
      this.show();
    } catch (error) {
      if (!this.gone.aborted) fill(this.findings, make("li", { class: "finding bad" }, make("p", {}, pill("No answer", "bad"), make("span", {}, error.message))));
    } finally {
      this.isAsking = false;
    }
    if (this.isStale && !this.gone.aborted) {
      this.isStale = false;
      this.soon();
    }
  }

  show() {
    const answer = this.answer;
    if (!answer) return;
    this.showHead(answer);
    fill(this.findings, answer.findings.map(finding));
    fill(this.phones, phones(answer));
    fill(this.features, featureTable(answer));
    document.title = `${answer.in_step ? "in step" : "not in step"}: ${answer.presentity}`;
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), SETTLE_MS);
  }

  async readPast() {
    try {
      const past = await ask("past", { presentity: this.presentity }, this.gone);
      const known = new Set(past.events.map((event) => event.id));
      this.events = [...this.events.filter((event) => !known.has(event.id)), ...past.events];
      this.since.textContent = `${past.is_cut ? "The newest of more. " : ""}The events reach back to ${clockTime(past.since)}.`;
      this.showPast();
    } catch (error) {
      if (!this.gone.aborted) this.since.textContent = error.message;
    }
  }

  showPast() {
    this.events.sort((one, other) => (one.time < other.time ? 1 : -1));
    this.events.length = Math.min(this.events.length, MOST_EVENTS);
    fill(this.past, this.events.map((event) => eventLine(event, { ladder: true })));
  }

  happened(event) {
    if (event.presentity !== (this.answer?.presentity ?? this.presentity)) return;
    this.events.unshift(event);
    this.showPast();
    if (kindOf(event) !== "raw") this.soon();
  }

  run() {
    this.look();
    this.readPast();
    const calls = {
      event: (event) => this.happened(event),
      back: () => (this.look(), this.readPast()),
      up: (isUp, why) => {
        this.live.className = `live ${isUp ? "good" : "bad"}`;
        this.live.textContent = isUp ? "live" : why;
      },
    };
    follow({ presentity: this.presentity }, calls, this.gone);
    const ticking = setInterval(() => document.hidden || this.look(), AGAIN_MS);
    document.addEventListener("again", () => this.look(), { signal: this.gone });
    document.addEventListener("standing", () => this.show(), { signal: this.gone });
    this.gone.addEventListener("abort", () => {
      clearInterval(ticking);
      clearTimeout(this.timer);
    });
  }
}

export function presentityPage(root, presentity, gone) {
  document.title = `${presentity} · dfks`;
  new Page(root, presentity, gone).run();
}
