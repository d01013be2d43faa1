// What is asked of the process that served this page. Presentities go in bodies alone: addresses end in logs.

import { dialog, field, make, toast } from "./element.js";

const TOKEN = "dfks-token";
const NAME = "dfks-name";

/** What this console is and may do: `{version, actions, reads_need_token, is_connected}`. */
export const about = { version: "", actions: false, reads_need_token: false, is_connected: false };

/** Why something was not answered. */
export class Refused extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

export function token() {
  return sessionStorage.getItem(TOKEN) ?? "";
}

export function request(errand, body, signal, withToken = true) {
  const headers = { "Content-Type": "application/json" };
  if (withToken && token()) headers.Authorization = `Bearer ${token()}`;
  return fetch(`/api/${errand}`, { method: "POST", headers, body: JSON.stringify(body ?? {}), signal, cache: "no-store" });
}

/** The error of an answer. */
export async function refusal(response) {
  const said = await response.json().catch(() => undefined);
  return new Refused(response.status, said?.error?.description ?? `answered ${response.status}`);
}

/** Asks, and returns what is answered. */
export async function ask(errand, body, signal) {
  let response;
  try {
    response = await request(errand, body, signal);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "this dfks does not answer: is it running?");
  }
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** Asks what this console may do. */
export async function learn() {
  Object.assign(about, await ask("about"));
  document.dispatchEvent(new CustomEvent("standing"));
}

/** Whether actions can be carried out now. */
export function isUnlocked() {
  return about.actions && token() !== "";
}

export function lock() {
  sessionStorage.removeItem(TOKEN);
  document.dispatchEvent(new CustomEvent("standing"));
}

/** Asks for the token; whether there is one now. */
export async function unlock() {
  const secret = make("input", { type: "password", autocomplete: "off", required: true, maxlength: 4096 });
  const name = make("input", { type: "text", autocomplete: "off", maxlength: 64, value: localStorage.getItem(NAME) ?? "" });
  const done = await dialog({
    title: "Unlock actions",
    text: "Resync, end, set and replay change what phones show. The token is the one in http.token_file; it stays in this tab.",
    fields: [field("Token", secret), field("Your name", name, "Goes into the event of each action. Not needed.")],
    action: "Unlock",
    read: async () => {
      const before = token();
      sessionStorage.setItem(TOKEN, secret.value.trim());
      const response = await request("unlock");
      if (!response.ok) {
        if (before) sessionStorage.setItem(TOKEN, before);
        else sessionStorage.removeItem(TOKEN);
        if (response.status === 401) throw new Refused(401, "That is not the token.");
        throw await refusal(response);
      }
      localStorage.setItem(NAME, name.value.trim());
      return true;
    },
  });
  document.dispatchEvent(new CustomEvent("standing"));
  return done === true;
}

/** Carries an action out, after the token where there is none yet; what was answered, or nothing. */
export async function act(errand, body) {
  if (!isUnlocked() && !(await unlock())) return undefined;
  const name = localStorage.getItem(NAME);
  try {
    return await ask(errand, name ? { ...body, actor: name } : body);
  } catch (error) {
    if (error.code === 401) {
      lock();
      toast("The token is not taken any more: unlock again.", "bad");
    } else {
      toast(error.message, "bad");
    }
    return undefined;
  }
}
