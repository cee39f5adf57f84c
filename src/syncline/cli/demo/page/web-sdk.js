// The tab with the official web SDK: waits until its files are there, then shows a phone over its database.
import { setText } from '/page/dom.js';

const notice = document.getElementById('notice');
const tell = (text) => {
  setText(notice, text);
  notice.hidden = !text;
};

/** The state of the files, from the demo's stream, until they are ready. */
function filesReady() {
  return new Promise((resolve, reject) => {
    const events = new EventSource('/state');
    events.addEventListener('message', (event) => {
      const { state, message } = JSON.parse(event.data).web_sdk;
      document.body.dataset.sdk = state;
      if (state === 'absent' || state === 'fetching') return tell(message);
      events.close();
      if (state === 'ready') resolve();
      else reject(new Error(`The official web SDK cannot be shown here. ${message}`));
    });
    events.addEventListener('error', () => tell('The demo does not answer. This page tries again by itself.'));
  });
}

try {
  await fetch('/web-sdk/fetch', { method: 'POST' });
  await filesReady();
  tell('Starting …');
  const { start } = await import('/page/web-sdk-phone.js');
  await start(document.getElementById('phones'), tell);
  tell('');
} catch (error) {
  document.body.dataset.sdk = 'failed';
  tell(error.message);
}
