// Connected clients, buckets, and the newest errors: tables over answers.

import { $, count, el, size, table } from "./dom.js";

let connected = [];

/** Ids of the users who were connected at the last look, each once. */
export const connectedUsers = () => connected;

export function showClients({ pid, here, reported }) {
  connected = [...new Set([...here, ...reported].map((client) => client.user_id))];
  const columns = [
    ["User", (client) => client.user_id],
    ["Client", (client) => client.client_id || "–"],
    ["Since", (client) => new Date(client.connected_at).toLocaleString()],
  ];
  const sent = (whose) => [
    [`Operations${whose}`, (client) => count(client.operations_sent), "number"],
    [`Sent${whose}`, (client) => size(client.bytes_sent), "number"],
    ["Software", (client) => client.user_agent || "–"],
  ];
  const own = [["Transport", (client) => client.transport], ["Buckets", (client) => count(client.buckets), "number"]];
  $("clients-here").replaceChildren(table(`${here.length} open, process ${pid}`, [...columns, ...own, ...sent("")], here, "No stream is open here."));
  $("clients-reported").replaceChildren(
    table(`${reported.length} with an open stream`, [...columns, ...sent(" before, today")], reported, "No stream is reported as open."),
  );
}

export function showBuckets({ buckets, operations, is_cut: isCut, streams, largest }) {
  const more = isCut ? " There are more: only so many were counted." : "";
  $("buckets-result").replaceChildren(
    el("p", { text: `${count(buckets)} buckets with ${count(operations)} operations.${more}` }),
    scrolled("Streams", [["Stream", (one) => one.name], ["Buckets", (one) => count(one.buckets), "number"], ["Operations", (one) => count(one.operations), "number"]], streams),
    scrolled("Largest buckets", [["Bucket", (one) => one.name], ["Operations", (one) => count(one.operations), "number"], ["Bytes, about", (one) => size(one.bytes), "number"]], largest),
  );
}

function scrolled(caption, columns, rows) {
  return el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption }, table(caption, columns, rows, "There is none."));
}

export function showErrors({ pid, errors }) {
  $("errors-process").textContent = `Of process ${pid}, since its start.`;
  const lines = errors.map((error) => {
    const at = new Date(error.at).toLocaleTimeString();
    return el("li", { class: `level-${error.level}`, text: `${at} ${error.level}: ${error.code ? `[${error.code}] ` : ""}${error.message}` });
  });
  $("errors-list").replaceChildren(...(lines.length ? lines : [el("li", { text: "None." })]));
}
