// Batches, newest first, and one of them: its way to finality, its proof, what it cost on L1, what is in it.

import { find, get, query } from "../api.js";
import { h } from "../dom.js";
import { between, bytes, number, span, wei } from "../format.js";
import { batchLink, card, chip, count, empty, facts, hash, heading, link, onL1, pager, table, tiles, way, when } from "../parts.js";
import { attemptTable } from "./fleet.js";
import { transactionTable } from "./transactions.js";

const REASONS = { size: "it was full", age: "its oldest member had waited", cost: "it had reached its bytes on L1", asked: "an operator or the end of the process asked", resealed: "nobody proved it in another circuit, and L1 took it back" };
const circuitOf = (status, id) => status.circuits.find((circuit) => circuit.id === id);
const entries = (batch) => (batch.queue_entries && batch.queue_entries !== "0" ? ` + ${batch.queue_entries}` : "");

export function batchTable(batches, status, brief = false) {
  const columns = [
    { name: "Batch", cell: (batch) => batchLink(batch.number) },
    { name: "State", top: true, cell: (batch) => chip(batch.state) },
    { name: "Holds", right: true, cell: (batch) => h("span", { title: "transactions + L1 queue entries" }, number(batch.transactions), entries(batch)) },
    !brief && { name: "Circuit", cell: (batch) => circuitOf(status, batch.circuit)?.name ?? batch.circuit },
    !brief && { name: "State root", cell: (batch) => hash(batch.root, { what: "state root" }) },
    !brief && { name: "To proof", right: true, cell: (batch) => span(between(batch.computed_at, batch.proof_stored_at)) },
    { name: "Sealed", right: true, cell: (batch) => when(batch.sealed_at) },
  ];
  return table("Batches", columns.filter(Boolean), batches, (batch) => `batch-${batch.number}`, brief);
}

export const list = {
  title: () => "Batches",
  load: (_id, fields, signal) => get(`/v1/batches${query({ cursor: fields.cursor, limit: "25" })}`, signal),
  view: (page, { status }, _id, fields) => [
    heading("Batches", h("span", { class: "none" }, count(page.items, page.next, "batch").replace("batchs", "batches"))),
    card(null, page.items.length ? batchTable(page.items, status) : empty("No batch yet", "The first transaction or deposit opens one."), pager("/batches", fields, page.next)),
  ],
};

function steps(batch) {
  const { l1 } = batch;
  return [
    { state: "sealed", at: batch.sealed_at, note: `because ${REASONS[batch.seal_reason] ?? batch.seal_reason}` },
    { state: "committed", at: l1.committed_at, note: `L1 block ${number(l1.commit_block)}${batch.taken_back ? ", being taken back to be sealed again" : ""}` },
    { state: "proven", at: l1.proven_at, note: `L1 block ${number(l1.prove_block)}` },
    { state: "final", at: l1.final_at },
  ];
}

function content(batch, status) {
  const circuit = circuitOf(status, batch.circuit);
  const room = circuit && `${number(circuit.transfers)} transfers, ${number(circuit.accounts)} accounts`;
  return card(
    "Content",
    facts([
      ["Transactions", number(batch.transactions)],
      ["L1 queue entries", batch.queue_entries && number(batch.queue_entries)],
      ["Circuit", circuit ? `${circuit.name}, room for ${room}` : String(batch.circuit)],
      ["Constraints", circuit?.constraints ? number(circuit.constraints) : null],
      ["Posted on L1", batch.posted_bytes && bytes(batch.posted_bytes)],
      ["State root before", hash(batch.old_root, { what: "state root before", whole: true })],
      ["State root after", hash(batch.root, { what: "state root after", whole: true })],
    ]),
  );
}

function proof(batch) {
  const { proof } = batch;
  if (!proof) return card("Proof", empty("Not proven yet", batch.computed_at ? "A worker of the fleet takes it in its turn." : "The committer works on it."));
  const transactions = Number(batch.transactions);
  const total = Number(proof.witness_ms) + Number(proof.prove_ms);
  return card(
    "Proof",
    facts([
      ["Made by", proof.worker],
      ["Witness", span(Number(proof.witness_ms))],
      ["Proof", span(Number(proof.prove_ms))],
      ["A transaction", transactions ? span(total / transactions) : null],
      ["Attempts", number(proof.leases)],
      ["Stored", when(batch.proof_stored_at, true)],
    ]),
  );
}

// The batches of an L1 transaction; of a commit beside proofs the committed one comes first, as it does in the call.
function about(call) {
  const range = call.batch_from === call.batch_to ? call.batch_from : `${call.batch_from} to ${call.batch_to}`;
  return call.commits ? `${call.commits}, ${range}` : range;
}

function costs(batch, status) {
  const calls = batch.l1_transactions;
  if (!calls.length) return card("On L1", empty("Nothing on L1 yet", "The commit is sent as soon as the batch is computed."));
  const sum = (field) => batch.l1_costs.reduce((total, cost) => total + BigInt(cost[field]), 0n);
  const each = (total) => (batch.transactions === "0" ? null : total / BigInt(batch.transactions));
  const usd = batch.l1_costs.every((cost) => cost.usd) && batch.l1_costs.reduce((total, cost) => total + Number(cost.usd), 0);
  const columns = [
    { name: "Call", cell: (call) => h("span", { class: call.succeeded ? "strong" : "strong failed-text" }, `${call.kind.replaceAll("_", " ")}${call.succeeded ? "" : " (reverted)"}`) },
    { name: "L1 transaction", cell: (call) => onL1(call.hash, status.l1_explorer) },
    { name: "Block", right: true, cell: (call) => number(call.block) },
    { name: "Batches", right: true, cell: about },
    { name: "Call data", right: true, cell: (call) => bytes(call.calldata_bytes) },
    { name: "Gas", right: true, cell: (call) => number(call.gas) },
    { name: "Paid", right: true, cell: (call) => wei(BigInt(call.gas) * BigInt(call.gas_price)) },
  ];
  return card(
    "On L1",
    tiles([
      ["Gas of this batch", number(sum("gas").toString()), "its share of each call"],
      each(sum("gas")) !== null && ["Gas a transaction", number(each(sum("gas")).toString())],
      ["Paid", wei(sum("wei")), usd && `$${usd.toFixed(4)}`],
      each(sum("wei")) !== null && ["Paid a transaction", wei(each(sum("wei"))), usd && `$${(usd / Number(batch.transactions)).toFixed(6)}`],
    ]),
    table("L1 transactions", columns, calls, (call) => call.hash),
  );
}

export const one = {
  title: (id) => `Batch ${id}`,
  load: async (id, fields, signal) => {
    const [batch, members, job] = await Promise.all([
      get(`/v1/batches/${encodeURIComponent(id)}`, signal),
      get(`/v1/transactions${query({ batch: id, cursor: fields.cursor, limit: "25" })}`, signal),
      find(`/prover/v1/jobs/${encodeURIComponent(id)}`, signal),
    ]);
    return { batch, members, job };
  },
  view: ({ batch, members, job }, { status }, id, fields) => {
    const at = BigInt(batch.number);
    const newest = BigInt(status.sealed.batch) <= at && batch.state === "sealed";
    return [
      heading(
        `Batch ${number(batch.number)}`,
        chip(batch.state),
        h("nav", { class: "beside", "aria-label": "Neighbours" }, at > 1n && link(`/batches/${at - 1n}`, "\u2190 Previous"), !newest && link(`/batches/${at + 1n}`, "Next \u2192")),
      ),
      way(steps(batch), batch.state),
      h("div", { class: "two wide-first" }, content(batch, status), proof(batch)),
      costs(batch, status),
      job?.attempts.length > 0 && card("Attempts", attemptTable(job.attempts, true)),
      card(
        "Transactions",
        members.items.length ? transactionTable(members.items) : empty("No signed transactions", "This batch only takes entries of the L1 queue."),
        pager(`/batches/${id}`, fields, members.next),
      ),
    ];
  },
};
