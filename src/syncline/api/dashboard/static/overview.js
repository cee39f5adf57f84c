// Health: this process, the source, and how the active and the deploying config replicate.

import { $, count, duration, el, facts, refresh, say, size, table } from "./dom.js";

/** Shows the answer to `overview`; returns whether all is well. */
export function showOverview({ process, source, active, deploying }) {
  const now = Date.parse(process.now);
  const errors = [...(active?.errors ?? []), ...(deploying?.errors ?? [])];
  const fatal = errors.some((error) => error.level === "fatal");
  const well = process.is_ready && source.connected && !fatal;
  const word = well ? "Healthy" : process.is_ready ? "Serving, with problems" : "Not serving yet";
  say($("health"), word, well ? "good" : "error");
  facts($("process"), [
    ["Streams served", process.is_ready ? "yes" : "not yet", process.is_ready ? "good" : "error"],
    ["Source", source.connected ? "connected" : "not reachable", source.connected ? "good" : "error"],
    ["Replication seen", process.replication_seen_at ? `${duration((now - Date.parse(process.replication_seen_at)) / 1000)} ago` : "–"],
    ["Open streams, this process", count(process.open_streams)],
    ["Up", duration((now - Date.parse(process.started_at)) / 1000)],
    ["Version", `${process.version}, process ${process.pid}`],
  ]);
  refresh(
    $("versions"),
    ...(source.errors.length ? [problems(source.errors)] : []),
    version("Active config", active, "No sync config is active."),
    ...(deploying ? [version("Being deployed", deploying, "")] : []),
  );
  return well;
}

function problems(errors) {
  return el("ul", { class: "lines" }, ...errors.map((error) => el("li", { class: `level-${error.level}`, text: error.message })));
}

function version(title, status, empty) {
  const part = el("div", {}, el("h3", { text: title }));
  if (!status) {
    part.append(el("p", { class: "note", text: empty }));
    return part;
  }
  for (const connection of status.connections) {
    part.append(
      facts(el("dl", { class: "facts" }), [
        ["Replication slot", connection.slot_name || "–"],
        ["First copy", connection.initial_replication_done ? "done" : "under way"],
        ["Lag", size(connection.replication_lag_bytes)],
        ["Slot budget left", budget(connection)],
        ["State of the slot's log", connection.wal_status ?? "–"],
        ["Position", connection.last_lsn ?? "–"],
      ]),
      el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Tables, ${title}` }, tables(connection.tables)),
    );
  }
  if (status.errors.length) part.append(problems(status.errors));
  return part;
}

function budget({ safe_wal_size: left, max_slot_wal_keep_size: whole }) {
  if (!whole) return "no limit set";
  return left === undefined ? size(whole) : `${size(left)} of ${size(whole)}`;
}

function tables(entries) {
  return table(
    "Tables",
    [
      ["Table", (entry) => `${entry.schema}.${entry.name}`],
      ["Copy", copied],
      ["Rows copied", (entry) => (entry.snapshot ? count(entry.snapshot.rows) : "all"), "number"],
    ],
    entries,
    "The config reads no table that is known.",
  );
}

function copied({ schema, name, snapshot }) {
  if (!snapshot) return "done";
  if (!snapshot.share) return "waits";
  const percent = Math.floor(snapshot.share * 100);
  const left = snapshot.seconds_left;
  const when = left === null || left === undefined ? "" : `, about ${duration(left)} left`;
  const bar = el("progress", { max: "100", value: String(percent), "aria-label": `Copy of ${schema}.${name}` });
  return el("span", {}, bar, ` ${percent} %${when}`);
}
