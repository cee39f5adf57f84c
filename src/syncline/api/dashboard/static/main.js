// Signing in, and looking again and again while the tab is seen.

import { ask, forgetToken, hasToken, setToken } from "./api.js";
import { showBuckets, showClients, showErrors } from "./clients.js";
import { beginConfig, showConfig } from "./config.js";
import { $, el, say } from "./dom.js";
import { showOverview } from "./overview.js";
import { beginQuestions, endQuestions } from "./questions.js";

const LOOK_INTERVAL_MS = 5000;
const DEPLOYING_INTERVAL_MS = 2000; // while something is on its way, it is looked at more often
const HURRY_MS = 15000;
const REASON = "syncline-signed-out"; // why, for the page that is loaded afterwards
let timer = null;
let activeConfig = null; // slots of the configs that are shown
let hurriesUntil = 0; // in milliseconds since 1970

/** A handler of a form: an error is shown in `place`, and a token that is refused signs out. */
const guarded = (place, work) => async (event) => {
  event?.preventDefault();
  try {
    await work();
  } catch (error) {
    if (error.status === 401) signOut("The token is refused.");
    else place.replaceChildren(el("p", { class: "error", role: "alert", text: error.message }));
  }
};

const hurry = () => {
  hurriesUntil = Date.now() + HURRY_MS;
};

async function look() {
  clearTimeout(timer);
  try {
    // Together: where the source does not answer, only the overview is late.
    const asked = [ask("overview"), ask("clients").then(showClients), ask("errors").then(showErrors)];
    const [overview] = await Promise.all(asked);
    showOverview(overview);
    if (overview.deploying !== null) hurry();
    const shown = JSON.stringify([overview.active, overview.deploying].map((one) => one?.connections[0]?.slot_name));
    if (shown !== activeConfig) {
      await showConfig();
      activeConfig = shown;
    }
    say($("failure"), "", "error");
  } catch (error) {
    if (error.status === 401) {
      signOut("The token is refused.");
      return;
    }
    say($("failure"), error.message, "error");
    if (error.status === 0) say($("health"), "The service does not answer", "error");
  }
  if (hasToken()) timer = setTimeout(() => (document.hidden ? undefined : look()), Date.now() < hurriesUntil ? DEPLOYING_INTERVAL_MS : LOOK_INTERVAL_MS);
}

async function signIn(event) {
  event.preventDefault();
  setToken($("token").value.trim());
  $("token").value = "";
  $("sign-in-error").textContent = "";
  begin();
}

function begin() {
  $("sign-in").hidden = true;
  $("panels").hidden = false;
  $("sign-out").hidden = false;
  activeConfig = null;
  look();
}

function signOut(reason) {
  if (!hasToken()) return; // what was under way is refused now
  clearTimeout(timer);
  endQuestions();
  forgetToken();
  sessionStorage.setItem(REASON, reason);
  location.reload(); // nothing of what was shown stays in the page
}

$("sign-in").addEventListener("submit", signIn);
$("sign-out").addEventListener("click", () => signOut(""));
$("buckets-load").addEventListener("click", guarded($("buckets-result"), async () => showBuckets(await ask("buckets"))));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && hasToken()) look();
});
$("sign-in-button").disabled = false; // until now the form would have gone out as a form
beginConfig(guarded, () => {
  hurry();
  look();
});
beginQuestions(guarded);
$("sign-in-error").textContent = sessionStorage.getItem(REASON) ?? "";
sessionStorage.removeItem(REASON);
if (hasToken()) begin();
