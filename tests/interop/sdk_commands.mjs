// The commands by which tests drive an official JavaScript SDK. The same on every platform: a shell (sdk_node.mjs, sdk_web.mjs) hands
// the SDK's module in, with what differs, and carries commands and answers as JSON.

/** `sdk` is the platform's module, `databaseOptions(options)` what its constructor takes for the command `open`. */
export function makeCommands(sdk, databaseOptions) {
  const { PowerSyncDatabase, Schema, SyncStreamConnectionMethod, Table, column } = sdk;
  let db;
  let credentials; // {endpoint, tokens, fetches}
  let statuses = [];
  let uploads = [];
  let notes; // of a connector of upload_connectors.mjs: {uploads, decisions, answer}
  const subscriptions = new Map();
  const watches = new Map();

  const schemaOf = (tables) =>
    new Schema(
      Object.fromEntries(
        Object.entries(tables).map(([name, columns]) => [
          name,
          new Table(Object.fromEntries(Object.entries(columns).map(([key, type]) => [key, column[type]])), {
            insertOnly: name === 'syncline_mutations',
          }),
        ]),
      ),
    );

  const status = () => ({
    connected: db.currentStatus.connected,
    hasSynced: db.currentStatus.hasSynced ?? false,
    downloadError: db.currentStatus.downloadError?.message ?? null,
    uploadError: db.currentStatus.uploadError?.message ?? null,
  });

  /** Each fetch takes the next token; the last one stays. An empty one stands for a sign-in server that is away. */
  const fetchCredentials = async () => {
    credentials.fetches += 1;
    const token = credentials.tokens.length > 1 ? credentials.tokens.shift() : credentials.tokens[0];
    if (!token) throw new Error('the sign-in server is away');
    return { endpoint: credentials.endpoint, token };
  };

  const uploadTo = (backend, token) => async (database) => {
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
  };

  /** Remember what an app would see: which priorities are complete at each change of the status, and once how many rows are there then. */
  const noteStatus = (counted) => async (current) => {
    const note = { synced: current.hasSynced ?? false, priorities: {}, rows: null };
    for (const entry of current.priorityStatusEntries ?? []) note.priorities[entry.priority] = entry.hasSynced ?? false;
    const isFirst = !statuses.some((earlier) => isPartial(earlier));
    statuses.push(note);
    if (isFirst && isPartial(note)) {
      const sums = counted.map((table) => `(SELECT count(*) FROM ${table}) AS ${table}`).join(', ');
      note.rows = (await db.getAll(`SELECT ${sums}`))[0];
    }
  };

  const isPartial = ({ synced, priorities }) => Object.values(priorities).includes(true) && !synced;
  const keyOf = (stream, parameters) => JSON.stringify([stream, parameters ?? null]);

  const commands = {
    async open(options) {
      db = new PowerSyncDatabase({ schema: schemaOf(options.tables), ...databaseOptions(options) });
      statuses = [];
      uploads = [];
      await db.init();
      db.registerListener({ statusChanged: noteStatus(options.counted) });
      return { clientId: await db.getClientId(), version: db.sdkVersion };
    },
    async connect({ endpoint, tokens, backend, uploadToken, transport, params, checkpointMode }) {
      credentials = { endpoint, tokens: [...tokens], fetches: 0 };
      const connector = { fetchCredentials, uploadData: uploadTo(backend, uploadToken) };
      await db.connect(connector, {
        connectionMethod: SyncStreamConnectionMethod[transport === 'websocket' ? 'WEB_SOCKET' : 'HTTP'],
        params,
        checkpointMode: checkpointMode ?? 'legacy',
        retryDelayMs: 200,
        crudUploadThrottleMs: 50,
      });
      return status();
    },
    /** Connect with a connector of upload_connectors.mjs. */
    async connectWith({ connector, ...options }) {
      const { makeConnector } = await import('./upload_connectors.mjs');
      notes = { uploads: [], decisions: [], answer: 'retain' };
      await db.connect(makeConnector(connector, options, notes), {
        connectionMethod: SyncStreamConnectionMethod[options.transport === 'websocket' ? 'WEB_SOCKET' : 'HTTP'],
        retryDelayMs: 200,
        crudUploadThrottleMs: 50,
      });
    },
    /** What the connector has noted; `answer` is what the app says from now on where it is asked to decide. */
    async notes({ answer }) {
      if (answer) notes.answer = answer;
      return notes;
    },
    async firstSync() {
      const startedMs = performance.now();
      await db.waitForFirstSync();
      return { ...status(), tookMs: performance.now() - startedMs };
    },
    async all({ sql, parameters }) {
      return await db.getAll(sql, parameters ?? []);
    },
    async execute({ sql, parameters }) {
      await db.execute(sql, parameters ?? []);
    },
    /** Write, and read the same row again in the next statement: the rows as the app sees them before anything is sent. */
    async writeThenRead({ write, read }) {
      await db.execute(write);
      return await db.getAll(read);
    },
    async subscribe({ stream, parameters, ttl, priority }) {
      const handle = await db.syncStream(stream, parameters).subscribe({ ttl, priority });
      subscriptions.set(keyOf(stream, parameters), handle);
      await handle.waitForFirstSync();
    },
    async unsubscribe({ stream, parameters }) {
      subscriptions.get(keyOf(stream, parameters)).unsubscribe();
    },
    async stream({ stream, parameters }) {
      const found = db.currentStatus.forStream({ name: stream, parameters: parameters ?? null });
      if (!found) return null;
      return {
        active: found.subscription.active,
        priority: found.priority,
        hasSynced: found.subscription.hasSynced,
      };
    },
    /** Start to record every result of a query; `recorded` gives the results and ends it. */
    async record({ name, sql }) {
      const recording = { results: [], ended: new AbortController() };
      watches.set(name, recording);
      db.watch(
        sql,
        [],
        { onResult: (result) => recording.results.push(rowsOf(result)) },
        { signal: recording.ended.signal, throttleMs: 1 },
      );
    },
    async recorded({ name }) {
      const recording = watches.get(name);
      recording.ended.abort();
      return recording.results;
    },
    async status() {
      return status();
    },
    async statuses() {
      return statuses;
    },
    async uploads() {
      return uploads;
    },
    async fetches() {
      return credentials.fetches;
    },
    async queue() {
      return (await db.getUploadQueueStats()).count;
    },
    async requestCheckpoint() {
      await (await db.requestCheckpoint()).waitForSync();
    },
    async disconnect() {
      await db.disconnect();
    },
    async disconnectAndClear({ soft }) {
      await db.disconnectAndClear({ soft: soft ?? false });
    },
    async close() {
      await db.close({ disconnect: true });
    },
    /** Wait in here rather than by asking again from outside: the rows are there as soon as the watch says so. */
    async until({ sql, rows, timeoutMs }) {
      const wanted = JSON.stringify(rows);
      const deadline = AbortSignal.timeout(timeoutMs);
      let last = null;
      try {
        for await (const result of db.watch(sql, [], { signal: deadline })) {
          last = rowsOf(result);
          if (JSON.stringify(last) === wanted) return;
        }
      } catch (error) {
        if (!deadline.aborted) throw error;
      }
      throw new Error(`timed out; last rows: ${JSON.stringify(last)}; status: ${JSON.stringify(status())}`);
    },
  };
  return commands;
}

const rowsOf = (result) => result.rows?._array ?? [];

/** One command as a line of JSON in, its answer as a line of JSON out. */
export async function answer(commands, line) {
  const { id, command, ...options } = JSON.parse(line);
  try {
    return JSON.stringify({ id, result: (await commands[command](options)) ?? null });
  } catch (error) {
    return JSON.stringify({ id, error: String(error?.stack ?? error) });
  }
}
