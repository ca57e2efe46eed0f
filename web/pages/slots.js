// Accounts: found by owner or key, and one slot with its balance and its history.

import { find as findOne, get, query } from "../api.js";
import { h } from "../dom.js";
import { amount, number, tokenName } from "../format.js";
import { batchLink, card, chip, empty, facts, hash, heading, pager, slotLink, table, when } from "../parts.js";

const balanceOf = (slot) => amount(slot.balance, slot.token);
const isAddress = (text) => /^0x[0-9a-f]{40}$/i.test(text);

function form({ go }, fields) {
  const submit = (event) => {
    event.preventDefault();
    const text = event.target.elements.account.value.trim();
    if (/^\d{1,8}$/.test(text)) go(`/slots/${text}`);
    else if (text) go(`/slots?${new URLSearchParams(isAddress(text) ? { owner: text } : { key: text })}`);
  };
  return h(
    "form",
    { class: "ask", onsubmit: submit },
    h("label", { for: "account" }, "Slot number, owner's L1 address, or public key"),
    h("div", null, h("input", { id: "account", name: "account", value: fields.owner ?? fields.key ?? "", autocomplete: "off", spellcheck: "false", maxlength: 80 }), h("button", { type: "submit" }, "Find")),
  );
}

function slotTable(slots) {
  const columns = [
    { name: "Slot", cell: (slot) => slotLink(slot.id) },
    { name: "Token", cell: (slot) => tokenName(slot.token) },
    { name: "Balance", right: true, cell: balanceOf },
    { name: "Nonce", right: true, cell: (slot) => number(slot.nonce) },
    { name: "Owner on L1", cell: (slot) => hash(slot.owner, { what: "owner's L1 address" }) },
  ];
  return table("Slots", columns, slots, (slot) => `slot-${slot.id}`);
}

export const find = {
  title: () => "Slots",
  load: async (_id, fields, signal) => {
    const asked = fields.owner || fields.key;
    return { page: asked ? await get(`/v1/slots${query({ owner: fields.owner, key: fields.key, cursor: fields.cursor, limit: "25" })}`, signal) : null };
  },
  view: ({ page }, context, _id, fields) => [
    heading("Slots"),
    card(null, form(context, fields), !page && h("p", { class: "note" }, "A slot is an account in one token: a key that signs, an owner on L1 who can force its exit, a balance and a nonce.")),
    page && card(fields.owner ? "Slots of this owner" : "Slots of this key", page.items.length ? slotTable(page.items) : empty("No slot", "Nobody has deposited for this account, or not yet."), pager("/slots", fields, page.next)),
  ],
};

// How a line of the history touches this slot.
function movement(line, id) {
  if (line.op === "deposit") return { name: "deposit", sign: "+", amount: line.amount };
  if (line.op === "exit" || line.op === "rotation") return { name: line.op === "exit" ? "forced exit" : "key rotation" };
  if (line.op === "withdraw") return { name: "withdrawal", sign: "\u2212", amount: line.amount };
  if (line.op === "register") return { name: line.from === id ? "register" : "opened" };
  if (line.from === line.to) return { name: "to itself", amount: line.amount };
  return line.from === id ? { name: "sent", sign: "\u2212", amount: line.amount } : { name: "received", sign: "+", amount: line.amount };
}

const other = (line, id) => (line.op === "transfer" ? slotLink(line.from === id ? line.to : line.from) : hash(line.sender ?? line.address, { what: "L1 address" }));

function history(lines, slot) {
  const move = (line) => movement(line, slot.id);
  const columns = [
    { name: "What", cell: (line) => (line.hash ? hash(line.hash, { href: `/transactions/${line.hash}`, what: "transaction hash" }) : `L1 queue entry ${number(line.queue_index)}`) },
    { name: "Kind", cell: (line) => move(line).name },
    { name: "State", top: true, cell: (line) => chip(line.state) },
    { name: "With", cell: (line) => other(line, slot.id) },
    { name: "Amount", right: true, cell: (line) => (move(line).amount ? h("span", { class: move(line).sign === "+" ? "plus" : "" }, `${move(line).sign ?? ""}${amount(move(line).amount, slot.token)}`) : h("span", { class: "none" }, "\u2013")) },
    { name: "Batch", right: true, cell: (line) => batchLink(line.batch) },
    { name: "When", right: true, cell: (line) => when(line.accepted_at) },
  ];
  return table("History", columns, lines, (line) => `seq-${line.seq}`);
}

export const one = {
  title: (id) => `Slot ${id}`,
  load: async (id, fields, signal) => {
    const slot = await findOne(`/v1/slots/${encodeURIComponent(id)}`, signal);
    return { slot, lines: slot && (await get(`/v1/slots/${encodeURIComponent(id)}/transactions${query({ cursor: fields.cursor, limit: "25" })}`, signal)) };
  },
  view: ({ slot, lines }, context, id, fields) => {
    if (!slot) return [heading(`Slot ${id}`), card(null, empty("This slot is empty", "Nobody has an account here, or the number is outside the state."), form(context, fields))];
    return [
      heading(`Slot ${number(slot.id)}`, h("span", { class: "none" }, tokenName(slot.token))),
      h("p", { class: "balance" }, balanceOf(slot)),
      card(
        "Account",
        facts([
          ["Owner on L1", hash(slot.owner, { what: "owner's L1 address", href: `/slots?owner=${slot.owner}`, whole: true })],
          ["Public key", hash(slot.key, { what: "public key", href: `/slots?key=${slot.key}`, whole: true })],
          ["Next nonce", number(slot.nonce)],
          ["Balance", `${number(slot.balance)} of the smallest unit`],
        ]),
      ),
      card("History", lines.items.length ? history(lines.items, slot) : empty("No history"), pager(`/slots/${id}`, fields, lines.next)),
    ];
  },
};
