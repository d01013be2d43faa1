// How much flows along each arrow, from two looks at the counters.

import { draw, fill, make } from "./element.js";
import { noAnswer, poll } from "./poll.js";

const EVERY_MS = 2000;
/** Rates are of the time between now and the oldest look that is kept. */
const MOST_LOOKS = 6;

/** Where each stands in the picture, and how it is called. */
const PLACES = {
  phones: [5, 130, "phones"],
  edge: [265, 130, "edge"],
  worker: [505, 40, "worker"],
  responders: [745, 40, "responders"],
  features: [745, 130, "feature states"],
  subscriptions: [265, 270, "subscriptions"],
  mi: [505, 220, "mi bridge"],
  services: [745, 220, "services"],
  events: [505, 330, "events"],
  dead: [745, 330, "dead letters"],
};
const WIDE = 140;
const HIGH = 46;

/** From, to, what, its counter, and whether that is of this process alone. The last two bend the arrow aside. */
const ARROWS = [
  ["phones", "edge", "SUBSCRIBEs", (now) => now.own.subscribes, true, 0, -11],
  ["edge", "phones", "NOTIFYs", (now) => now.own.notifies, true, 0, 11],
  ["edge", "subscriptions", "stores", (now) => now.streams.subscriptions],
  ["edge", "worker", "gets", (now) => now.own.gets ?? now.endpoints["worker get"]?.[0], true],
  ["worker", "responders", "questions", (now) => now.own.responders, true],
  ["worker", "features", "changes", (now) => now.streams.features],
  ["mi", "worker", "sets", (now) => now.own.sets ?? now.endpoints["worker route_set"]?.[0], true],
  ["services", "mi", "commands", (now) => now.own.commands ?? now.endpoints["mi set"]?.[0], true],
  ["mi", "edge", "NOTIFY jobs", (now) => now.streams.notify],
  ["edge", "events", "events of all", (now) => now.streams.events],
  ["mi", "dead", "given up on", (now) => now.streams.dead],
];

function rate(looks, counter) {
  const [first, last] = [looks[0], looks.at(-1)];
  const [before, now] = [counter(first), counter(last)];
  const seconds = (last.at_ms - first.at_ms) / 1000;
  if (before === undefined || before === null || now === undefined || now === null) return undefined;
  // a process that started anew counts from 0
  return seconds > 0 ? Math.max(0, now - before) / seconds : undefined;
}

function rateText(number) {
  if (number === undefined) return "–";
  if (number === 0) return "0/s";
  if (number < 10) return `${number.toFixed(1)}/s`;
  return `${Math.round(number).toLocaleString("en-US")}/s`;
}

/** Where a line from the middle of a box leaves it. */
function border([x, y], [toX, toY]) {
  const [across, down] = [toX - x, toY - y];
  const scale = Math.min(across ? WIDE / 2 / Math.abs(across) : Infinity, down ? HIGH / 2 / Math.abs(down) : Infinity);
  return [x + across * scale, y + down * scale];
}

function arrow(looks, [from, to, what, counter, , shiftX = 0, shiftY = 0]) {
  const middle = ([x, y]) => [x + WIDE / 2 + shiftX, y + HIGH / 2 + shiftY];
  const [one, other] = [middle(PLACES[from]), middle(PLACES[to])];
  const [start, end] = [border(one, other), border(other, one)];
  const number = rate(looks, counter);
  const [x, y] = [(start[0] + end[0]) / 2, (start[1] + end[1]) / 2];
  const isUpright = Math.abs(end[0] - start[0]) < 40;
  const label = isUpright ? { x: x + 8, y: y + 4 } : { x, y: shiftY > 0 ? y + 16 : y - 7, "text-anchor": "middle" };
  return draw(
    "g",
    { class: number > 0 ? "flows" : "" },
    draw("line", { x1: start[0], y1: start[1], x2: end[0], y2: end[1], "marker-end": "url(#tip)" }),
    draw("text", label, `${what} ${rateText(number)}`),
  );
}

function picture(looks) {
  const boxes = Object.entries(PLACES).map(([name, [x, y, word]]) =>
    draw("g", { class: `box ${name}` }, draw("rect", { x, y, width: WIDE, height: HIGH, rx: 8 }), draw("text", { x: x + WIDE / 2, y: y + HIGH / 2 + 4, "text-anchor": "middle" }, word)),
  );
  const tip = draw("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" }, draw("path", { d: "M0 0 8 4 0 8z" }));
  return draw("svg", { class: "arrows", viewBox: "0 0 890 390", "aria-hidden": "true" }, draw("defs", {}, tip), ARROWS.map((one) => arrow(looks, one)), boxes);
}

function rows(looks) {
  return ARROWS.map(([from, to, what, counter, isOwn]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, `${PLACES[from][2]} → ${PLACES[to][2]}`),
      make("td", {}, what),
      make("td", { class: "number" }, rateText(rate(looks, counter))),
      make("td", { class: "dim" }, isOwn ? "this process" : "all of them"),
    ),
  );
}

export function flowPage(root, _argument, gone) {
  document.title = "flow · dfks";
  const looks = [];
  const drawing = make("div", { class: "drawing" });
  const body = make("tbody", {});
  const problem = make("div", { role: "status" });
  fill(
    root,
    make("header", { class: "head" }, make("h1", {}, "Flow"), make("span", { class: "dim" }, "of the last ten seconds")),
    problem,
    drawing,
    make(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Rates" },
      make("table", {}, make("thead", {}, make("tr", {}, ["Way", "What", "Rate", "Counted by"].map((head) => make("th", { scope: "col", class: head === "Rate" ? "number" : undefined }, head)))), body),
    ),
    make("p", { class: "dim small-text" }, "What streams count is of all processes; the rest is what this process has counted itself. A dash: it has not that role. Dashboards show the rates of every process."),
  );
  const show = (now) => {
    if (now.at_ms === looks.at(-1)?.at_ms) return;
    looks.push(now);
    if (looks.length > MOST_LOOKS) looks.shift();
    fill(problem);
    fill(drawing, picture(looks));
    fill(body, rows(looks));
  };
  poll("flow", EVERY_MS, { show, fail: (error) => fill(problem, noAnswer(error, make)) }, gone);
}
