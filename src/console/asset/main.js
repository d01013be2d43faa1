// The frame: which page is shown, the search, the keys of the keyboard, and whether the bus is there.

import { about, isUnlocked, learn, lock, unlock } from "./ask.js";
import { dialog, fill, make } from "./element.js";
import { changePage } from "./change.js";
import { deadPage } from "./dead.js";
import { fleetPage } from "./fleet.js";
import { flowPage } from "./flow.js";
import { nowPage } from "./now.js";
import { presentityPage } from "./presentity.js";
import { tailPage } from "./tail.js";
import { presentityLink } from "./word.js";

const ROOMS = [
  ["", "Now", "n", nowPage],
  ["tail", "Events", "e", tailPage],
  ["flow", "Flow", "f", flowPage],
  ["fleet", "Fleet", "l", fleetPage],
  ["dead", "Dead letters", "d", deadPage],
];
const HIDDEN = { p: presentityPage, change: changePage };
const LEARN_EVERY_MS = 5000;

const page = document.getElementById("page");
const query = document.getElementById("query");
let leaving = new AbortController();

function route() {
  const [, name = "", ...rest] = location.hash.split("/");
  const argument = decodeURIComponent(rest.join("/"));
  const room = ROOMS.find(([path]) => path === name);
  const open = HIDDEN[name] ?? room?.[3];
  leaving.abort();
  leaving = new AbortController();
  fill(
    document.getElementById("rooms"),
    ROOMS.map(([path, word, key]) =>
      make("a", { href: `#/${path}`, "aria-current": path === name && !HIDDEN[name] ? "page" : undefined, title: `g then ${key}` }, word),
    ),
  );
  query.value = name === "p" ? argument : "";
  page.className = `page ${name || "now"}`;
  if (open) open(page, argument, leaving.signal);
  else fill(page, make("p", { class: "lone" }, "There is no such page. ", make("a", { href: "#/" }, "To the first page")));
}

/** What somebody types: a presentity in any spelling, or the cause of a change. */
function target(text) {
  if (/^[0-9a-f]{32}$/i.test(text)) return `#/change/${text.toLowerCase()}`;
  const isNumber = /^\+?[0-9][0-9.\-()]*$/.test(text);
  const isBare = text.includes("@") && !/^[a-z]+:/i.test(text);
  return presentityLink(isNumber ? `tel:${text}` : isBare ? `sip:${text}` : text);
}

document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = query.value.trim();
  if (!text) return;
  const to = target(text);
  if (location.hash === to) route();
  else location.hash = to;
  page.focus();
});

function showStanding() {
  const link = document.getElementById("link");
  link.className = `link ${about.is_connected ? "good" : "bad"}`;
  link.textContent = about.is_connected ? "bus connected" : "bus away";
  const button = document.getElementById("lock");
  button.hidden = false;
  button.disabled = !about.actions;
  const [before, word] = isUnlocked() ? ["Actions ", "unlocked"] : about.actions ? ["Read-only: ", "unlock"] : ["", "read-only"];
  fill(button, make("span", { class: "wide-only" }, before), word);
  button.title = about.actions ? "" : "Actions need http.token_file in the configuration";
  button.className = `quiet ${isUnlocked() ? "open" : ""}`;
}

document.getElementById("lock").addEventListener("click", () => (isUnlocked() ? lock() : unlock()));
document.addEventListener("standing", showStanding);

const KEYS = [
  ["/", "to the search"],
  ["g n", "what is wrong now"],
  ["g e", "events as they happen"],
  ["g f", "how much flows"],
  ["g l", "the fleet: all that runs"],
  ["g d", "dead letters"],
  ["r", "look again"],
  ["u", "unlock or lock actions"],
  ["?", "this list"],
];

function help() {
  dialog({
    title: "Keys",
    fields: [make("dl", { class: "keys" }, KEYS.map(([key, text]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, text)]))],
    action: "Good",
    read: () => true,
  });
}

let isGoing = false;
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, textarea, select, dialog");
  if (event.key === "Escape" && event.target === query) page.focus();
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const wasGoing = isGoing;
  isGoing = false;
  const room = wasGoing && ROOMS.find(([, , key]) => key === event.key);
  if (room) location.hash = `#/${room[0]}`;
  else if (event.key === "/") query.select();
  else if (event.key === "?") help();
  else if (event.key === "u") document.getElementById("lock").click();
  else if (event.key === "r") document.dispatchEvent(new CustomEvent("again"));
  else if (event.key === "g") isGoing = true;
  else return;
  event.preventDefault();
});

async function keepLearning() {
  try {
    await learn();
  } catch {
    about.is_connected = false;
    showStanding();
  }
  setTimeout(keepLearning, LEARN_EVERY_MS);
}

globalThis.addEventListener("hashchange", () => {
  route();
  globalThis.scrollTo(0, 0);
});
keepLearning().then(route);
