// What the page asks of the service. The token stays in this tab's sessionStorage and goes out in a header only.

const KEY = "syncline-admin-token";

export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const setToken = (token) => sessionStorage.setItem(KEY, token);
export const forgetToken = () => sessionStorage.removeItem(KEY);

/** A refusal of the service, or that it did not answer. */
export class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The answer to a request, as fetch gives it. Paths are relative: the service may be mounted below a prefix. */
export async function send(path, { method = "GET", fields, signal } = {}) {
  const headers = { authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` };
  if (fields !== undefined) headers["content-type"] = "application/json";
  const body = fields === undefined ? undefined : JSON.stringify(fields);
  let answer;
  try {
    answer = await fetch(new URL(path, document.baseURI), { method, headers, body, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "", "The service does not answer.");
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

async function refusal(answer) {
  if (answer.status === 429) return new Refusal(429, "", "The service has too many such requests at present. Try again.");
  const text = await answer.text();
  try {
    const { code, description, details } = JSON.parse(text).error;
    return new Refusal(answer.status, code, `${code}: ${description}${details ? ` ${details}` : ""}`);
  } catch {
    return new Refusal(answer.status, "", `The service answered with status ${answer.status}.`);
  }
}

/** `data` of a question of the dashboard. */
export async function ask(question, fields) {
  const options = fields === undefined ? {} : { method: "POST", fields };
  return (await (await send(`api/dashboard/v1/${question}`, options)).json()).data;
}

/** Deploys a sync config through the admin API. */
export async function deploy(content) {
  return (await (await send("api/sync-rules/v1/deploy", { method: "POST", fields: { content } })).json()).data;
}
