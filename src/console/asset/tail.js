// Events as they happen, of all presentities, with a filter.

import { fill, make } from "./element.js";
import { eventLine } from "./event.js";
import { follow } from "./stream.js";
import { count } from "./word.js";

const MOST_LINES = 500;
const KINDS = [
  ["feature", "changes"],
  ["subscription", "subscriptions"],
  ["notify", "NOTIFYs"],
  ["refused", "refusals"],
  ["raw", "raw documents"],
  ["hand", "by hand"],
];

/** A list that follows a filter. `filter()` is asked each time it begins. */
export class Tail {
  constructor(most, gone) {
    Object.assign(this, { most, gone, skipped: 0, held: [], isHeld: false, stop: new AbortController() });
    this.list = make("ol", { class: "events", "aria-label": "Events" });
    this.state = make("span", { class: "live", role: "status" });
    this.note = make("p", { class: "dim small-text" });
    this.empty = make("p", { class: "lone" }, "Nothing has happened since this page was opened.");
    gone.addEventListener("abort", () => this.stop.abort());
  }

  begin(filter) {
    this.stop.abort();
    this.stop = new AbortController();
    this.skipped = 0;
    this.note.textContent = "";
    const calls = {
      event: (event) => this.add(event),
      beat: ({ skipped }) => {
        this.skipped += skipped;
        if (this.skipped) this.note.textContent = `${count(this.skipped)} more happened than are shown (50 a second): narrow the filter.`;
      },
      up: (isUp, why) => {
        this.state.className = `live ${isUp ? "good" : "bad"}`;
        this.state.textContent = isUp ? (this.isHeld ? "held" : "live") : why;
      },
    };
    follow(filter, calls, this.stop.signal);
  }

  add(event) {
    this.empty.hidden = true;
    if (this.isHeld) {
      this.held.push(event);
      this.held.length = Math.min(this.held.length, this.most);
      return;
    }
    this.list.prepend(eventLine(event, { isOfMany: true, ladder: true }));
    while (this.list.childElementCount > this.most) this.list.lastElementChild.remove();
  }

  hold(isHeld) {
    this.isHeld = isHeld;
    this.state.textContent = isHeld ? "held" : "live";
    if (isHeld) return;
    const held = this.held;
    this.held = [];
    for (const event of held) this.add(event);
  }

  clear() {
    fill(this.list);
    this.held = [];
    this.empty.hidden = false;
  }
}

export function tailPage(root, _argument, gone) {
  document.title = "events · dfks";
  const tail = new Tail(MOST_LINES, gone);
  const text = (name, label, placeholder) => {
    const input = make("input", { type: "text", id: `tail-${name}`, placeholder, autocomplete: "off", spellcheck: "false", maxlength: 1100 });
    return [input, make("p", { class: "field" }, make("label", { for: input.id }, label), input)];
  };
  const [presentity, presentityField] = text("presentity", "Presentity", "sip:alice@example.com");
  const [domain, domainField] = text("domain", "Domain", "example.com");
  const [feature, featureField] = text("feature", "Feature", "DoNotDisturb");
  const boxes = KINDS.map(([kind, word]) => [kind, make("input", { type: "checkbox", checked: true, id: `kind-${kind}` }), word]);
  const hold = make("button", { type: "button", class: "quiet", "aria-pressed": "false" }, "Hold");
  hold.addEventListener("click", () => {
    tail.hold(!tail.isHeld);
    hold.setAttribute("aria-pressed", String(tail.isHeld));
    hold.textContent = tail.isHeld ? "Go on" : "Hold";
  });
  const begin = () => {
    const kinds = boxes.filter(([, box]) => box.checked).map(([kind]) => kind);
    const filter = { kinds: kinds.length === boxes.length ? [] : kinds };
    for (const [name, input] of [["presentity", presentity], ["domain", domain], ["feature", feature]]) {
      if (input.value.trim()) filter[name] = input.value.trim();
    }
    tail.clear();
    tail.begin(filter);
  };
  const form = make(
    "form",
    { class: "filter", "aria-label": "Filter", on: { submit: (event) => (event.preventDefault(), begin()), change: begin } },
    presentityField,
    domainField,
    featureField,
    make("fieldset", {}, make("legend", { class: "hidden" }, "Kinds of events"), boxes.map(([, box, word]) => make("label", { class: "check" }, box, word))),
    make("div", { class: "row" }, hold, make("button", { type: "button", class: "quiet", on: { click: () => tail.clear() } }, "Clear"), tail.state),
  );
  fill(root, make("header", { class: "head" }, make("h1", {}, "Events as they happen")), form, tail.note, tail.empty, tail.list);
  begin();
}
