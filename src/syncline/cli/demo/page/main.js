// The page: follows the state, and sends what is clicked.
import { keep, setText } from '/page/dom.js';
import { makePhone } from '/page/phone.js';
import { makePostgres } from '/page/postgres.js';

const NOTICE_MS = 6000;
const notice = document.getElementById('notice');
const phones = new Map();
let noticeTimer;

function tell(text, { stays = false } = {}) {
  clearTimeout(noticeTimer);
  setText(notice, text);
  notice.hidden = !text;
  if (text && !stays) noticeTimer = setTimeout(() => tell(''), NOTICE_MS);
}

let before = Promise.resolve();

/** Send an action behind those that were clicked before it (requests on several connections could overtake each other); whether it was done. */
function act(action, values) {
  before = before.then(() => send(action, values));
  return before;
}

async function send(action, values = {}) {
  try {
    const answer = await fetch('/actions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ action, ...values }),
    });
    if (!answer.ok) tell((await answer.json()).error);
    return answer.ok;
  } catch {
    tell('The demo does not answer: has it ended?');
    return false;
  }
}

function show(state) {
  keep(document.getElementById('phones'), state.devices, {
    key: (device) => device.key,
    make: (device) => {
      const phone = makePhone(device.key, (action, values) => act(action, { device: device.key, ...values }));
      phones.set(device.key, phone);
      return phone.element;
    },
    update: (_element, device) => phones.get(device.key).show(device),
  });
  postgres.show(state.postgres);
  document.body.dataset.number = state.number;
}

const postgres = makePostgres(act);
document.getElementById('postgres').append(postgres.element);
document.getElementById('reset').addEventListener('click', async () => {
  if (await act('reset')) tell('');
});
document.getElementById('make-conflict').addEventListener('click', async () => {
  if (await act('make_conflict')) tell("Both of Alice's phones are offline, and have edited the same todo. Switch them on again, one after the other.");
});

let lost = false;
const events = new EventSource('/state');
events.addEventListener('message', (event) => {
  if (lost) tell('');
  lost = false;
  show(JSON.parse(event.data));
});
events.addEventListener('error', () => {
  lost = true;
  tell('The demo does not answer. It may have ended; this page tries again by itself.', { stays: true });
});
