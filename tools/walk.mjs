#!/usr/bin/env node
// Walks every page of a running node in a real Chromium, as people with a mouse, a keyboard and a phone would, and complains about whatever is wrong:
//
//   tools/walk.mjs URL [--transfer FILE] [--operator FILE --worker NAME --waiting FILE [--claim FILE --token FILE]] [--l1-explorer URL] [--shots FOLDER] [--all]
//
// --transfer   signed transfer to post: it must appear on the open overview by itself
// --operator   file with the operator's token: the only worker, NAME, is drained with it; then the transfer in the other file waits for a proof, and
//              its job is parked and sent back to work; sealing it again is refused, with a hint
// --claim      what a worker asks for work with, under the token in the file: it gets that job, and the operator takes it away again
// --l1-explorer  where the node was told that the pages link L1 hashes to
// --shots      keeps a picture of each page there
// --all        both themes at both sizes; without it the light one on a desk and the dark one on a phone
//
// The node must have a final batch with transactions. Prints one line a check and ends with 1 if one failed.

import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { launch } from "./browser.mjs";

const PATIENCE_MS = 60_000;
const SIZES = { desk: { width: 1280, height: 900 }, phone: { width: 360, height: 760 } };
// What is kept: every page once, some also as others see it.
const KEPT = /^(.*-desk-light|(overview|batch|fleet)-desk-dark|(overview|batch|fleet)-phone-dark)$/;
const WHOLE = ["overview", "batch", "fleet"];
const NAMES = ["Overview", "Batches", "Transactions", "Slots", "Deposits & exits", "Fleet"];

const [url, ...words] = process.argv.slice(2);
const option = (name) => (words.includes(name) ? words[words.indexOf(name) + 1] : undefined);
const shots = option("--shots");
const complaints = [];
let checks = 0;

function check(what, holds, detail = "") {
  checks += 1;
  if (!holds) complaints.push(`${what} ${detail}`);
}

const api = async (address) => (await fetch(url + address)).json();

// The addresses to walk, from what the node holds.
async function addresses() {
  const batches = (await api("/v1/batches?limit=50")).items;
  const batch = batches.find((batch) => batch.state === "final" && batch.transactions !== "0") ?? batches.find((batch) => batch.transactions !== "0");
  if (!batch) throw new Error("the node has no batch with transactions");
  const { hashes } = await api(`/v1/batches/${batch.number}`);
  const transaction = await api(`/v1/transactions/${hashes[0]}`);
  const slot = await api(`/v1/slots/${transaction.from}`);
  return [
    ["overview", "/", "Overview"],
    ["batches", "/batches", "Batches"],
    ["batch", `/batches/${batch.number}`, `Batch ${batch.number}`],
    ["transactions", "/transactions", "Transactions"],
    ["transaction", `/transactions/${hashes[0]}`, /Transfer|Withdrawal|Register/],
    ["slots", `/slots?owner=${slot.owner}`, "Slots"],
    ["slot", `/slots/${slot.id}`, `Slot ${slot.id}`],
    ["queue", "/queue", "Deposits and exits"],
    ["fleet", "/fleet", "Fleet"],
    ["search", "/search?q=nothing", "Search"],
  ];
}

// A window that remembers what went wrong in it.
async function open(browser, size, colorScheme) {
  const context = await browser.newContext({ viewport: SIZES[size], colorScheme, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const wrong = [];
  const expected = (text) => wrong.expected && /Failed to load resource|net::ERR_/.test(text);
  page.on("console", (message) => message.type() === "error" && !expected(message.text()) && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => request.url().startsWith(url) || wrong.push(`asks ${request.url()}`));
  return { context, page, wrong };
}

const settled = (page) => page.waitForFunction(() => document.querySelector("main h1") && !document.querySelector("[aria-busy]"));

// What anybody can measure in a page: width, headings, names of controls, contrast of every text (WCAG AA).
function measure() {
  const parse = (color) => {
    const canvas = (measure.canvas ??= new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true }));
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.unshift(parse(getComputedStyle(at).backgroundColor));
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = (color) => color.slice(0, 3).map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)).reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const faint = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.nodeValue.trim() || !element.checkVisibility() || element.closest(".away, .skip, noscript")) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const [a, b] = [light(over(parse(style.color), ground)), light(ground)].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) faint.add(`${walker.currentNode.nodeValue.trim().slice(0, 30)} (${((a + 0.05) / (b + 0.05)).toFixed(2)})`);
  }
  const named = (element) => (element.getAttribute("aria-label") || element.textContent.trim() || element.labels?.length || element.title ? [] : [element.outerHTML.slice(0, 80)]);
  const wide = [...document.querySelectorAll("main *")].filter((element) => element.getBoundingClientRect().right > innerWidth + 1).map((element) => element.className || element.nodeName);
  return {
    overflow: document.documentElement.scrollWidth > document.documentElement.clientWidth ? wide.slice(0, 3).join(", ") || "yes" : "",
    headings: document.querySelectorAll("h1").length,
    title: document.querySelector("main h1").textContent,
    nameless: [...document.querySelectorAll("a, button, input")].flatMap(named),
    faint: [...faint],
  };
}

async function walkAll(browser, size, theme, pages) {
  const { context, page, wrong } = await open(browser, size, theme);
  for (const [name, address, title] of pages) {
    const at = `${name}, ${size}, ${theme}:`;
    await page.goto(url + address);
    await settled(page);
    const found = await page.evaluate(measure);
    check(at, title instanceof RegExp ? title.test(found.title) : found.title === title, `is titled ${found.title}`);
    check(at, found.headings === 1, `has ${found.headings} main headings`);
    check(at, !found.overflow, `is wider than the screen: ${found.overflow}`);
    check(at, found.nameless.length === 0, `has controls without a name: ${found.nameless}`);
    check(at, found.faint.length === 0, `has text that is hard to read: ${found.faint}`);
    check(at, wrong.length === 0, `complains: ${wrong.splice(0).join("; ")}`);
    const picture = `${name}-${size}-${theme}`;
    if (shots && KEPT.test(picture)) await page.screenshot({ path: path.join(shots, `${picture}.png`), fullPage: size === "desk" && WHOLE.includes(name) });
  }
  await context.close();
}

// From the top by the tabulator: the way past the navigation first, then every page's link; Enter follows.
async function walkByKeyboard(browser, size) {
  const { context, page, wrong } = await open(browser, size, "light");
  await page.goto(url);
  await settled(page);
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.getAttribute("aria-label"));
  await page.keyboard.press("Tab");
  check(`keyboard, ${size}:`, (await focused()) === "Skip to content", `begins at ${await focused()}`);
  const reached = [];
  for (let i = 0; i < 12; i++) {
    await page.keyboard.press("Tab");
    const name = await focused();
    if (name === "Menu") await page.keyboard.press("Enter");
    reached.push(name);
    if (name === "Fleet") break;
  }
  check(`keyboard, ${size}:`, NAMES.every((name) => reached.includes(name)), `reaches only ${reached}`);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("main h1")?.textContent === "Fleet" && document.activeElement.nodeName === "H1");
  await page.goBack();
  await page.waitForFunction(() => document.querySelector("main h1")?.textContent === "Overview");
  check(`keyboard, ${size}:`, wrong.length === 0, wrong.join("; "));
  await context.close();
}

// L1 hashes are links to the explorer that the node names, and open a window that knows nothing of this one.
async function walkToL1(browser, pages) {
  const { context, page, wrong } = await open(browser, "desk", "light");
  const begin = `${option("--l1-explorer")}/tx/`;
  for (const [name, address] of pages.filter(([name]) => ["batch", "transaction"].includes(name))) {
    await page.goto(url + address);
    await settled(page);
    const links = await page.locator("main a[target=_blank]").evaluateAll((found) => found.map((a) => [a.getAttribute("href"), a.title, a.rel]));
    check(`L1 links, ${name}:`, links.length > 0, "are missing");
    for (const [href, hash, rel] of links) check(`L1 links, ${name}:`, href === begin + hash && /^0x[0-9a-f]{64}$/.test(hash) && rel === "noreferrer noopener", `${href} (${rel}) for ${hash}`);
  }
  check("L1 links:", wrong.length === 0, wrong.join("; "));
  await context.close();
}

async function send(file) {
  const answer = await fetch(`${url}/v1/transactions`, { method: "POST", headers: { "content-type": "application/json" }, body: readFileSync(file) });
  const receipt = await answer.json();
  check("transfer:", answer.ok, `is refused: ${JSON.stringify(receipt)}`);
  return receipt;
}

// A worker that is given a job and never proves it.
async function claim(file) {
  const token = readFileSync(option("--token"), "utf8").trim();
  const answer = await fetch(`${url}/prover/v1/claim`, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${token}` }, body: readFileSync(file) });
  check("claim:", answer.status === 200, `is answered ${answer.status}`);
}

// An operator at work; a stranger's token is refused first.
async function operate(browser) {
  const { context, page, wrong } = await open(browser, "desk", "light");
  await page.goto(`${url}/fleet`);
  await settled(page);
  const [worker, own] = [option("--worker"), readFileSync(option("--operator"), "utf8").trim().split(/\s+/).pop()];
  const enter = async (token) => {
    if (await page.getByRole("button", { name: "Forget token" }).isVisible()) await page.getByRole("button", { name: "Forget token" }).click();
    await page.locator("details.operator summary").click();
    await page.getByLabel("Operator's token").fill(token);
    await page.getByRole("button", { name: "Use", exact: true }).click();
  };
  const order = async (name) => {
    await page.getByRole("button", { name, exact: true }).click();
    await page.getByLabel("Why, for the audit log").fill("walked in a test");
    await page.locator("dialog button[type=submit]").click();
  };
  check("orders:", (await page.getByRole("button", { name: `drain ${worker}` }).count()) === 0, "are offered without a token");
  wrong.expected = true;
  await enter("f".repeat(64));
  await order(`drain ${worker}`);
  await page.getByRole("alert").filter({ hasText: "token" }).waitFor();
  await page.getByRole("button", { name: "Leave it" }).click();
  wrong.expected = false;
  await page.reload();
  await settled(page);
  check("orders:", (await page.getByRole("button", { name: `drain ${worker}` }).count()) === 0, "survive the page that the token was typed in");
  await enter(own);
  await order(`drain ${worker}`);
  await page.getByRole("row").filter({ hasText: worker }).filter({ hasText: "draining" }).waitFor();
  if (option("--waiting")) {
    await send(option("--waiting"));
    const waiting = page.getByRole("table", { name: "Waiting jobs" });
    await waiting.getByRole("button", { name: "park" }).waitFor();
    const name = await waiting.getByRole("button", { name: "park" }).getAttribute("aria-label");
    await order(name);
    await page.getByRole("table", { name: "Parked jobs" }).waitFor();
    if (shots) await page.screenshot({ path: path.join(shots, "fleet-operator.png"), fullPage: true });
    wrong.expected = true;
    await order(name.replace("park", "reseal"));
    await page.getByRole("alert").filter({ hasText: "Hint: " }).waitFor();
    await page.getByRole("button", { name: "Leave it" }).click();
    wrong.expected = false;
    await order(name.replace("park", "retry"));
    await waiting.waitFor();
    if (option("--claim")) {
      await claim(option("--claim"));
      await page.getByRole("table", { name: "Leases" }).getByRole("button", { name: "cancel" }).waitFor();
      await order(name.replace("park", "cancel"));
      await waiting.getByRole("button", { name, exact: true }).waitFor();
      check("orders:", (await page.getByRole("table", { name: "Orders" }).getByRole("row").filter({ hasText: "cancel" }).count()) === 1, "do not tell of the cancelled job");
    }
  }
  check("orders:", await page.getByRole("table", { name: "Orders" }).getByText("walked in a test").first().isVisible(), "are not in the log");
  check("orders:", wrong.length === 0, wrong.join("; "));
  await context.close();
}

// Themes, search, what a stranger types, news, a connection that is lost and found.
async function use(browser, pages) {
  const { context, page, wrong } = await open(browser, "desk", "light");
  await page.goto(url);
  await settled(page);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.getByRole("button", { name: "Use the dark theme" }).click();
  check("theme:", (await ground()) !== light, "does not change");
  await page.reload();
  await settled(page);
  check("theme:", (await ground()) !== light, "is forgotten");
  await page.getByRole("button", { name: "Use the light theme" }).click();

  const hash = pages.find(([name]) => name === "transaction")[1].split("/").pop();
  wrong.expected = true; // what is not there answers 404, which the browser notes
  for (const [typed, address] of [[hash, `/transactions/${hash}`], [`batch ${pages[2][1].split("/").pop()}`, pages[2][1]]]) {
    await page.getByRole("searchbox").fill(typed);
    await page.keyboard.press("Enter");
    await page.waitForURL(url + address);
    await settled(page);
  }
  const evil = `"><img src=x onerror=alert(1)>`;
  await page.goto(`${url}/search?q=${encodeURIComponent(evil)}`);
  await settled(page);
  check("search:", await page.getByText(evil).isVisible(), "does not repeat what was typed as text");
  check("search:", (await page.locator("main img").count()) === 0, "makes markup of what was typed");
  await page.goto(`${url}/batches/987654321`);
  await settled(page);
  check("missing batch:", await page.getByRole("heading", { name: "no batch 987654321" }).isVisible(), "is not named");
  wrong.expected = false;

  await page.goto(url);
  await settled(page);
  if (option("--transfer")) {
    const before = await page.locator(".pipeline .big").first().textContent();
    const receipt = await send(option("--transfer"));
    await page.locator(`a[href="/transactions/${receipt.hash}"]`).first().waitFor();
    await page.waitForFunction((before) => document.querySelector(".pipeline .big").textContent !== before, before);
    await page.goto(`${url}/transactions/${receipt.hash}`);
    await page.locator(".heading .chip.final").waitFor();
    check("news:", true);
  }

  wrong.expected = true;
  await context.setOffline(true);
  await page.getByText("Connection lost").waitFor();
  check("connection:", (await page.locator("main .card").count()) > 0, "what was known is gone");
  await context.setOffline(false);
  await page.locator("#banner").waitFor({ state: "hidden" });
  wrong.expected = false;
  check("use:", wrong.length === 0, wrong.join("; "));
  await context.close();
}

if (shots) mkdirSync(shots, { recursive: true });
const browser = await launch();
try {
  const pages = await addresses();
  const views = words.includes("--all") ? ["desk", "phone"].flatMap((size) => ["light", "dark"].map((theme) => [size, theme])) : [["desk", "light"], ["phone", "dark"]];
  for (const [size, theme] of views) await walkAll(browser, size, theme, pages);
  for (const size of Object.keys(SIZES)) await walkByKeyboard(browser, size);
  await use(browser, pages);
  if (option("--l1-explorer")) await walkToL1(browser, pages);
  if (option("--operator")) await operate(browser);
} finally {
  await browser.close();
}
for (const complaint of complaints) console.log(`WRONG  ${complaint}`);
console.log(`${checks} checks, ${complaints.length} complaints`);
process.exit(complaints.length ? 1 : 0);
