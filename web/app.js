// The pages' frame: which page an address shows, and when it is looked at again.
//
//   address ──> load ──> draw ──> again at every event, or after a pause
//                 └── fails ──> banner, again after growing pauses, until it works

import { Events, Lost, Refused, get } from "./api.js";
import { h, update } from "./dom.js";
import { ago, brief } from "./format.js";
import { card, heading, link, say } from "./parts.js";
import * as overview from "./pages/overview.js";
import * as batches from "./pages/batches.js";
import * as transactions from "./pages/transactions.js";
import * as slots from "./pages/slots.js";
import * as queue from "./pages/queue.js";
import * as fleet from "./pages/fleet.js";
import * as search from "./pages/search.js";

const EVERY_MS = 5_000; // without events
const AT_MOST_MS = 1_000; // with them
const PAUSES_MS = [1_000, 2_000, 4_000, 8_000, 15_000];

const PAGES = [
  [/^\/$/, overview.page],
  [/^\/batches$/, batches.list],
  [/^\/batches\/([^/]+)$/, batches.one],
  [/^\/transactions$/, transactions.list],
  [/^\/transactions\/([^/]+)$/, transactions.one],
  [/^\/slots$/, slots.find],
  [/^\/slots\/([^/]+)$/, slots.one],
  [/^\/queue$/, queue.list],
  [/^\/fleet$/, fleet.page],
  [/^\/search$/, search.page],
];

const main = document.getElementById("main");
const banner = document.getElementById("banner");
let shown = {}; // the page: { page, id, fields, data, stop }
let timer = 0;
let failures = 0;
let lookedAt = 0;
const context = { status: null, redraw, refresh: () => again(0), go };

const events = new Events(() => again(Math.max(200, AT_MOST_MS - (Date.now() - lookedAt))));

function route() {
  const path = location.pathname.replace(/(.)\/$/, "$1");
  const [pattern, page] = PAGES.find(([pattern]) => pattern.test(path)) ?? [/(.*)/, null];
  return { page, id: decodeURIComponent(path.match(pattern)[1] ?? ""), fields: Object.fromEntries(new URLSearchParams(location.search)) };
}

async function show() {
  shown.stop?.abort();
  shown = { ...route(), data: null, stop: new AbortController() };
  const top = `/${location.pathname.split("/")[1]}`;
  document.querySelectorAll("#nav a").forEach((a) => (a.getAttribute("href") === top ? a.setAttribute("aria-current", "page") : a.removeAttribute("aria-current")));
  closeMenu();
  if (!shown.page) return draw(missing("There is no such page", "The address may have lost a part."));
  draw(h("div", { class: "page" }, heading(shown.page.title(shown.id)), h("div", { class: "card skeleton", "aria-busy": "true" }, h("span", { class: "away" }, "Loading"), [1, 2, 3, 4].map(() => h("i", null)))));
  await look();
}

async function look() {
  const mine = shown;
  clearTimeout(timer);
  if (!mine.page || document.hidden) return;
  try {
    const { signal } = mine.stop;
    const [status, data] = await Promise.all([get("/v1/status", signal), mine.page.load(mine.id, mine.fields, signal)]);
    if (mine !== shown) return;
    context.status = status;
    mine.data = data;
    lookedAt = Date.now();
    connected();
    redraw();
    again(mine.page.every ?? EVERY_MS);
  } catch (error) {
    if (mine !== shown || mine.stop.signal.aborted) return;
    if (error instanceof Refused && error.isFinal) return draw(missing(error.message, error.hint && `Hint: ${error.hint}.`));
    if (!(error instanceof Refused || error instanceof Lost)) throw error;
    lost(error);
  }
}

function again(pause) {
  clearTimeout(timer);
  timer = setTimeout(look, pause);
}

function connected() {
  if (failures) say("Connected again");
  failures = 0;
  banner.hidden = true;
  events.open();
}

function lost(error) {
  const pause = PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)];
  failures += 1;
  events.close();
  const standby = error instanceof Refused && error.code === "standby";
  const why = standby ? "This process is starting or stands by: another one leads." : error instanceof Refused ? `The node is in trouble: ${error.message}.` : "Connection lost.";
  banner.replaceChildren(h("span", null, `${why} Trying again.`), h("button", { type: "button", onclick: () => again(0) }, "Now"));
  banner.hidden = false;
  if (!shown.data) draw(h("div", { class: "page" }, heading(shown.page.title(shown.id)), card(null, h("p", { class: "note" }, "Nothing to show until the node answers."))));
  again(pause);
}

const missing = (title, text) => h("div", { class: "page" }, heading(title), card(null, text && h("p", null, text), h("p", null, "Go to the ", link("/", "overview"), " or search above.")));

function draw(content) {
  if (main.firstElementChild && main.children.length === 1) update(main.firstElementChild, content);
  else main.replaceChildren(content);
  document.title = `${main.querySelector("h1")?.textContent ?? "Sheaf"} \u00b7 Sheaf`;
}

// Draws what is known; pages call it when only what they show has changed.
function redraw() {
  if (!shown.data) return;
  draw(h("div", { class: "page" }, shown.page.view(shown.data, context, shown.id, shown.fields)));
  foot();
}

function foot() {
  const status = context.status;
  if (!status) return;
  const parts = [`Sheaf ${status.version}`, `chain ${status.chain_id}`, h("span", { class: "mono", title: status.contract }, brief(status.contract)), link("/docs/", "API")];
  update(document.getElementById("foot"), h("footer", { class: "foot", id: "foot" }, parts.map((part) => h("span", null, part))));
}

function go(address, instead = false) {
  history[instead ? "replaceState" : "pushState"](null, "", address);
  show().then(() => main.querySelector("h1")?.focus({ preventScroll: true }));
  scrollTo(0, 0);
}

function closeMenu() {
  document.getElementById("nav").classList.remove("open");
  document.getElementById("menu").setAttribute("aria-expanded", "false");
}

function theme(choice) {
  const root = document.documentElement;
  if (choice) root.dataset.theme = choice;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const button = document.getElementById("theme");
  button.textContent = dark ? "Light" : "Dark";
  button.setAttribute("aria-label", `Use the ${dark ? "light" : "dark"} theme`);
  button.onclick = () => {
    const next = dark ? "light" : "dark";
    try {
      localStorage.setItem("sheaf-theme", next);
    } catch {
      // it holds until the page is left
    }
    theme(next);
  };
}

document.addEventListener("click", (event) => {
  const a = event.target.closest("a[href]");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!a || !plain || a.target || a.origin !== location.origin || /^\/(docs|v1|prover|openapi)/.test(a.pathname)) return;
  if (a.classList.contains("skip")) {
    event.preventDefault();
    return main.focus();
  }
  event.preventDefault();
  go(a.pathname + a.search);
});
document.getElementById("menu").onclick = (event) => {
  const open = document.getElementById("nav").classList.toggle("open");
  event.currentTarget.setAttribute("aria-expanded", String(open));
};
document.getElementById("search").onsubmit = (event) => {
  event.preventDefault();
  const q = event.target.elements.q.value.trim();
  if (q) go(`/search?${new URLSearchParams({ q })}`);
};
addEventListener("popstate", show);
addEventListener("online", () => again(0));
document.addEventListener("visibilitychange", () => (document.hidden ? events.close() : again(0)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme());
setInterval(() => document.querySelectorAll("[data-at]").forEach((node) => (node.textContent = ago(node.dataset.at))), 1_000);

theme();
show();
