// Signed transactions, newest first, and one of them with the time of every state.

import { get, query } from "../api.js";
import { h } from "../dom.js";
import { amount, between, number, span, tokenName } from "../format.js";
import { batchLink, card, chip, count, empty, facts, hash, heading, link, onL1, pager, slotLink, table, way, when } from "../parts.js";

// Where it goes to: a slot here, or an address on L1.
function target(transaction) {
  if (transaction.op === "transfer") return slotLink(transaction.to);
  if (transaction.op === "register") return slotLink(transaction.account);
  return hash(transaction.address, { what: "recipient's L1 address" });
}

export function transactionTable(transactions, brief = false) {
  const columns = [
    { name: "Transaction", cell: (transaction) => hash(transaction.hash, { href: `/transactions/${transaction.hash}`, what: "transaction hash", small: brief }) },
    !brief && { name: "Kind", cell: (transaction) => transaction.op },
    { name: "State", top: true, cell: (transaction) => chip(transaction.state) },
    !brief && { name: "From", cell: (transaction) => slotLink(transaction.from) },
    !brief && { name: "To", cell: target },
    !brief && { name: "Amount", right: true, cell: (transaction) => (transaction.op === "register" ? h("span", { class: "none" }, "\u2013") : amount(transaction.amount, transaction.token)) },
    !brief && { name: "Batch", right: true, cell: (transaction) => batchLink(transaction.batch) },
    { name: "Accepted", right: true, cell: (transaction) => when(transaction.accepted_at) },
  ];
  return table("Transactions", columns.filter(Boolean), transactions, (transaction) => transaction.hash, brief);
}

export const list = {
  title: () => "Transactions",
  load: (_id, fields, signal) => get(`/v1/transactions${query({ cursor: fields.cursor, limit: "25" })}`, signal),
  view: (page, _context, _id, fields) => [
    heading("Transactions", h("span", { class: "none" }, count(page.items, page.next, "transaction"))),
    card(null, page.items.length ? transactionTable(page.items) : empty("No transaction yet", "Send one with the wallet; it appears here at once."), pager("/transactions", fields, page.next)),
  ],
};

const KINDS = { transfer: "Transfer", withdraw: "Withdrawal", register: "Register" };

function what(transaction) {
  const { op, token } = transaction;
  const isRegister = op === "register";
  return facts([
    ["From", h("span", null, "slot ", slotLink(transaction.from))],
    op === "transfer" && ["To", h("span", null, "slot ", slotLink(transaction.to))],
    op === "withdraw" && ["To", hash(transaction.address, { what: "recipient's L1 address", whole: true })],
    isRegister && ["Account", h("span", null, "slot ", slotLink(transaction.account))],
    isRegister && ["Its owner", hash(transaction.owner, { what: "owner's L1 address", href: `/slots?owner=${transaction.owner}`, whole: true })],
    isRegister && ["Its key", hash(transaction.key, { what: "key", href: `/slots?key=${transaction.key}`, whole: true })],
    isRegister && ["Its token", tokenName(transaction.account_token)],
    !isRegister && ["Amount", amount(transaction.amount, token)],
    ["Fee", amount(transaction.fee, token)],
    ["Token", tokenName(token)],
    ["Nonce", number(transaction.nonce)],
    ["Place in the order", number(transaction.seq)],
    ["Batch", transaction.batch ? link(`/batches/${transaction.batch}`, `batch ${number(transaction.batch)}`) : "none yet"],
  ]);
}

export const one = {
  title: () => "Transaction",
  load: (id, _fields, signal) => get(`/v1/transactions/${encodeURIComponent(id)}`, signal),
  view: (transaction, { status }) => {
    const { l1, state } = transaction;
    const took = between(transaction.accepted_at, l1.final_at);
    const steps = [
      { state: "accepted", at: transaction.accepted_at },
      { state: "sealed", at: transaction.sealed_at, note: transaction.batch && `batch ${number(transaction.batch)}` },
      { state: "committed", at: l1.committed_at, note: `L1 block ${number(l1.commit_block)}` },
      { state: "proven", at: l1.proven_at, note: `L1 block ${number(l1.prove_block)}` },
      { state: "final", at: l1.final_at, note: took > 0 && `${span(took)} after acceptance` },
    ];
    return [
      heading(KINDS[transaction.op] ?? "Transaction", chip(state)),
      h("p", { class: "lead" }, hash(transaction.hash, { what: "transaction hash", whole: true })),
      way(steps, state),
      card("What it does", what(transaction)),
      card(
        "On L1",
        l1.commit_tx
          ? facts([
              ["Committed by", onL1(l1.commit_tx, status.l1_explorer, { whole: true })],
              ["Proven by", l1.prove_tx ? onL1(l1.prove_tx, status.l1_explorer, { whole: true }) : "not yet"],
            ])
          : empty("Not on L1 yet", "Its batch is committed first, and proven some seconds later."),
      ),
    ];
  },
};
