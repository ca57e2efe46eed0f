// The prover fleet: who works on what, what went wrong, what waits for a person. An operator's token allows orders; it stays in this page's memory.

import { Refused, find, post } from "../api.js";
import { h } from "../dom.js";
import { number, plural, span } from "../format.js";
import { batchLink, card, chip, empty, heading, say, table, tiles, when } from "../parts.js";

const SILENT_S = 75; // an idle worker asks every half a minute
const WAITING = 20; // jobs shown that nobody has, the oldest, which hold up settlement
let token = ""; // of the operator, until the page is left

const ORDERS = {
  retry: "Send it back to work; only failures from now on count.",
  reseal: "Take its batch back from L1, with all after it, and seal what is in it again in another circuit.",
  park: "Give it to nobody until it is sent back to work.",
  cancel: "Take it from its worker and give it to another.",
  drain: "Give it no more jobs: it finishes the one that it has.",
  resume: "Give it jobs again.",
};

// Asks why, then orders; the answer is shown where it was asked.
function order(verb, path, what, { refresh, redraw }) {
  const wrong = h("p", { class: "notice bad", role: "alert", hidden: true });
  const reason = h("input", { id: "reason", required: true, maxlength: 200, autocomplete: "off" });
  const send = h("button", { type: "submit" }, verb);
  const close = () => dialog.close();
  const submit = async (event) => {
    event.preventDefault();
    send.disabled = true;
    try {
      await post(`/prover/v1/${path}/${verb}`, { reason: reason.value.trim() }, token);
      close();
      say(`${verb}: done`);
      refresh();
    } catch (error) {
      if (error instanceof Refused && error.status === 401) token = "";
      if (error instanceof Refused) wrong.replaceChildren(error.message, ...(error.hint ? [h("br"), `Hint: ${error.hint}.`] : []));
      else wrong.textContent = "The node did not answer: look whether it was done.";
      wrong.hidden = false;
      send.disabled = false;
    }
  };
  const dialog = h(
    "dialog",
    { "aria-label": `${verb} ${what}` },
    h(
      "form",
      { onsubmit: submit },
      h("h2", null, `${verb} ${what}`),
      h("p", { class: "note" }, ORDERS[verb]),
      h("label", { for: "reason" }, "Why, for the audit log"),
      reason,
      wrong,
      h("div", { class: "row" }, send, h("button", { type: "button", class: "plain", onclick: close }, "Leave it")),
    ),
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    redraw();
  });
  document.body.append(dialog);
  dialog.showModal();
}

const orders = (verbs, path, what, context) =>
  h("div", { class: "row" }, verbs.map((verb) => h("button", { type: "button", class: "plain", "aria-label": `${verb} ${what}`, onclick: () => order(verb, path, what, context) }, verb)));

function operator({ redraw }) {
  if (token) {
    const forget = () => {
      token = "";
      redraw();
    };
    return h("div", { class: "beside row" }, h("span", { class: "chip ready", title: "orders are allowed" }, "operator"), h("button", { type: "button", class: "plain", onclick: forget }, "Forget token"));
  }
  const use = (event) => {
    event.preventDefault();
    token = event.target.elements.token.value.trim();
    redraw();
  };
  return h(
    "details",
    { class: "beside operator" },
    h("summary", null, "Operator"),
    h(
      "form",
      { class: "ask", onsubmit: use },
      h("label", { for: "token" }, "Operator's token, to retry, park, cancel and drain. It is kept in this page's memory only."),
      h("div", null, h("input", { id: "token", name: "token", type: "password", autocomplete: "off", required: true, maxlength: 200 }), h("button", { type: "submit" }, "Use")),
    ),
  );
}

const none = () => h("span", { class: "none" }, "\u2013");

export function progress(phase, percent) {
  if (!phase) return none();
  return h("span", null, phase, percent !== null && ` ${percent} %`, percent !== null && h("progress", { max: 100, value: percent, "aria-label": `${phase}, ${percent} per cent` }));
}

function leaseTable(fleet, names, context) {
  const columns = [
    { name: "Batch", cell: (job) => batchLink(String(job.batch)) },
    { name: "State", top: true, cell: (job) => chip(job.state, job.state === "expired" ? "its worker does not answer" : "a worker has it") },
    { name: "Circuit", cell: (job) => names(job.circuit) },
    { name: "Worker", cell: (job) => job.worker },
    { name: "Progress", cell: (job) => progress(job.phase, job.percent) },
    { name: "Attempts", right: true, cell: (job) => number(job.attempts) },
    { name: "Lease ends", right: true, cell: (job) => (job.lease_ms < 0 ? `${span(-job.lease_ms)} ago` : `in ${span(job.lease_ms)}`) },
    token && { name: "Orders", right: true, cell: (job) => orders(["cancel", "park"], `jobs/${job.batch}`, `batch ${job.batch}`, context) },
  ];
  return table("Leases", columns.filter(Boolean), oldestFirst(fleet.leases), (job) => `lease-${job.batch}`);
}

function parkedTable(fleet, names, context) {
  const columns = [
    { name: "Batch", cell: (job) => batchLink(String(job.batch)) },
    { name: "State", top: true, cell: (job) => chip("parked", job.taken_back ? "is being taken back from L1" : "waits for an operator") },
    { name: "Circuit", cell: (job) => names(job.circuit) },
    { name: "Attempts", right: true, cell: (job) => number(job.attempts) },
    { name: "Last error", cell: (job) => job.last_error ?? none() },
    { name: "Made", right: true, cell: (job) => when(job.created_at) },
    token && { name: "Orders", right: true, cell: (job) => orders(["retry", "reseal"], `jobs/${job.batch}`, `batch ${job.batch}`, context) },
  ];
  return table("Parked jobs", columns.filter(Boolean), oldestFirst(fleet.parked), (job) => `parked-${job.batch}`);
}

function waitingTable(waiting, names, context) {
  const columns = [
    { name: "Batch", cell: (job) => batchLink(String(job.batch)) },
    { name: "State", top: true, cell: () => chip("waiting", "nobody has it") },
    { name: "Circuit", cell: (job) => names(job.circuit) },
    { name: "Attempts", right: true, cell: (job) => number(job.attempts) },
    { name: "Last error", cell: (job) => job.last_error ?? none() },
    { name: "Made", right: true, cell: (job) => when(job.created_at) },
    token && { name: "Orders", right: true, cell: (job) => orders(["park"], `jobs/${job.batch}`, `batch ${job.batch}`, context) },
  ];
  return table("Waiting jobs", columns.filter(Boolean), waiting, (job) => `waiting-${job.batch}`);
}

function stateOf(worker, leases) {
  if (worker.silent_s > SILENT_S) return chip("gone", "it has not asked for a while");
  if (worker.drain_since) return chip("draining", "it gets no more jobs");
  return leases.some((job) => job.worker === worker.name) ? chip("proving", "it has a job") : chip("ready", "it waits for a job");
}

function workerTable(fleet, names, context) {
  const columns = [
    { name: "Worker", cell: (worker) => worker.name },
    { name: "State", top: true, cell: (worker) => stateOf(worker, fleet.leases) },
    { name: "Circuits", cell: (worker) => worker.circuits.map(names).join(", ") },
    { name: "Memory", right: true, cell: (worker) => `${number(worker.memory_mb)} MB` },
    { name: "Proven, 24 h", right: true, cell: (worker) => number(worker.proven) },
    { name: "Failed, 24 h", right: true, cell: (worker) => h("span", { class: worker.failed ? "failed-text" : "" }, number(worker.failed)) },
    { name: "Last seen", right: true, cell: (worker) => when(worker.last_seen) },
    token && { name: "Orders", right: true, cell: (worker) => orders([worker.drain_since ? "resume" : "drain"], `workers/${encodeURIComponent(worker.name)}`, worker.name, context) },
  ];
  return table("Workers", columns.filter(Boolean), fleet.workers, (worker) => `worker-${worker.name}`);
}

function queueTable(fleet) {
  const count = (name, of) => ({ name, right: true, cell: (circuit) => h("span", { class: circuit[of] ? "" : "none" }, number(circuit[of])) });
  const columns = [
    { name: "Circuit", cell: (circuit) => circuit.name },
    { name: "Needs", right: true, cell: (circuit) => `${number(circuit.memory_mb)} MB` },
    count("Waiting", "waiting"),
    count("Leased", "leased"),
    count("Expired", "expired"),
    count("Parked", "parked"),
    { name: "Oldest", right: true, cell: (circuit) => (circuit.oldest_s ? span(circuit.oldest_s * 1000) : none()) },
  ];
  return table("Queues by circuit", columns, fleet.circuits, (circuit) => `circuit-${circuit.circuit}`);
}

// Attempts of one batch or of the fleet, the newest first.
export function attemptTable(attempts, ofBatch = false) {
  const columns = [
    !ofBatch && { name: "Batch", cell: (attempt) => batchLink(String(attempt.batch)) },
    ofBatch && { name: "Lease", cell: (attempt) => number(attempt.lease) },
    { name: "Outcome", top: true, cell: (attempt) => chip(attempt.outcome ?? "leased", null) },
    { name: "Worker", cell: (attempt) => attempt.worker },
    { name: "How far", cell: (attempt) => (attempt.witness_ms === null ? progress(attempt.outcome === "proven" ? null : attempt.phase, attempt.percent) : `witness ${span(attempt.witness_ms)}, proof ${span(attempt.prove_ms)}`) },
    { name: "Why", cell: (attempt) => (attempt.reason ? h("span", null, h("span", { class: "strong" }, attempt.reason), attempt.detail && h("span", { class: "detail" }, attempt.detail)) : none()) },
    { name: "Began", right: true, cell: (attempt) => when(attempt.started_at) },
    { name: "Ended", right: true, cell: (attempt) => when(attempt.ended_at) },
  ];
  return table("Attempts", columns.filter(Boolean), attempts, (attempt) => `attempt-${attempt.batch}-${attempt.lease}`);
}

export function actionTable(actions) {
  const columns = [
    { name: "Order", cell: (action) => action.action.replace(/^prover\./, "") },
    { name: "About", cell: (action) => (action.batch ? h("span", null, "batch ", batchLink(String(action.batch))) : action.worker) },
    { name: "By", cell: (action) => action.actor },
    { name: "Why", cell: (action) => action.reason },
    { name: "When", right: true, cell: (action) => when(action.at) },
  ];
  return table("Orders", columns, actions, (action) => `${action.at}-${action.action}-${action.batch ?? action.worker}`);
}

const oldestFirst = (jobs) => jobs.toSorted((a, b) => a.batch - b.batch);

function view({ fleet, waiting }, context) {
  if (!fleet) return [heading("Fleet"), card(null, empty("No gateway here", "This node has no prover gateway beside its API, or does not lead."))];
  const names = (id) => fleet.circuits.find((circuit) => circuit.circuit === id)?.name ?? `circuit ${id}`;
  const sum = (field) => fleet.circuits.reduce((total, circuit) => total + circuit[field], 0);
  const active = fleet.workers.filter((worker) => worker.silent_s <= SILENT_S).length;
  const oldest = Math.max(0, ...fleet.circuits.map((circuit) => circuit.oldest_s));
  return [
    heading("Fleet", operator(context)),
    fleet.parked.length > 0 && h("p", { class: "notice bad" }, `${plural(fleet.parked.length, "job waits", "jobs wait")} for an operator; later batches are proven, but not settled before ${fleet.parked.length === 1 ? "it" : "them"}.`),
    active === 0 && h("p", { class: "notice warn" }, "No worker has been heard of for a while: batches wait for proofs."),
    tiles([
      ["Workers", number(active), `${number(fleet.workers.length)} in the last days`],
      ["Waiting", number(sum("waiting")), sum("expired") ? `and ${number(sum("expired"))} whose worker is silent` : "jobs that nobody has"],
      ["At work", number(sum("leased")), `a silent lease ends after ${span(fleet.lease_ms)}`],
      ["Parked", number(sum("parked")), `after ${number(fleet.max_failed_workers)} workers failed`],
      ["Oldest job", oldest ? span(oldest * 1000) : "\u2013"],
    ]),
    fleet.parked.length > 0 && card("Parked", parkedTable(fleet, names, context)),
    card("At work", fleet.leases.length ? leaseTable(fleet, names, context) : empty("Nobody is proving", "A job appears here as soon as a worker has it.")),
    waiting.length > 0 && card(waiting.length === WAITING ? `Waiting, the oldest ${WAITING}` : "Waiting", waitingTable(waiting, names, context)),
    card("Workers", fleet.workers.length ? workerTable(fleet, names, context) : empty("No worker yet", "Start one: sheaf prover run")),
    card("Queues", queueTable(fleet)),
    card("Attempts that failed", fleet.faults.length ? attemptTable(fleet.faults) : empty("None lately")),
    fleet.actions.length > 0 && card("Orders", actionTable(fleet.actions)),
  ];
}

export const page = {
  title: () => "Fleet",
  every: 2_000,
  load: async (_id, _fields, signal) => {
    const [fleet, waiting] = await Promise.all([find("/prover/v1/status", signal), find(`/prover/v1/jobs?state=waiting&after=0&limit=${WAITING}`, signal)]);
    return { fleet, waiting: waiting?.jobs ?? [] };
  },
  view,
};
