// What people asked for on L1: deposits, forced exits, key rotations, in the order of the contract's queue.

import { get, query } from "../api.js";
import { h } from "../dom.js";
import { amount, number, plural } from "../format.js";
import { batchLink, card, chip, empty, hash, heading, onL1, pager, slotLink, table, when } from "../parts.js";

const NAMES = { deposit: "deposit", exit: "forced exit", rotation: "key rotation" };

function queueTable(items, status) {
  const columns = [
    { name: "Entry", cell: (line) => h("span", { class: "strong" }, number(line.queue_index)) },
    { name: "Kind", cell: (line) => NAMES[line.op] ?? line.op },
    { name: "State", top: true, cell: (line) => (line.refund_tx || (line.op === "deposit" && line.batch && !line.slot) ? chip("refunded", "given back on L1") : chip(line.state)) },
    { name: "Amount", right: true, cell: (line) => (line.amount ? amount(line.amount, line.token) : h("span", { class: "none" }, "\u2013")) },
    { name: "Slot", right: true, cell: (line) => slotLink(line.slot) },
    { name: "Sent by", cell: (line) => hash(line.sender, { what: "sender's L1 address" }) },
    { name: "L1 transaction", cell: (line) => onL1(line.refund_tx ?? line.l1_tx, status.l1_explorer) },
    { name: "Batch", right: true, cell: (line) => batchLink(line.batch) },
    { name: "Queued", right: true, cell: (line) => when(line.queued_at) },
  ];
  return table("Entries of the L1 queue", columns, items, (line) => `entry-${line.queue_index}`);
}

export const list = {
  title: () => "Deposits and exits",
  load: (_id, fields, signal) => get(`/v1/queue${query({ cursor: fields.cursor, limit: "25" })}`, signal),
  view: (page, { status }, _id, fields) => [
    heading("Deposits and exits", h("span", { class: "none" }, `${number(status.queue_taken)} of ${plural(status.queue_known, "entry", "entries")} taken`)),
    card(
      null,
      page.items.length ? queueTable(page.items, status) : empty("The L1 queue is empty", "Deposits, forced exits and key rotations appear here as soon as their L1 transaction is seen."),
      pager("/queue", fields, page.next),
    ),
  ],
};
