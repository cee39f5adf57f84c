// `@powersync/node`, driven by lines on standard input; answers on standard output, its own log on standard error.
// Packages are resolved from the folder that SYNCLINE_OFFICIAL_PACKAGES names.
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

import { answer, makeCommands } from './sdk_commands.mjs';

const require = createRequire(path.join(process.env.SYNCLINE_OFFICIAL_PACKAGES, 'index.js'));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
console.log = console.info = console.debug = console.error; // standard output carries answers only

const sdk = { ...(await load('@powersync/common')), ...(await load('@powersync/node')) };
const commands = makeCommands(sdk, ({ folder, file }) => ({
  database: {
    dbFilename: file,
    dbLocation: folder,
    implementation: { type: 'better-sqlite3' },
    readWorkerCount: 1, // each is a thread to start
  },
}));
for await (const line of createInterface({ input: process.stdin })) {
  void answer(commands, line).then((text) => process.stdout.write(text + '\n'));
}
process.exit(0);
