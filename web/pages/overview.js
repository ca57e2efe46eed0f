// The whole at a glance: where transactions are between a receipt and finality, how fast they move, what came last.

import { find, get } from "../api.js";
import { chart } from "../chart.js";
import { h } from "../dom.js";
import { between, median, number, plural, rate, span, wei } from "../format.js";
import { card, chip, empty, facts, hash, heading, link, STATES, tiles } from "../parts.js";
import { batchTable } from "./batches.js";
import { transactionTable } from "./transactions.js";

const MINUTES = 60;
const FEWEST = 15; // columns of the chart
const RATE_MINUTES = 5;
const NEXT = ["for a batch", "for L1", "for a proof on L1", "for depth", null];

async function load(_id, _fields, signal) {
  const [activity, batches, transactions, settlement] = await Promise.all([
    get(`/v1/activity?minutes=${MINUTES}`, signal),
    get("/v1/batches?limit=20", signal),
    get("/v1/transactions?limit=8", signal),
    find("/v1/settlement", signal),
  ]);
  return { activity, batches: batches.items, transactions: transactions.items, settlement };
}

const level = (levels, index, state) => Number(levels[Math.max(0, index)][state]);

// How many a minute, over the last few.
function perMinute(levels, state) {
  const last = levels.length - 1;
  const first = Math.max(0, last - RATE_MINUTES);
  const minutes = between(levels[first].at, levels[last].at) / 60_000;
  return minutes > 0 ? (level(levels, last, state) - level(levels, first, state)) / minutes : 0;
}

function pipeline(levels, status) {
  const last = levels.length - 1;
  const stage = (state, i) => {
    const total = level(levels, last, state);
    const waiting = i < STATES.length - 1 ? total - level(levels, last, STATES[i + 1]) : 0;
    const batch = i ? status[state].batch : null;
    return h(
      "li",
      { class: `stage ${state}` },
      h("div", { class: "stage-name" }, chip(state), batch && batch !== "0" && link(`/batches/${batch}`, `batch ${number(batch)}`)),
      h("div", { class: "big" }, number(total)),
      h("div", { class: "sub" }, h("span", null, rate(perMinute(levels, state))), NEXT[i] && h("span", { class: waiting ? "waiting" : "none" }, waiting ? `${number(waiting)} waiting ${NEXT[i]}` : "none waiting")),
    );
  };
  return h("ol", { class: "pipeline", "aria-label": "Transactions by how far they have come" }, STATES.map(stage));
}

// A young node's chart begins with its first transaction.
function columns(levels) {
  const all = levels.slice(1).map((to, i) => {
    const from = levels[i];
    const grown = (state) => Math.max(0, Number(to[state]) - Number(from[state]));
    return { from: from.at, to: to.at, arrived: grown("accepted"), finished: grown("final") };
  });
  const isNew = levels[0].accepted === "0";
  const first = all.findIndex((point) => point.arrived > 0);
  return isNew && first > 0 ? all.slice(Math.min(first, MINUTES - FEWEST)) : all;
}

function figures({ batches, activity, settlement }) {
  const levels = activity.levels;
  const proven = level(levels, levels.length - 1, "proven");
  const gas = settlement?.costs?.kinds?.reduce((sum, kind) => sum + kind.gas, 0);
  const cost = settlement?.costs;
  const wait = median(batches.map((batch) => between(batch.computed_at, batch.proof_stored_at)));
  const final = median(batches.map((batch) => between(batch.sealed_at, batch.l1.final_at)));
  return tiles([
    ["Batch to proof", span(wait), "median of the last batches"],
    ["Sealed to final", span(final), "median of the last batches"],
    settlement && ["L1 gas a transaction", proven && gas ? number(Math.round(gas / proven)) : "\u2013", "everything settled so far"],
    settlement && ["L1 cost a batch", cost?.usd_per_batch ? `$${cost.usd_per_batch}` : wei(cost?.wei_per_batch), cost?.usd_per_batch ? wei(cost.wei_per_batch) : "mean of all batches"],
    settlement && ["Operator's balance", wei(settlement.operator_balance_wei), settlement.batches_affordable !== null && `lasts ${plural(settlement.batches_affordable, "batch", "batches")}`],
  ]);
}

function warnings(status, settlement) {
  const found = [
    status.trusted_setup.startsWith("INSECURE") && ["warn", "Development keys: anybody can forge proofs of this deployment. Nothing in it is worth anything."],
    settlement?.alarm && ["bad", `Settlement needs a person: ${settlement.alarm}`],
    settlement?.blocked && ["warn", `Settlement waits: ${settlement.blocked}`],
    settlement?.balance_low && ["warn", "The operator's balance on L1 is low."],
  ];
  return found.filter(Boolean).map(([kind, text]) => h("p", { class: `notice ${kind}` }, text));
}

function deployment(status, settlement) {
  const base = status.l1_explorer;
  const address = base ? `${base}/address/${status.contract}` : undefined;
  return card(
    "Deployment",
    facts([
      ["Contract", hash(status.contract, { href: address, what: "contract's address", whole: true })],
      ["Chain", status.chain_id],
      ["L1 head", settlement?.head ? number(settlement.head) : null],
      ["State", `${number(2 ** status.k)} slots`],
      ["State root", hash((status.computed ?? status.sealed).root, { what: "state root", whole: true })],
      ["L1 queue", `${number(status.queue_taken)} of ${number(status.queue_known)} entries taken`],
      ["Circuits", h("ul", { class: "plain-list" }, status.circuits.map((circuit) => h("li", null, `${circuit.name}: ${plural(circuit.transfers, "transfer")}, ${plural(circuit.accounts, "account")}${circuit.constraints ? `, ${number(circuit.constraints)} constraints` : ""}`)))],
      ["Keys", status.trusted_setup],
    ]),
  );
}

function view(data, { status, redraw }) {
  const { activity, batches, transactions, settlement } = data;
  const more = (href, text) => h("p", { class: "more" }, link(href, text));
  return [
    heading("Overview"),
    warnings(status, settlement),
    pipeline(activity.levels, status),
    card("Transactions per minute", chart(columns(activity.levels), redraw)),
    figures(data),
    h(
      "div",
      { class: "two" },
      card("Latest batches", batches.length ? batchTable(batches.slice(0, 8), status, true) : empty("No batch yet", "The first transaction or deposit opens one."), batches.length > 0 && more("/batches", "All batches")),
      card("Latest transactions", transactions.length ? transactionTable(transactions, true) : empty("No transaction yet", "Send one with the wallet; it appears here at once."), transactions.length > 0 && more("/transactions", "All transactions")),
    ),
    deployment(status, settlement),
  ];
}

export const page = { title: () => "Overview", load, view, every: 3_000 };
