// Connectors for `@powersync/node` as apps write them: one for the batches of the write API (docs/reference/write-api.md), one that makes
// the requests of the field's todo demos. Both get their token from the backend's own route, and note what they were told.

/** A connector of this `kind`. `notes.uploads` gets the statuses of each answer, `notes.decisions` what the app was asked to decide. */
export function makeConnector(kind, options, notes) {
  return kind === 'demo' ? demoConnector(options) : batchConnector(options, notes);
}

async function fetchToken({ backend, userId }) {
  const response = await fetch(`${backend}/api/auth/token?user_id=${encodeURIComponent(userId)}`);
  if (!response.ok) throw new Error(`no token: HTTP ${response.status}`);
  return await response.json();
}

function demoConnector(options) {
  let token;
  return {
    async fetchCredentials() {
      const answer = await fetchToken(options);
      token = answer.token;
      return { endpoint: answer.powersync_url, token };
    },
    async uploadData(database) {
      const transaction = await database.getNextCrudTransaction();
      if (!transaction) return;
      const batch = transaction.crud.map(({ op, table, id, opData }) => ({ op, table, id, data: opData }));
      const response = await fetch(`${options.backend}/api/data`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(options.sendToken && { authorization: `Bearer ${token}` }) },
        body: JSON.stringify({ batch }),
      });
      if (!response.ok) throw new Error(`HTTP ${response.status} from /api/data: ${await response.text()}`);
      await transaction.complete();
    },
  };
}

function batchConnector(options, notes) {
  let token;
  const currentToken = async () => (token ??= (await fetchToken(options)).token);

  async function send(transactions) {
    const body = {
      transactions: transactions.map(({ crud, transactionId }) => ({
        transaction_id: transactionId,
        crud: crud.map((entry) => ({
          id: entry.id,
          op: entry.op,
          table: entry.table,
          op_data: entry.opData,
          transaction_id: entry.transactionId,
        })),
      })),
    };
    const response = await fetch(`${options.backend}/api/data`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${await currentToken()}` },
      body: JSON.stringify(body),
    });
    if (response.status === 401 || response.status === 403) token = undefined; // the next attempt has a new one
    if (response.status !== 200) throw new Error(`upload failed: HTTP ${response.status}`);
    const results = (await response.json()).results; // throws for what is no JSON: everything is kept
    if (!Array.isArray(results) || results.length !== transactions.length) throw new Error('one result per transaction is missing');
    return results;
  }

  /** Whether a transaction leaves the queue. Throws what keeps it there. */
  function isSettled(result) {
    switch (result.status) {
      case 'success':
        return true;
      case 'not_attempted':
        return false;
      case 'fatal_error':
        if (result.requires_client_handling === false) return true;
        notes.decisions.push(result.failed_operation.error_code);
        if (notes.answer === 'complete') return true;
        throw new Error(`the app keeps a transaction: ${result.message}`);
      default:
        throw new Error(`not now: ${result.message}`);
    }
  }

  return {
    async fetchCredentials() {
      return { endpoint: options.endpoint, token: (await fetchToken(options)).token };
    },
    async uploadData(database) {
      for (;;) {
        const transactions = [];
        for await (const transaction of database.getCrudTransactions()) {
          transactions.push(transaction);
          if (transactions.length === options.maxTransactions) break;
        }
        if (transactions.length === 0) return;
        const results = await send(transactions);
        notes.uploads.push(results.map(({ status }) => status));
        let settled = 0;
        let failure;
        try {
          while (settled < results.length && isSettled(results[settled])) settled += 1;
        } catch (error) {
          failure = error;
        }
        if (settled > 0) await transactions[settled - 1].complete(); // takes those before it along
        if (failure) throw failure;
        if (settled === 0) throw new Error('the backend has settled nothing');
      }
    },
  };
}
