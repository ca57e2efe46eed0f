// Asks the API, and hears of news: server-sent events while they come, looking again where they do not.

const TIMEOUT_MS = 10_000;

// What the API answered instead of what was asked for.
export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail || problem?.message || problem?.title || `the node answered ${status}`);
    this.status = status;
    this.code = problem?.code ?? "";
    this.hint = problem?.hint ?? "";
  }

  // Asking again does not help.
  get isFinal() {
    return this.status >= 400 && this.status < 500 && this.status !== 429 && this.status !== 408;
  }
}

// Nobody answered.
export class Lost extends Error {}

async function ask(path, options, signal) {
  const signals = [AbortSignal.timeout(TIMEOUT_MS), ...(signal ? [signal] : [])];
  let response, text;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.any(signals), headers: { accept: "application/json", ...options?.headers } });
    text = await response.text();
  } catch (error) {
    throw new Lost("nobody answers", { cause: error });
  }
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    if (response.ok) throw new Refused(502, { detail: "what answers here is not a Sheaf node" });
  }
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

export const get = (path, signal) => ask(path, {}, signal);

// `get`, or null where there is nothing, or nothing for everybody.
export const find = (path, signal) =>
  get(path, signal).catch((error) => {
    if (error instanceof Refused && [401, 403, 404].includes(error.status)) return null;
    throw error;
  });

export const post = (path, body, token) =>
  ask(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", authorization: `Bearer ${token}` } });

export const query = (fields) => {
  const given = Object.entries(fields).filter(([, value]) => value);
  return given.length ? `?${new URLSearchParams(given)}` : "";
};

// Calls `heard` at every batch that reaches a state. A browser opens few connections to a host: a tab that nobody sees gives its own up.
export class Events {
  #source = null;
  #heard;

  constructor(heard) {
    this.#heard = heard;
  }

  get areOpen() {
    return this.#source?.readyState === EventSource.OPEN;
  }

  open() {
    if (this.#source && this.#source.readyState !== EventSource.CLOSED) return;
    this.#source = new EventSource("/v1/events?only=batch");
    this.#source.addEventListener("batch", () => this.#heard());
  }

  close() {
    this.#source?.close();
    this.#source = null;
  }
}
