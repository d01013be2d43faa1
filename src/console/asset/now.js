// The first page: where to begin, what is wrong now, and what happens.

import { fill, make } from "./element.js";
import { noAnswer, poll } from "./poll.js";
import { Tail } from "./tail.js";
import { count, pill } from "./word.js";

const EVERY_MS = 5000;

const WHERE = {
  breaker_open: ["#/fleet", "Breakers"],
  stream_full: ["#/fleet", "Streams"],
  stream_unknown: ["#/fleet", "Streams"],
  edge_silent: ["#/fleet", "Edges"],
};
const WORDS = {
  no_worker: "No worker",
  no_edge: "No edge",
  no_mi: "No bridge",
  edge_silent: "Edge silent",
  breaker_open: "Breaker open",
  stream_full: "Stream full",
  stream_unknown: "Stream away",
};

function wrongLine({ what, text }) {
  const [href, word] = WHERE[what] ?? ["#/fleet", "Fleet"];
  return make("li", { class: "finding bad" }, make("p", {}, pill(WORDS[what] ?? what, "bad"), make("span", {}, text), " ", make("a", { href }, word)));
}

function deadLine(dead) {
  const text = dead.messages === 1 ? "1 command or NOTIFY was given up on" : `${count(dead.messages)} commands or NOTIFYs were given up on`;
  return make("li", { class: "finding warn" }, make("p", {}, pill("Dead letters", "warn"), make("span", {}, text), " ", make("a", { href: "#/dead" }, "Look at them")));
}

function tile(number, word, href) {
  return make("a", { class: "tile", href }, make("b", {}, number), make("span", {}, word));
}

function tiles(fleet) {
  const has = (role) => fleet.processes.filter((process) => process.roles.includes(role)).length;
  const held = fleet.edges.map((edge) => edge.subscriptions).filter((held) => held !== null);
  const subscriptions = held.length ? count(held.reduce((sum, one) => sum + one, 0)) : "?";
  const many = (number, word) => (number === 1 ? word : `${word}s`);
  return [
    tile(subscriptions, "subscriptions", "#/fleet"),
    tile(count(fleet.edges.length), many(fleet.edges.length, "edge"), "#/fleet"),
    tile(count(has("worker")), many(has("worker"), "worker"), "#/fleet"),
    tile(count(has("mi")), many(has("mi"), "mi bridge"), "#/fleet"),
  ];
}

function wrongs(fleet) {
  const dead = fleet.streams.find((stream) => stream.stream === "dead");
  const lines = [...fleet.wrong.map(wrongLine), dead?.messages > 0 && deadLine(dead)].filter(Boolean);
  if (lines.length) return lines;
  return make("li", { class: "finding good" }, make("p", {}, pill("Fine", "good"), make("span", {}, "Every role answers, no breaker is open, no edge is silent, no stream is full, nothing was given up on.")));
}

/** The first page. */
export function nowPage(root, _argument, gone) {
  document.title = "dfks console";
  const tail = new Tail(12, gone);
  const wrong = make("ul", { class: "findings", "aria-label": "What is wrong now", "aria-live": "polite" });
  const numbers = make("div", { class: "tiles" });
  fill(
    root,
    make(
      "header",
      { class: "hero" },
      make("h1", {}, "Why is this lamp dark?"),
      make(
        "p",
        { class: "dim" },
        "Type whose phones are meant into the search above: an address, such as ",
        make("code", {}, "alice@example.com"),
        ", or a number. Its page says what each phone was told, what is wrong, and the next step.",
      ),
    ),
    make("section", {}, make("div", { class: "title" }, make("h2", {}, "Wrong now")), wrong, numbers),
    make("section", {}, make("div", { class: "title" }, make("h2", {}, "Happening"), tail.state, make("a", { class: "more", href: "#/tail" }, "all, with a filter")), tail.empty, tail.list, tail.note),
  );
  const show = (fleet) => {
    fill(wrong, wrongs(fleet));
    fill(numbers, tiles(fleet));
    document.title = fleet.fine ? "fine · dfks" : `${fleet.wrong.length} wrong · dfks`;
  };
  poll("fleet", EVERY_MS, { show, fail: (error) => (fill(wrong, make("li", {}, noAnswer(error, make))), fill(numbers)) }, gone);
  tail.begin({});
}
