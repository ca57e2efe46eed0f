// What every page is made of: chips, hashes with a copy button, times, tables, pages of lists, the way of a batch.

import { h, s } from "./dom.js";
import { ago, brief, exactly, moment, number, plural } from "./format.js";

export const STATES = ["accepted", "sealed", "committed", "proven", "final"];
const MEANING = {
  accepted: "on the sequencer's disk",
  sealed: "in a batch",
  committed: "its data is on L1",
  proven: "its proof was checked on L1",
  final: "deep enough in L1",
  queued: "waits in the L1 queue",
};

export const chip = (state, title = MEANING[state]) => h("span", { class: `chip ${state}`, title }, state);

export const link = (href, ...text) => h("a", { href }, ...text);

// A time, both ways: the page's clock rewrites the relative part.
export const when = (text, both = false) =>
  text
    ? h("time", { datetime: text, title: exactly(text) }, h("span", { class: "ago", "data-at": text }, ago(text)), both && h("span", { class: "moment" }, moment(text)))
    : h("span", { class: "none" }, "\u2013");

const icon = (d) => s("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d }));
const COPY = "M5.500 5.500v-3h8v8h-3M2.500 5.500h8v8h-8z";
const DONE = "M3 8.500l3.500 3.500L13 4.500";

export function say(text) {
  document.getElementById("say").textContent = text;
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // only secure pages have a clipboard: the old way serves the others
    const area = h("textarea", { class: "away" });
    document.body.append(area);
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  say("Copied");
  button.replaceChildren(icon(DONE));
  setTimeout(() => button.replaceChildren(icon(COPY)), 1500);
}

export const copyButton = (text, what) =>
  h("button", { class: "copy", type: "button", "aria-label": `Copy ${what}`, title: `Copy ${what}`, onclick: (event) => copy(event.currentTarget, text) }, icon(COPY));

// A hash, short in lists and whole on its own page.
export function hash(text, { href, what = "hash", whole = false, small = false } = {}) {
  if (!text) return h("span", { class: "none" }, "\u2013");
  const outside = href && !href.startsWith("/");
  const attributes = { class: whole ? "mono whole" : "mono", title: text, ...(href && { href }), ...(outside && { rel: "noreferrer noopener", target: "_blank" }) };
  return h("span", { class: "hash" }, h(href ? "a" : "span", attributes, whole ? text : small ? brief(text, 6, 4) : brief(text)), copyButton(text, what));
}

// Something on L1, linked to the deployment's block explorer if one is named.
export const onL1 = (text, base, options) => hash(text, { what: "L1 transaction hash", ...options, href: base && text ? `${base}/tx/${text}` : undefined });

export const slotLink = (id) => (id === null || id === undefined ? h("span", { class: "none" }, "\u2013") : link(`/slots/${id}`, `#${id}`));
export const batchLink = (id) => (id ? link(`/batches/${id}`, number(id)) : h("span", { class: "none" }, "\u2013"));

// `columns`: [{ name, cell, right, top }]; on a narrow page each row is a card with the names above the values, headed by the first column and by the
// one that is marked as `top`. A brief table stays one.
export function table(label, columns, rows, key, brief = false) {
  const place = (column) => [column.right && "right", column.top && "headed"].filter(Boolean).join(" ") || null;
  const head = h("tr", { role: "row" }, columns.map((column) => h("th", { role: "columnheader", scope: "col", class: place(column) }, column.name)));
  const line = (row) =>
    h("tr", { role: "row", "data-key": key(row) }, columns.map((column) => h("td", { role: "cell", class: place(column), "data-label": column.name }, h("div", null, column.cell(row)))));
  return h("table", { role: "table", "aria-label": label, class: brief ? "brief" : "list" }, h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, rows.map(line)));
}

export const empty = (title, text) => h("div", { class: "empty" }, h("p", { class: "strong" }, title), text && h("p", null, text));

export const card = (title, ...content) => h("section", { class: "card" }, title && h("h2", null, title), ...content);

// Names and values: [[name, value], ..]; what is null is left out.
export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter((pair) => pair && pair[1] !== null).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));

// Names and values side by side: [[name, value, note], ..].
export const tiles = (all) =>
  h("dl", { class: "tiles" }, all.filter(Boolean).map(([name, value, note]) => h("div", { class: "tile" }, h("dt", null, name), h("dd", null, value), note && h("dd", { class: "sub" }, note))));

export const heading = (title, ...beside) => h("div", { class: "heading" }, h("h1", { tabindex: -1 }, title), ...beside);

// Newest page, and the next one by its cursor.
export function pager(path, fields, next) {
  const to = (cursor) => `${path}?${new URLSearchParams({ ...fields, cursor })}`;
  const rest = new URLSearchParams(fields).toString();
  return (
    (fields.cursor || next) &&
    h(
      "nav",
      { class: "pager", "aria-label": "Pages of this list" },
      fields.cursor ? link(`${path}${rest.replace(/&?cursor=[^&]*/, "") && `?${rest.replace(/&?cursor=[^&]*/, "")}`}`, "Newest") : h("span", { class: "none" }, "Newest"),
      next ? link(to(next), "Older \u2192") : h("span", { class: "none" }, "Older \u2192"),
    )
  );
}

// The way from accepted to final: [{ state, at, note }], what has no time is still to come.
export function way(steps, state) {
  const reached = STATES.indexOf(state);
  return h(
    "ol",
    { class: "way", "aria-label": `State: ${state}` },
    steps.map((step) => {
      const done = STATES.indexOf(step.state) <= reached;
      return h("li", { class: done ? `done ${step.state}` : "todo", ...(step.state === state && { "aria-current": "step" }) }, h("span", { class: "name" }, step.state), done ? when(step.at, true) : h("span", { class: "none" }, "not yet"), step.note && done && h("span", { class: "by" }, step.note));
    }),
  );
}

export const count = (items, next, one) => `${plural(items.length, one)}${next ? ", more follow" : ""}`;
