// The active sync config, the preview of another one, deploying and rolling back.

import { ask, deploy } from "./api.js";
import { connectedUsers } from "./clients.js";
import { $, count, el, table, typedUser } from "./dom.js";

let mayDeploy = false;
let lookAgain = () => {};
let previewed = null; // the text whose preview found it usable

export async function showConfig() {
  const { active, problems, may_deploy: may, deployments } = await ask("config");
  mayDeploy = may;
  $("config-active").replaceChildren(
    ...(active
      ? [el("p", { class: "note", text: `Version ${active.version}` }), el("pre", { id: "active-text", tabindex: "0", "aria-label": "Active sync config", text: active.text })]
      : [el("p", { class: "note", text: "No sync config is active." })]),
    problemList(problems),
  );
  if ($("preview-text").value === "" && active) $("preview-text").value = active.text;
  $("deploy-note").textContent = may ? "Deploying is possible after a preview." : "The configuration of the service names the sync config: it is changed there, and cannot be deployed from here.";
  $("deployments").replaceChildren(
    table(
      "The newest first",
      [
        ["Deployed", (one) => new Date(one.deployed_at).toLocaleString()],
        ["Version", (one) => String(one.number)],
        ["", actions],
      ],
      deployments,
      "Nothing was deployed through the API.",
    ),
  );
}

function actions(deployment) {
  if (deployment.text === null) return "copied again, same config";
  if (deployment.is_active) return "active";
  const load = () => {
    $("preview-text").value = deployment.text;
    changed();
    $("preview-text").focus();
  };
  const back = () => confirmed("Roll back?", `Version ${deployment.number} is deployed again. Everything is copied anew; devices keep what they have until that is done.`, deployment.text);
  return el(
    "span",
    {},
    el("button", { type: "button", text: "Look", "aria-label": `Look at version ${deployment.number}`, onclick: load }),
    " ",
    el("button", { type: "button", text: "Roll back", "aria-label": `Roll back to version ${deployment.number}`, disabled: !mayDeploy, onclick: back }),
  );
}

function problemList(problems) {
  if (problems.length === 0) return el("p", { class: "good", text: "No problems." });
  return el(
    "ul",
    { class: "lines" },
    ...problems.map((problem) =>
      el(
        "li",
        { class: `level-${problem.level}` },
        el("strong", { text: `Line ${problem.line}, column ${problem.column}: ` }),
        problem.message,
        problem.source_line ? el("pre", { text: `${problem.source_line}\n${" ".repeat(Math.max(0, problem.column - 1))}^` }) : null,
        problem.hint ? el("span", { class: "note", text: problem.hint }) : null,
      ),
    ),
  );
}

async function preview() {
  const content = $("preview-text").value;
  const users = $("preview-users").value.split("\n").filter((line) => line.trim() !== "").map(typedUser);
  $("preview-result").replaceChildren(el("p", { text: "Evaluating …" }));
  const found = await ask("preview", { content, users });
  previewed = found.can_be_used && $("preview-text").value === content ? content : null;
  $("deploy").disabled = !(previewed !== null && mayDeploy);
  const parts = [el("h3", { text: found.can_be_used ? "This config can be used" : "This config cannot be used" }), problemList(found.problems)];
  if (found.can_be_used) parts.push(...outcome(found));
  $("preview-result").replaceChildren(...parts);
}

function outcome(found) {
  const parts = [el("p", { class: "note", text: `Evaluated over ${count(found.rows_read)} rows of the source.` })];
  if (found.cut_tables.length) {
    parts.push(el("p", { class: "level-warning", text: `Only part of these tables was read, so counts are too low: ${found.cut_tables.join(", ")}` }));
  }
  if (found.failed_rows) parts.push(el("p", { class: "level-warning", text: `${count(found.failed_rows)} rows cannot be evaluated and would be left out.` }));
  const later = found.streams.filter((stream) => !stream.auto_subscribe).map((stream) => stream.name);
  if (later.length) parts.push(el("p", { class: "note", text: `Not counted, for devices subscribe to them: ${later.join(", ")}` }));
  return [...parts, ...found.users.map(user)];
}

function user({ user_id: id, active, next, leaving, arriving, changed: altered }) {
  const part = el("article", { "aria-label": `User ${id}`, "data-user": id }, el("h3", { text: `User ${id}` }));
  if (next.refused) part.append(el("p", { class: "error", text: `The service would refuse this user: ${next.refused}` }));
  const before = active ? held(active) : "nothing";
  part.append(el("p", { text: `Now ${before}; then ${held(next)}.` }));
  part.append(rows("would leave the device", leaving, "error"), rows("would come", arriving, null), rows("would change", altered, null));
  return part;
}

const many = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const held = (device) => `${many(device.buckets, "bucket")}, ${many(device.rows, "row")}`;

function rows(what, { count: number, tables, rows: named }, kind) {
  if (number === 0) return el("p", { class: "note", text: `No row ${what}.` });
  const perTable = Object.entries(tables).map(([name, found]) => `${name}: ${count(found)}`).join(", ");
  const more = number > named.length ? [el("li", { text: `and ${count(number - named.length)} more` })] : [];
  return el(
    "details",
    { open: kind === "error" },
    el("summary", { class: kind, text: `${many(number, "row")} ${what} (${perTable})` }),
    el("ul", { class: "lines" }, ...named.map((row) => el("li", { text: `${row.table} ${row.id}` })), ...more),
  );
}

function changed() {
  previewed = null;
  $("deploy").disabled = true;
}

/** Asks whether, then deploys. */
function confirmed(title, text, content) {
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  const dialog = $("confirm");
  dialog.returnValue = "";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "yes") return;
    try {
      const { slot_name: slot } = await deploy(content);
      $("deploy-note").textContent = `Deployed. It is copied with the slot ${slot}; progress stands under Health.`;
      changed();
      lookAgain();
    } catch (error) {
      $("deploy-note").textContent = error.message;
    }
  };
  dialog.showModal();
}

export function beginConfig(guarded, look) {
  lookAgain = look;
  $("preview-form").addEventListener("submit", guarded($("preview-result"), preview));
  $("preview-text").addEventListener("input", changed);
  $("preview-connected").addEventListener("click", () => {
    $("preview-users").value = connectedUsers().slice(0, 20).join("\n");
  });
  $("deploy").addEventListener("click", () => {
    if (previewed !== null) confirmed("Deploy this config?", "The source is copied for it; devices change over when that is done.", previewed);
  });
}
