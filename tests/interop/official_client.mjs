// Drives the official Node client by JSON lines: one command on standard input, one answer on standard output.
// Packages are resolved from the folder that SYNCLINE_OFFICIAL_PACKAGES names.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const packages = path.join(process.env.SYNCLINE_OFFICIAL_PACKAGES, 'index.js');
const require = createRequire(packages);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { PowerSyncDatabase, Schema, Table, column, SyncStreamConnectionMethod } = {
  ...(await load('@powersync/common')),
  ...(await load('@powersync/node')),
};

let db;
const uploads = [];

function makeSchema(tables) {
  const make = (columns) =>
    new Table(Object.fromEntries(Object.entries(columns).map(([name, type]) => [name, column[type]])));
  return new Schema(Object.fromEntries(Object.entries(tables).map(([name, columns]) => [name, make(columns)])));
}

function connector({ endpoint, token, backend }) {
  return {
    fetchCredentials: async () => ({ endpoint, token }),
    uploadData: async (database) => {
      const transaction = await database.getNextCrudTransaction();
      if (!transaction) return;
      const crud = transaction.crud.map((entry) => ({
        id: entry.id,
        op: entry.op,
        table: entry.table,
        op_data: entry.opData,
        transaction_id: entry.transactionId,
      }));
      const response = await fetch(`${backend}/api/data`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ transactions: [{ crud, transaction_id: transaction.transactionId }] }),
      });
      if (!response.ok) throw new Error(`upload failed: HTTP ${response.status}`);
      const { results } = await response.json();
      uploads.push(results[0].status);
      if (results[0].status === 'retryable_error') throw new Error(results[0].message);
      await transaction.complete();
    },
  };
}

const status = () => ({
  connected: db.currentStatus.connected,
  hasSynced: db.currentStatus.hasSynced ?? false,
  downloadError: db.currentStatus.downloadError?.message ?? null,
  uploadError: db.currentStatus.uploadError?.message ?? null,
});

const subscriptions = new Map();
const commands = {
  async open({ folder, file, tables }) {
    db = new PowerSyncDatabase({
      schema: makeSchema(tables),
      database: { dbFilename: file, dbLocation: folder, implementation: { type: 'better-sqlite3' } },
    });
    await db.init();
    return { clientId: await db.getClientId() };
  },
  async connect(options) {
    await db.connect(connector(options), {
      connectionMethod: options.transport === 'websocket' ? SyncStreamConnectionMethod.WEB_SOCKET : SyncStreamConnectionMethod.HTTP,
      retryDelayMs: options.retryDelayMs ?? 200,
      crudUploadThrottleMs: 50,
    });
    return status();
  },
  async firstSync() {
    await db.waitForFirstSync();
    return status();
  },
  async all({ sql, parameters }) {
    return await db.getAll(sql, parameters ?? []);
  },
  async execute({ sql, parameters }) {
    await db.execute(sql, parameters ?? []);
    return null;
  },
  async subscribe({ stream, parameters }) {
    const handle = await db.syncStream(stream, parameters).subscribe();
    subscriptions.set(JSON.stringify([stream, parameters]), handle);
    await handle.waitForFirstSync();
    return null;
  },
  async status() {
    return status();
  },
  async uploads() {
    return uploads;
  },
  async queue() {
    return (await db.getUploadQueueStats()).count;
  },
  async close() {
    await db.close();
    return null;
  },
};

// Wait in here rather than by asking again and again from outside: the row is there as soon as the watch says so.
commands.until = async ({ sql, parameters, rows, timeoutMs }) => {
  const wanted = JSON.stringify(rows);
  const deadline = AbortSignal.timeout(timeoutMs);
  let last = null;
  try {
    for await (const result of db.watch(sql, parameters ?? [], { signal: deadline })) {
      last = result.rows?._array ?? result.rows ?? result;
      if (JSON.stringify(last) === wanted) return last;
    }
  } catch (error) {
    if (!deadline.aborted) throw error;
  }
  throw new Error(`timed out; last rows: ${JSON.stringify(last)}; status: ${JSON.stringify(status())}`);
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, command, ...options } = JSON.parse(line);
  Promise.resolve()
    .then(() => commands[command](options))
    .then(
      (result) => process.stdout.write(JSON.stringify({ id, result: result ?? null }) + '\n'),
      (error) => process.stdout.write(JSON.stringify({ id, error: String(error?.stack ?? error) }) + '\n'),
    );
}
process.exit(0);
