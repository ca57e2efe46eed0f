// A real Chromium for tests of the pages: the one that SHEAF_CHROMIUM names, else the system's, else npm's own with the libraries and fonts that it
// brings, so that a machine with Node alone is enough (Linux on x86-64; elsewhere install Chromium or name it).

import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const modules = path.join(path.dirname(fileURLToPath(import.meta.url)), "node_modules");
const SYSTEM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];
const FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

// Starts it; playwright gives it an empty profile of its own.
export async function launch() {
  if (!existsSync(path.join(modules, "playwright-core"))) throw new Error("playwright-core is not installed: run `make tools`");
  const { chromium } = require("playwright-core");
  const { program, env } = await find();
  return chromium.launch({ executablePath: program, env: { ...process.env, ...env }, args: FLAGS, chromiumSandbox: false, headless: true });
}

async function find() {
  const named = process.env.SHEAF_CHROMIUM ?? SYSTEM.find((program) => existsSync(program));
  if (named) return { program: named, env: {} };
  if (process.platform !== "linux" || process.arch !== "x64") throw new Error("no Chromium here: install one, or name it in SHEAF_CHROMIUM");
  const folder = await unpacked();
  return { program: path.join(folder, "chromium"), env: { LD_LIBRARY_PATH: path.join(folder, "al2023", "lib"), FONTCONFIG_FILE: path.join(folder, "fonts.conf") } };
}

// Unpacks npm's Chromium once, whole or not at all, however many ask at once.
async function unpacked() {
  const { version } = JSON.parse(readFileSync(path.join(modules, "@sparticuz", "chromium", "package.json"), "utf8"));
  const folder = path.join(modules, `.chromium-${version}`);
  if (existsSync(folder)) return folder;
  const partial = mkdtempSync(path.join(modules, ".chromium-partial-"));
  const names = ["TMPDIR", "AWS_EXECUTION_ENV", "LD_LIBRARY_PATH", "FONTCONFIG_PATH", "HOME"];
  const before = names.map((name) => [name, process.env[name]]);
  // the package unpacks into the temporary folder, and its libraries only where it believes to run bare
  Object.assign(process.env, { TMPDIR: partial, AWS_EXECUTION_ENV: "AWS_Lambda_nodejs20.x" });
  try {
    const { default: packed } = await import(require.resolve("@sparticuz/chromium"));
    await packed.executablePath();
  } finally {
    for (const [name, value] of before) value === undefined ? delete process.env[name] : (process.env[name] = value);
  }
  const folders = ["/usr/share/fonts", path.join(folder, "fonts")].map((name) => `<dir>${name}</dir>`).join("");
  writeFileSync(path.join(partial, "fonts.conf"), `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>${folders}<cachedir>${folder}/cache</cachedir></fontconfig>\n`);
  try {
    renameSync(partial, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
    rmSync(partial, { recursive: true });
  }
  return folder;
}
