// Whatever was typed: everything that it could mean, looked up at once. One hit is gone to.

import { find, get } from "../api.js";
import { h } from "../dom.js";
import { card, empty, heading, link } from "../parts.js";

async function hits(text, signal) {
  const number = text.match(/^(batch|slot|[#bs])?\s*(\d{1,19})$/i);
  if (number) {
    const [, kind = "", id] = number;
    const wanted = kind[0]?.toLowerCase();
    const asked = [wanted !== "s" && wanted !== "#" && ["batch", `/batches/${id}`], wanted !== "b" && id.length <= 8 && ["slot", `/slots/${id}`]].filter(Boolean);
    const found = await Promise.all(asked.map(async ([name, path]) => (await find(`/v1${path}`, signal)) && { name: `${name} ${id}`, href: path }));
    return found.filter(Boolean);
  }
  if (/^0x[0-9a-f]{64}$/i.test(text)) {
    const lower = text.toLowerCase();
    const ofKey = get(`/v1/slots?key=${lower}&limit=1`, signal).catch(() => ({ items: [] }));
    const [transaction, slots] = await Promise.all([find(`/v1/transactions/${lower}`, signal), ofKey]);
    return [transaction && { name: `a ${transaction.op}`, href: `/transactions/${lower}` }, slots.items.length && { name: "slots of this key", href: `/slots?key=${lower}` }].filter(Boolean);
  }
  if (/^0x[0-9a-f]{40}$/i.test(text)) {
    const slots = await get(`/v1/slots?owner=${text.toLowerCase()}&limit=1`, signal);
    return slots.items.length ? [{ name: "slots of this owner", href: `/slots?owner=${text.toLowerCase()}` }] : [];
  }
  return [];
}

export const page = {
  title: () => "Search",
  every: 3_600_000,
  load: async (_id, fields, signal) => ({ text: fields.q ?? "", hits: await hits((fields.q ?? "").trim(), signal) }),
  view: ({ text, hits }, { go }) => {
    if (hits.length === 1) queueMicrotask(() => go(hits[0].href, true));
    return [
      heading("Search"),
      card(
        null,
        hits.length
          ? h("ul", { class: "hits" }, hits.map((hit) => h("li", null, link(hit.href, hit.name))))
          : empty(`Nothing found for \u201c${text.slice(0, 80)}\u201d`, "Try a transaction hash (0x and 64 digits), a batch or slot number, an owner's L1 address, or a public key."),
      ),
    ];
  },
};
