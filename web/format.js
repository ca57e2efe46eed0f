// Numbers, amounts and times as people read them. The API's numbers are decimal strings of any size; so nothing here rounds what it need not.

const NATIVE_TOKEN = "1";
const grouped = new Intl.NumberFormat("en");
const short = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

export const number = (value) => (value === null || value === undefined ? "\u2013" : grouped.format(typeof value === "string" ? BigInt(value) : value));

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${Number(count) === 1 ? one : many}`;

// A whole number divided by 10^places, at most `digits` behind the point, cut and not rounded up.
function scaled(value, places, digits) {
  const text = BigInt(value).toString().padStart(places + 1, "0");
  const whole = grouped.format(BigInt(text.slice(0, -places)));
  const rest = text.slice(-places).slice(0, digits).replace(/0+$/, "");
  return rest ? `${whole}.${rest}` : whole;
}

export function wei(value) {
  if (value === null || value === undefined) return "\u2013";
  const amount = BigInt(value);
  if (amount >= 10n ** 12n) return `${scaled(amount, 18, 8)} ETH`;
  if (amount >= 10n ** 7n) return `${scaled(amount, 9, 4)} gwei`;
  return `${grouped.format(amount)} wei`;
}

export const amount = (value, token) => (token === NATIVE_TOKEN ? wei(value) : `${number(value)} of token ${token}`);

export const tokenName = (token) => (token === NATIVE_TOKEN ? "ETH (token 1)" : `token ${token}`);

export const bytes = (value) => {
  const size = Number(value);
  return size < 2048 ? `${number(size)} B` : `${(size / 1024).toFixed(1)} KiB`;
};

export function span(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "\u2013";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 90) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export const between = (from, to) => (from && to ? new Date(to) - new Date(from) : null);

export function ago(text) {
  const ms = Date.now() - new Date(text);
  // clocks differ a little, and a chain's may run ahead
  if (ms < -120_000) return `in ${span(-ms)}`;
  if (ms < 1_500) return "just now";
  return `${span(ms).replace(/\.\d+/, "")} ago`;
}

export const moment = (text) => short.format(new Date(text));
export const exactly = (text) => full.format(new Date(text));

export function rate(perMinute) {
  if (perMinute >= 600) return `${grouped.format(Math.round(perMinute / 60))} / s`;
  return `${perMinute < 10 ? +perMinute.toFixed(1) : Math.round(perMinute)} / min`;
}

export const brief = (hash, head = 8, tail = 6) => (hash.length > head + tail + 3 ? `${hash.slice(0, head + 2)}\u2026${hash.slice(-tail)}` : hash);

export function median(values) {
  const known = values.filter((value) => value !== null && !Number.isNaN(value)).sort((a, b) => a - b);
  return known.length ? known[Math.floor(known.length / 2)] : null;
}
