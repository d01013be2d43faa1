// All that runs: processes, edges, streams, breakers. And the log level of processes.

import { about, act } from "./ask.js";
import { dialog, field, fill, make, toast } from "./element.js";
import { noAnswer, poll } from "./poll.js";
import { count, pill, relative, span } from "./word.js";

const EVERY_MS = 5000;
const LEVELS = ["error", "warn", "info", "debug", "trace"];
const NUMBERS = ["Messages", "Size", "Subscriptions"];
const STREAMS = {
  commands: "durable commands",
  notify: "NOTIFY jobs",
  events: "events",
  dead: "dead letters",
  subscriptions: "subscriptions",
  features: "feature states",
};

function table(heads, rows, label) {
  return make(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    make("table", {}, make("thead", {}, make("tr", {}, heads.map((head) => (head ? make("th", { scope: "col", class: NUMBERS.includes(head) ? "number" : undefined }, head) : make("td", {}))))), make("tbody", {}, rows)),
  );
}

async function setLevel(process) {
  const level = make("select", {}, LEVELS.map((word) => make("option", { value: word }, word)), make("option", { value: "configured" }, "as configured"));
  level.value = "debug";
  const minutes = make("input", { type: "number", min: 1, max: 10080, value: "10" });
  const request = await dialog({
    title: `Log level of ${process.roles.join(", ")} on ${process.host}`,
    text: "After that time it goes back to what its configuration says.",
    fields: [field("Level", level), field("For minutes", minutes)],
    action: "Set it",
    read: () => ({ level: level.value, pid: process.pid, ...(level.value === "configured" ? {} : { for_seconds: Math.max(1, Number(minutes.value) || 10) * 60 }) }),
  });
  if (request && (await act("log", request))) {
    toast(`It logs at ${request.level} now.`);
    document.dispatchEvent(new CustomEvent("again"));
  }
}

function processes(fleet) {
  const versions = new Set(fleet.processes.map((process) => process.version));
  const rows = fleet.processes.map((process) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, process.roles.join(", "), process.edges.length > 0 && make("small", { class: "dim" }, process.edges.join(", "))),
      make("td", {}, process.host, " ", make("span", { class: "dim" }, String(process.pid))),
      make("td", {}, versions.size > 1 ? pill(process.version, "warn") : process.version),
      make("td", {}, make("code", { class: "id" }, process.config)),
      make("td", {}, make("time", { datetime: process.started_at, title: process.started_at }, relative(process.started_at))),
      make("td", {}, process.log_level, process.log_until && make("span", { class: "values" }, `until ${relative(process.log_until)}`)),
      make("td", { class: "act" }, about.actions && make("button", { type: "button", class: "small", "data-key": `log-${process.process}`, "aria-label": `Log level of ${process.roles.join(", ")} on ${process.host}, ${process.pid}`, on: { click: () => setLevel(process) } }, "Log level…")),
    ),
  );
  const note = versions.size > 1 && make("p", { class: "dim small-text" }, `${versions.size} versions run at once.`);
  return [table(["Roles", "Host, process", "Version", "Configuration", "Started", "Log", ""], rows, "Processes"), note];
}

function edges(fleet) {
  if (!fleet.edges.length) return make("p", { class: "lone" }, "No edge is known.");
  const most = Math.max(1, ...fleet.edges.map((edge) => edge.subscriptions ?? 0));
  const rows = fleet.edges.map((edge) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, edge.edge_id),
      make("td", {}, edge.silent ? pill("silent", "bad") : pill("answers", "good")),
      make("td", { class: "number" }, edge.subscriptions === null ? "not known" : count(edge.subscriptions)),
      make("td", { class: "wide" }, make("meter", { min: 0, max: most, value: edge.subscriptions ?? 0, "aria-label": `subscriptions of ${edge.edge_id}` })),
    ),
  );
  return table(["Edge", "Is", "Subscriptions", "Share"], rows, "Edges");
}

function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = number > 0 ? Math.min(4, Math.floor(Math.log2(number) / 10)) : 0;
  return `${(number / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

function streams(fleet) {
  const rows = fleet.streams.map((stream) => {
    const full = stream.full_percent ?? 0;
    const meter = stream.limit_bytes > 0 && make("meter", { min: 0, max: 100, high: 80, optimum: 0, low: 50, value: full, "aria-label": `${STREAMS[stream.stream]}: how full` });
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, STREAMS[stream.stream] ?? stream.stream),
      make("td", { class: "number" }, stream.error ? pill(stream.error, "bad") : count(stream.messages)),
      make("td", { class: "number" }, bytes(stream.bytes)),
      make("td", { class: "wide" }, meter, " ", stream.limit_bytes > 0 ? `${full} % of ${bytes(stream.limit_bytes)}` : make("span", { class: "dim" }, "no bound of its own")),
      make("td", {}, stream.messages ? span(stream.oldest_seconds) : ""),
    );
  });
  return table(["Stream", "Messages", "Size", "Full", "Oldest"], rows, "Streams");
}

function breakers(fleet) {
  if (!fleet.breakers.length) return make("p", { class: "lone" }, "Every breaker is closed: each responder that was asked last has answered.");
  const rows = fleet.breakers.map((one) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, one.domain, make("small", { class: "dim" }, one.subject)),
      make("td", {}, one.feature),
      make("td", {}, one.kind),
      make("td", {}, pill(one.breaker.replace("_", " "), one.breaker === "open" ? "bad" : "warn")),
      make("td", {}, one.last_error && make("span", { class: "error" }, one.last_error)),
    ),
  );
  return table(["Tenant", "Feature", "Kind", "Breaker", "Last error"], rows, "Breakers");
}

export function fleetPage(root, _argument, gone) {
  document.title = "fleet · dfks";
  const parts = [["Processes", processes], ["Edges", edges], ["Breakers that are not closed", breakers], ["Streams and buckets", streams]];
  const places = parts.map(([title, show]) => [make("div", {}), title, show]);
  const problem = make("div", { role: "status" });
  fill(root, make("header", { class: "head" }, make("h1", {}, "Fleet")), problem, places.map(([place, title]) => make("section", {}, make("div", { class: "title" }, make("h2", {}, title)), place)));
  const show = (fleet) => {
    fill(problem);
    for (const [place, , draw] of places) fill(place, draw(fleet));
  };
  poll("fleet", EVERY_MS, { show, fail: (error) => fill(problem, noAnswer(error, make)) }, gone);
}
