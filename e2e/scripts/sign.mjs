#!/usr/bin/env node
// Signs Sheaf transactions without any of Sheaf's code: written from docs/protocol.md, sections 3 and 4, with Node's standard library only.
//
//   sign.mjs key      --seed HEX32
//   sign.mjs transfer --seed HEX32 --chain-id N --contract ADDRESS --from N --to N --token N --nonce N --amount N --fee N [--random HEX32]
//   sign.mjs withdraw --seed HEX32 --chain-id N --contract ADDRESS --from N --token N --nonce N --amount N --fee N --address ADDRESS [--random HEX32]
//   sign.mjs register --seed HEX32 --chain-id N --contract ADDRESS --from N --token N --nonce N --fee N --key HEX32 --owner ADDRESS
//                     --account-token N [--random HEX32]
//
// Prints JSON: the key, or the transaction for POST /v1/transactions with its binary record. Poseidon's constants are read from
// protocol/vectors/poseidon.json. BigInt is not constant-time: for tests, not for real money.

import { createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";

const R = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001n; // field of the coordinates and of Poseidon
const Q = 0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47n; // order of Grumpkin
const G = [1n, 17631683881184975370165255887551781615748388533673675138860n];
const LAMBDA = 2203960485148121921418603742825762020974279258880205651966n;
const [TRANSFER, WITHDRAW, REGISTER, TAG_WM, TAG_RM] = [1n, 2n, 3n, 4n, 5n];
const POSEIDON = JSON.parse(readFileSync(new URL("../../protocol/vectors/poseidon.json", import.meta.url), "utf8"));

const mod = (value, modulus) => ((value % modulus) + modulus) % modulus;
const bigEndian = (value, bytes) => Buffer.from(BigInt(value).toString(16).padStart(2 * bytes, "0"), "hex");
const word32 = (value) => bigEndian(value, 32);
const fromBytes = (bytes) => BigInt("0x" + bytes.toString("hex"));
const hex = (bytes) => "0x" + bytes.toString("hex");
const isOdd = (value) => (value & 1n) === 1n;

function power(base, exponent, modulus) {
  let result = 1n;
  for (base = mod(base, modulus); exponent > 0n; exponent >>= 1n, base = (base * base) % modulus) {
    if (isOdd(exponent)) result = (result * base) % modulus;
  }
  return result;
}

const inverse = (value) => power(value, R - 2n, R);
const rotate = (lane, n) => BigInt.asUintN(64, (lane << BigInt(n)) | (lane >> BigInt(64 - n)));
const grid = (cell) => [0, 1, 2, 3, 4].map((x) => [0, 1, 2, 3, 4].map((y) => cell(x, y)));

// Keccak-f[1600] on lanes a[x][y]; round constants from the LFSR of FIPS 202, 3.2.5.
function keccakF(a) {
  let lfsr = 1;
  for (let round = 0; round < 24; round++) {
    const c = a.map((sheet) => sheet.reduce((sum, lane) => sum ^ lane));
    const d = c.map((_, x) => c[(x + 4) % 5] ^ rotate(c[(x + 1) % 5], 1));
    a = grid((x, y) => a[x][y] ^ d[x]);
    for (let t = 0, x = 1, y = 0, current = a[1][0]; t < 24; t++) {
      [x, y] = [y, (2 * x + 3 * y) % 5];
      [current, a[x][y]] = [a[x][y], rotate(current, (((t + 1) * (t + 2)) / 2) % 64)];
    }
    const b = a;
    a = grid((x, y) => b[x][y] ^ (BigInt.asUintN(64, ~b[(x + 1) % 5][y]) & b[(x + 2) % 5][y]));
    for (let j = 0; j < 7; j++) {
      a[0][0] ^= BigInt(lfsr & 1) << BigInt(2 ** j - 1);
      lfsr = (lfsr << 1) ^ (lfsr & 0x80 ? 0x171 : 0);
    }
  }
  return a;
}

function keccak256(data) {
  const rate = 136;
  const padded = Buffer.concat([data, Buffer.alloc(rate - (data.length % rate))]);
  padded[data.length] = 1;
  padded[padded.length - 1] |= 0x80;
  let a = grid(() => 0n);
  for (let start = 0; start < padded.length; start += rate) {
    for (let i = 0; i < rate / 8; i++) a[i % 5][Math.floor(i / 5)] ^= padded.readBigUInt64LE(start + 8 * i);
    a = keccakF(a);
  }
  const digest = Buffer.alloc(32);
  for (let i = 0; i < 4; i++) digest.writeBigUInt64LE(a[i][0], 8 * i);
  return digest;
}

const H = (tag, ...words) => fromBytes(keccak256(Buffer.concat([Buffer.from(tag.padEnd(32, "\0")), ...words.map(word32)])).subarray(1));

function poseidon4(...inputs) {
  const { round_constants, mds, full_rounds, partial_rounds } = POSEIDON;
  let state = inputs;
  round_constants.forEach((row, round) => {
    const full = round < full_rounds / 2 || round >= full_rounds / 2 + partial_rounds;
    const added = state.map((s, i) => (s + BigInt(row[i])) % R);
    const boxed = added.map((s, i) => (full || i === 0 ? power(s, 5n, R) : s));
    state = mds.map((factors) => factors.reduce((sum, factor, i) => sum + BigInt(factor) * boxed[i], 0n) % R);
  });
  return state[0];
}

function add(p, q) {
  if (!p || !q) return p ?? q;
  if (p[0] === q[0] && mod(p[1] + q[1], R) === 0n) return null;
  const slope = p[0] === q[0] ? 3n * p[0] * p[0] * inverse(2n * p[1]) : (q[1] - p[1]) * inverse(q[0] - p[0]);
  const x = mod(slope * slope - p[0] - q[0], R);
  return [x, mod(slope * (p[0] - x) - p[1], R)];
}

function multiply(scalar, point) {
  let result = null;
  for (const bit of scalar.toString(2)) {
    result = add(result, result);
    if (bit === "1") result = add(result, point);
  }
  return result;
}

const hmac = (key, ...parts) => createHmac("sha512", key).update(Buffer.concat(parts)).digest();
const toScalar = (digest) => fromBytes(digest) % Q;

function keyOf(seed) {
  const secret = toScalar(hmac("sheaf.key", seed));
  const [x, y] = multiply(secret, G);
  return [isOdd(y) ? Q - secret : secret, x];
}

function challenge(e) {
  let c = 2n * (1n + LAMBDA);
  for (let i = 63n; i >= 0n; i--) {
    const sign = isOdd(e >> i) ? 1n : -1n;
    c = 2n * c + sign * (isOdd(e >> (64n + i)) ? LAMBDA : 1n);
  }
  return mod(c, Q);
}

function sign(seed, domain, opTag, message, random) {
  const [secret, key] = keyOf(seed);
  const nonce = toScalar(hmac(word32(secret), word32(domain), bigEndian(opTag, 1), word32(key), word32(message), random));
  const [x, y] = multiply(nonce, G);
  const c = challenge(poseidon4((domain + opTag) % R, x, key, message));
  return Buffer.concat([word32(x | (isOdd(y) ? 1n << 255n : 0n)), word32(mod(nonce - c * secret, Q))]);
}

// Mantissa and decimal exponent, the smallest exponent that represents the value.
function packedFloat(value, bits) {
  let exponent = 0n;
  for (; value >= 1n << bits && value % 10n === 0n; value /= 10n) exponent++;
  if (value >= 1n << bits || exponent > 15n) throw new Error(`an amount does not fit ${bits} bits times a power of ten; round it down`);
  return value + (exponent << bits);
}

const record = (...fields) => Buffer.concat(fields.map(([value, bytes]) => bigEndian(value, bytes)));

function transfer({ from, to, token, nonce, amount, fee }) {
  const [amount40, fee16] = [packedFloat(amount, 36n), packedFloat(fee, 12n)];
  const word = from | (to << 24n) | (amount40 << 48n) | (fee16 << 88n);
  const bytes = record([TRANSFER, 1], [from, 3], [to, 3], [token, 2], [nonce, 4], [amount40, 5], [fee16, 2]);
  return [TRANSFER, word + (token << 104n) + (nonce << 120n), bytes, { to: to.toString(), amount: amount.toString() }];
}

function withdraw({ from, token, nonce, amount, fee, address }, domain) {
  const fee16 = packedFloat(fee, 12n);
  const w0 = from | (token << 24n) | (fee16 << 40n);
  const message = poseidon4((domain + TAG_WM) % R, w0 + (nonce << 56n), amount, BigInt(address));
  const bytes = record([WITHDRAW, 1], [from, 3], [token, 2], [nonce, 4], [fee16, 2], [amount, 14], [BigInt(address), 20]);
  return [WITHDRAW, message, bytes, { address, amount: amount.toString() }];
}

function register({ from, token, nonce, fee, key, owner, "account-token": accountToken }, domain) {
  const fee16 = packedFloat(fee, 12n);
  const head = from | (token << 24n) | (accountToken << 40n) | (fee16 << 56n) | (nonce << 72n);
  const message = poseidon4((domain + TAG_RM) % R, head, BigInt(key), BigInt(owner));
  const bytes = record([REGISTER, 1], [from, 3], [token, 2], [nonce, 4], [fee16, 2], [accountToken, 2], [BigInt(key), 32], [BigInt(owner), 20]);
  return [REGISTER, message, bytes, { key, owner, account_token: accountToken.toString() }];
}

function transaction(op, build, fields) {
  const { seed, random, contract, from, token, nonce, fee } = fields;
  const domain = H("sheaf.v1", fields["chain-id"], BigInt(contract));
  const [opTag, message, bytes, own] = build(fields, domain);
  const signature = sign(seed, domain, opTag, message, random ?? randomBytes(32));
  const numbers = Object.entries({ from, token, nonce, fee }).map(([name, value]) => [name, value.toString()]);
  return {
    transaction: { op, ...Object.fromEntries(numbers), ...own, signature: hex(signature) },
    hash: hex(word32(H("tx", domain, opTag, message))),
    record: hex(Buffer.concat([bytes, signature])),
  };
}

function parse(words) {
  const fields = {};
  for (let i = 0; i < words.length; i += 2) {
    const [name, value] = [words[i].replace(/^--/, ""), words[i + 1]];
    const isBytes = name === "seed" || name === "random";
    fields[name] = isBytes ? Buffer.from(value, "hex") : value.startsWith("0x") ? value : BigInt(value);
  }
  return fields;
}

const [command, ...words] = process.argv.slice(2);
const fields = parse(words);
const builders = { transfer, withdraw, register };
let result;
if (command === "key") {
  const [secret, key] = keyOf(fields.seed);
  result = { secret_key: hex(word32(secret)), public_key: hex(word32(key)) };
} else result = transaction(command, builders[command], fields);
console.log(JSON.stringify(result, null, 2));
