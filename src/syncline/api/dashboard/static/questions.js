// Two questions about a user: why is this row there, and what happens right now.

import { ask, send } from "./api.js";
import { $, el, size, typedUser } from "./dom.js";

const LINES_SHOWN_MAX = 500; // operations in the page; older ones are dropped

async function explain() {
  const fields = { table: $("explain-table").value.trim(), id: $("explain-id").value, user: typedUser($("explain-user").value) };
  $("explain-result").replaceChildren(el("p", { text: "Asking …" }));
  const found = await ask("explain", fields);
  const word = !found.found ? "The source has no such row." : found.visible ? "Yes: the row belongs on the device." : "No: the row does not belong on the device.";
  const more = (title, text) => (text ? [el("details", {}, el("summary", { text: title }), el("pre", { tabindex: "0", text }))] : []);
  $("explain-result").replaceChildren(
    el("p", { id: "explain-word", class: found.visible ? "good" : "error", text: word }),
    el("pre", { tabindex: "0", "aria-label": "Explanation", text: found.answer }),
    ...more("The row", found.row),
    ...more("The user", found.user),
  );
}

let running = null; // the AbortController of the tail

async function tail() {
  running?.abort();
  const mine = (running = new AbortController());
  const list = $("tail-lines");
  list.replaceChildren();
  $("tail-stop").disabled = false;
  $("tail-state").textContent = "Starting …";
  try {
    const answer = await send("api/dashboard/v1/tail", { method: "POST", fields: { user: typedUser($("tail-user").value) }, signal: mine.signal });
    for await (const line of lines(answer.body)) show(line, list);
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    if (running === mine) $("tail-state").textContent = "Stopped.";
  } finally {
    if (running === mine) {
      running = null;
      $("tail-stop").disabled = true;
    }
  }
}

async function* lines(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

function show(line, list) {
  if (line.began) $("tail-state").textContent = `Watching ${line.buckets} buckets of ${line.user_id}.`;
  else if (line.ended) $("tail-state").textContent = `Ended: ${line.ended}.`;
  else if (line.op) {
    const at = new Date(line.at).toLocaleTimeString();
    const what = line.table === null ? "" : ` ${line.table} ${line.id}`;
    list.prepend(el("li", { text: `${at} ${line.op}${what} (${size(line.bytes)}) in ${line.bucket}, op ${line.op_id}` }));
    while (list.childElementCount > LINES_SHOWN_MAX) list.lastElementChild.remove();
  }
}

export function beginQuestions(guarded) {
  $("explain-form").addEventListener("submit", guarded($("explain-result"), explain));
  $("tail-form").addEventListener("submit", guarded($("tail-state"), tail));
  $("tail-stop").addEventListener("click", () => running?.abort());
}

/** Ends what is under way: somebody signs out. */
export const endQuestions = () => running?.abort();
