// A phone of Alice over `@powersync/web`: the same view as the Python clients, another client below it.
import { PowerSyncDatabase, Schema, Table, column } from '@powersync/web';

import { makePhone } from '/page/phone.js';

const ROWS_SHOWN_MAX = 200;
const CHANGES_SHOWN_MAX = 50;
const THROTTLE_MS = 30;

/** Open the database, connect, and show it in `parent`; `tell` says what went wrong. */
export async function start(parent, tell) {
  const settings = await (await fetch('/web-sdk/settings')).json();
  const db = new PowerSyncDatabase({
    schema: schemaOf(settings.schema),
    database: { dbFilename: 'syncline-demo.db', worker: settings.worker },
    sync: { worker: settings.worker },
  });
  await db.init();
  const connector = connectorTo(settings);
  const connect = () => db.connect(connector, { retryDelayMs: 500, crudUploadThrottleMs: 10 });
  const device = { db, online: true, connect, foreignList: settings.foreign_list };
  const phone = makePhone('web-sdk', (name, values) => actions[name](device, values).then(refresh, (error) => tell(error.message)));
  const refresh = async () => phone.show(await stateOf(device));
  parent.append(phone.element);
  db.registerListener({ statusChanged: refresh });
  db.onChangeWithCallback(
    { onChange: refresh },
    { tables: [...Object.keys(settings.schema), 'ps_crud'], throttleMs: THROTTLE_MS },
  );
  await connect();
  await refresh();
}

function schemaOf(tables) {
  return new Schema(
    Object.fromEntries(
      Object.entries(tables).map(([name, { columns, trackPrevious }]) => [
        name,
        new Table(Object.fromEntries(Object.entries(columns).map(([key, type]) => [key, column[type]])), {
          trackPrevious: trackPrevious && { onlyWhenChanged: true },
        }),
      ]),
    ),
  );
}

/** Tokens and uploads as any app with the SDK has them, against the demo's backend. */
function connectorTo({ backend, user }) {
  const credentials = async () => {
    const answer = await fetch(`${backend}/api/auth/token?user_id=${user}`);
    if (!answer.ok) throw new Error(`no token: HTTP ${answer.status}`);
    const { token, powersync_url: endpoint } = await answer.json();
    return { endpoint, token };
  };
  return {
    fetchCredentials: credentials,
    async uploadData(database) {
      const transaction = await database.getNextCrudTransaction();
      if (!transaction) return;
      const { token } = await credentials();
      const crud = transaction.crud.map((entry) => ({
        id: entry.id,
        op: entry.op,
        table: entry.table,
        op_data: entry.opData,
        client_op_id: entry.clientId,
        previous_values: entry.previousValues ?? null,
      }));
      const answer = await fetch(`${backend}/api/data`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({
          client_id: await database.getClientId(),
          transactions: [{ crud, transaction_id: transaction.transactionId }],
        }),
      });
      if (!answer.ok) throw new Error(`upload failed: HTTP ${answer.status}`);
      const [result] = (await answer.json()).results;
      if (result.status === 'retryable_error') throw new Error(result.message);
      await transaction.complete(); // what was refused is with the backend, and comes back as a row
    },
  };
}

async function stateOf({ db, online }) {
  const status = db.currentStatus;
  const count = async (table) => (await db.get(`SELECT count(*) AS count FROM ${table}`)).count;
  const todos = await db.getAll(
    `SELECT id, list_id, description, completed FROM todos ORDER BY created_at IS NULL, created_at, description LIMIT ${ROWS_SHOWN_MAX}`,
  );
  const lists = await db.getAll(`SELECT id, name FROM lists ORDER BY created_at IS NULL, created_at, name LIMIT ${ROWS_SHOWN_MAX}`);
  const queue = await db.getAll(`SELECT id, data FROM ps_crud ORDER BY id LIMIT ${CHANGES_SHOWN_MAX}`);
  const queued = await count('ps_crud');
  const error = status.downloadError ?? status.uploadError;
  return {
    name: "Alice's browser",
    online,
    state: wordFor(status, { online, queued }),
    last_synced_at: status.lastSyncedAt?.toISOString() ?? null,
    error: online ? (error?.message ?? null) : null,
    lists: grouped(lists, todos),
    row_count: (await count('lists')) + (await count('todos')),
    queue: queue.map(({ id, data }) => {
      const { op, type, data: values } = JSON.parse(data);
      return { id, op, table: type, values: values ?? {} };
    }),
    queue_count: queued,
    rejections: (
      await db.getAll(`SELECT id, code, message, operations FROM powersync_write_results WHERE resolved = 0 LIMIT ${CHANGES_SHOWN_MAX}`)
    ).map((row) => ({ ...row, operations: JSON.parse(row.operations).map(({ op, table }) => `${op} ${table}`) })),
    conflicts: (
      await db.getAll(`SELECT id, client_data, server_data FROM write_conflicts WHERE resolved = 0 LIMIT ${CHANGES_SHOWN_MAX}`)
    ).map((row) => ({ id: row.id, mine: textOf(row.client_data), theirs: textOf(row.server_data) })),
  };
}

function wordFor(status, { online, queued }) {
  if (!online) return 'offline';
  if (!status.connected) return status.connecting ? 'connecting' : 'offline';
  const { downloading, uploading } = status.dataFlowStatus;
  return !status.hasSynced || downloading || uploading || queued > 0 ? 'syncing' : 'synced';
}

const textOf = (json) => JSON.parse(json).description ?? json;

function grouped(lists, todos) {
  const shown = (todo) => ({ id: todo.id, description: todo.description ?? '', completed: Boolean(todo.completed) });
  const known = new Set(lists.map((list) => list.id));
  const groups = lists.map((list) => ({ ...list, name: list.name ?? '', todos: todos.filter((todo) => todo.list_id === list.id).map(shown) }));
  const orphans = todos.filter((todo) => !known.has(todo.list_id)).map(shown);
  return orphans.length ? [...groups, { id: null, name: 'Of a list that is not here', todos: orphans }] : groups;
}

const actions = {
  async airplane(device, { on }) {
    device.online = !on;
    await (on ? device.db.disconnect() : device.connect());
  },
  add_list: ({ db }, { name }) => db.execute('INSERT INTO lists (id, name) VALUES (uuid(), ?)', [name]),
  delete_list: ({ db }, { id }) =>
    db.writeTransaction(async (tx) => {
      await tx.execute('DELETE FROM todos WHERE list_id = ?', [id]);
      await tx.execute('DELETE FROM lists WHERE id = ?', [id]);
    }),
  add_todo: ({ db }, { list_id, description }) =>
    db.execute('INSERT INTO todos (id, list_id, description, completed) VALUES (uuid(), ?, ?, 0)', [list_id, description]),
  describe_todo: ({ db }, { id, description }) => db.execute('UPDATE todos SET description = ? WHERE id = ?', [description, id]),
  complete_todo: ({ db }, { id, completed }) => db.execute('UPDATE todos SET completed = ? WHERE id = ?', [Number(completed), id]),
  delete_todo: ({ db }, { id }) => db.execute('DELETE FROM todos WHERE id = ?', [id]),
  break_check: (device) => actions.add_list(device, { name: `This name is too long: ${'long '.repeat(12)}indeed` }),
  break_policy: (device) =>
    actions.add_todo(device, { list_id: device.foreignList, description: "Written into somebody else's list" }),
  dismiss_rejection: ({ db }, { id }) => db.execute('UPDATE powersync_write_results SET resolved = 1 WHERE id = ?', [id]),
  settle_conflict: ({ db }, { id, mine }) =>
    db.writeTransaction(async (tx) => {
      if (mine) {
        const { row_id, client_data } = await tx.get('SELECT row_id, client_data FROM write_conflicts WHERE id = ?', [id]);
        await tx.execute('UPDATE todos SET description = ? WHERE id = ?', [textOf(client_data), row_id]);
      }
      await tx.execute('UPDATE write_conflicts SET resolved = 1 WHERE id = ?', [id]);
    }),
};
