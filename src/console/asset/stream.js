// Events as they happen. `EventSource` would put the filter into the address and cannot show a token, so the stream is read by hand.

import { refusal, request } from "./ask.js";

const RETRY_MS = 2000;
/** A browser has six connections for all its tabs: a page that is hidden for so long gives its own back. */
const HIDDEN_AFTER_MS = 20_000;
/** A beat comes every 2 s. */
const SILENT_AFTER_MS = 8000;

function readBlock(block, calls) {
  let kind = "event";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (!data) return;
  const value = JSON.parse(data);
  if (kind === "beat") calls.beat?.(value);
  else calls.event(value);
}

async function once(filter, calls, stop) {
  const silence = new AbortController();
  const signal = AbortSignal.any([stop, silence.signal]);
  const unseen = whileSeen(silence);
  let timer = setTimeout(() => silence.abort(), SILENT_AFTER_MS);
  try {
    const response = await request("tail", filter, signal);
    if (!response.ok) throw await refusal(response);
    calls.up?.(true);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENT_AFTER_MS);
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) readBlock(block, calls);
    }
  } finally {
    clearTimeout(timer);
    unseen();
  }
}

/** Aborts `stop` once the page has been hidden for a while; returns how to let go of it. */
function whileSeen(stop) {
  let timer;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => stop.abort(), HIDDEN_AFTER_MS);
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
  };
}

async function seen() {
  while (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

/** Follows the events that a filter takes, until `stop` is aborted: `calls.event`, `calls.beat`, `calls.up(is up, why not)`,
 * `calls.back` where some may have been missed. */
export async function follow(filter, calls, stop) {
  for (let isFirst = true; !stop.aborted; isFirst = false) {
    let why = "the stream of events ended";
    try {
      await seen();
      if (!isFirst) calls.back?.();
      await once(filter, calls, stop);
    } catch (error) {
      if (error.code === 400) {
        calls.up?.(false, error.message);
        return;
      }
      if (error.code) why = error.message;
    }
    if (stop.aborted) return;
    calls.up?.(false, why);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}
