// `@powersync/web` in a page, driven by messages of a WebSocket to the server that the page came from.
import * as sdk from '@powersync/web';

import { answer, makeCommands } from '/sdk_commands.mjs';

const worker = '/packages/@powersync/web/dist/worker/worker.js';
const commands = makeCommands(sdk, ({ file, vfs }) => ({
  database: { dbFilename: file, worker, ...(vfs && { vfs }) },
  sync: { worker },
}));
const driver = new WebSocket(`ws://${location.host}/driver`);
const report = (text) => driver.send(JSON.stringify({ log: text }));
addEventListener('error', (event) => report(`error: ${event.message}`));
addEventListener('unhandledrejection', (event) => report(`unhandled: ${event.reason?.stack ?? event.reason}`));
driver.addEventListener('message', async ({ data }) => driver.send(await answer(commands, data)));
