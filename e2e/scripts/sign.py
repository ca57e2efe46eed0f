#!/usr/bin/env python3
"""Signs Sheaf transactions without any of Sheaf's code: written from docs/protocol.md, sections 3 and 4, standard library only.

    sign.py key      --seed HEX32
    sign.py transfer --seed HEX32 --chain-id N --contract ADDRESS --from N --to N --token N --nonce N --amount N --fee N
    sign.py withdraw --seed HEX32 --chain-id N --contract ADDRESS --from N --token N --nonce N --amount N --fee N --address ADDRESS

Prints JSON: the key, or the transaction for POST /v1/transactions with its binary record. Poseidon's constants are read from
protocol/vectors/poseidon.json. Python's integers are not constant-time: for tests, not for real money.
"""

import argparse
import hashlib
import hmac
import json
import pathlib
import secrets

R = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001  # field of the coordinates and of Poseidon
Q = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47  # order of Grumpkin
G = (1, 17631683881184975370165255887551781615748388533673675138860)
LAMBDA = 2203960485148121921418603742825762020974279258880205651966
TRANSFER, WITHDRAW, TAG_WM = 1, 2, 4
CONSTANTS = pathlib.Path(__file__).resolve().parents[2] / "protocol" / "vectors" / "poseidon.json"


def rotate(lane, n):
    return (lane << n | lane >> (64 - n)) & (2**64 - 1) if n else lane


def keccak_f(a):
    """Keccak-f[1600] on lanes a[x][y]; round constants from the LFSR of FIPS 202, 3.2.5."""
    lfsr = 1
    for _ in range(24):
        c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        d = [c[x - 1] ^ rotate(c[(x + 1) % 5], 1) for x in range(5)]
        a = [[a[x][y] ^ d[x] for y in range(5)] for x in range(5)]
        x, y, current = 1, 0, a[1][0]
        for t in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            current, a[x][y] = a[x][y], rotate(current, (t + 1) * (t + 2) // 2 % 64)
        a = [[a[x][y] ^ (~a[(x + 1) % 5][y] & a[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
        for j in range(7):
            a[0][0] ^= (lfsr & 1) << (2**j - 1)
            lfsr = lfsr << 1 ^ (0x171 if lfsr & 0x80 else 0)
    return a


def keccak256(data):
    rate = 136
    data += b"\x01" + bytes(-(len(data) + 1) % rate)
    data = data[:-1] + bytes([data[-1] | 0x80])
    a = [[0] * 5 for _ in range(5)]
    for start in range(0, len(data), rate):
        for i in range(rate // 8):
            a[i % 5][i // 5] ^= int.from_bytes(data[start + 8 * i : start + 8 * i + 8], "little")
        a = keccak_f(a)
    return b"".join(a[i][0].to_bytes(8, "little") for i in range(4))


def H(tag, *words):
    digest = keccak256(tag.encode().ljust(32, b"\0") + b"".join(word32(word) for word in words))
    return int.from_bytes(digest[1:], "big")


def poseidon4(capacity, a, b, d):
    p = json.loads(CONSTANTS.read_text())
    constants = [[int(x, 16) for x in row] for row in p["round_constants"]]
    mds = [[int(x, 16) for x in row] for row in p["mds"]]
    half = p["full_rounds"] // 2
    state = [capacity, a, b, d]
    for index, row in enumerate(constants):
        state = [(s + c) % R for s, c in zip(state, row)]
        full = not half <= index < half + p["partial_rounds"]
        state = [pow(s, 5, R) if full or i == 0 else s for i, s in enumerate(state)]
        state = [sum(m * s for m, s in zip(row, state)) % R for row in mds]
    return state[0]


def add(p, q):
    if p is None or q is None:
        return p or q
    if p[0] == q[0] and (p[1] + q[1]) % R == 0:
        return None
    slope = 3 * p[0] ** 2 * pow(2 * p[1], -1, R) if p == q else (q[1] - p[1]) * pow(q[0] - p[0], -1, R)
    x = (slope**2 - p[0] - q[0]) % R
    return x, (slope * (p[0] - x) - p[1]) % R


def multiply(scalar, point):
    result = None
    for bit in bin(scalar)[2:]:
        result = add(result, result)
        result = add(result, point) if bit == "1" else result
    return result


def word32(value):
    return value.to_bytes(32, "big")


def to_scalar(digest):
    return int.from_bytes(digest, "big") % Q


def key_of(seed):
    secret = to_scalar(hmac.digest(b"sheaf.key", seed, hashlib.sha512))
    x, y = multiply(secret, G)
    return (secret if y % 2 == 0 else Q - secret), x


def challenge(e):
    c = 2 * (1 + LAMBDA)
    for i in reversed(range(64)):
        sign = 2 * (e >> i & 1) - 1
        c = 2 * c + sign * (LAMBDA if e >> (64 + i) & 1 else 1)
    return c % Q


def sign(seed, domain, op_tag, message, random):
    secret, public = key_of(seed)
    parts = word32(domain) + bytes([op_tag]) + word32(public) + word32(message) + random
    nonce = to_scalar(hmac.digest(word32(secret), parts, hashlib.sha512))
    x, y = multiply(nonce, G)
    c = challenge(poseidon4((domain + op_tag) % R, x, public, message))
    return word32(x | (y % 2) << 255) + word32((nonce - c * secret) % Q)


def packed_float(value, mantissa_bits):
    """mantissa + 2^bits exponent, with the smallest exponent that represents the value."""
    mantissa, exponent = value, 0
    while mantissa >= 1 << mantissa_bits and mantissa % 10 == 0:
        mantissa, exponent = mantissa // 10, exponent + 1
    if mantissa >= 1 << mantissa_bits or exponent > 15:
        raise SystemExit(f"{value} is not a {mantissa_bits}-bit mantissa times a power of ten up to 10^15; round it down")
    return mantissa | exponent << mantissa_bits


def big_endian(*fields):
    return b"".join(value.to_bytes(size, "big") for value, size in fields)


def transfer(a, _domain):
    amount, fee = packed_float(a.amount, 36), packed_float(a.fee, 12)
    word = a.sender | a.to << 24 | amount << 48 | fee << 88
    message = word + (a.token << 104) + (a.nonce << 120)
    record = big_endian((TRANSFER, 1), (a.sender, 3), (a.to, 3), (a.token, 2), (a.nonce, 4), (amount, 5), (fee, 2))
    return TRANSFER, message, record, {"to": a.to}


def withdraw(a, domain):
    fee, address = packed_float(a.fee, 12), int(a.address, 16)
    w0 = a.sender | a.token << 24 | fee << 40
    message = poseidon4((domain + TAG_WM) % R, w0 + (a.nonce << 56), a.amount, address)
    record = big_endian((WITHDRAW, 1), (a.sender, 3), (a.token, 2), (a.nonce, 4), (fee, 2), (a.amount, 14), (address, 20))
    return WITHDRAW, message, record, {"address": a.address}


def transaction(a, build):
    domain = H("sheaf.v1", a.chain_id, int(a.contract, 16))
    op_tag, message, record, own_fields = build(a, domain)
    signature = sign(bytes.fromhex(a.seed), domain, op_tag, message, bytes.fromhex(a.random))
    fields = {"from": a.sender, "token": a.token, "nonce": a.nonce, "amount": a.amount, "fee": a.fee} | own_fields
    return {
        "transaction": {"op": a.command} | {name: str(value) for name, value in fields.items()} | {"signature": "0x" + signature.hex()},
        "hash": "0x" + word32(H("tx", domain, op_tag, message)).hex(),
        "record": "0x" + (record + signature).hex(),
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    own = {"key": [], "transfer": ["to"], "withdraw": ["address"]}
    for name, extra in own.items():
        command = commands.add_parser(name)
        command.add_argument("--seed", required=True, help="32 bytes in hex")
        if name == "key":
            continue
        command.add_argument("--random", default=secrets.token_hex(32), help="32 bytes in hex, for reproducible signatures")
        command.add_argument("--from", dest="sender", type=int, required=True)
        for number in ["chain-id", "token", "nonce", "amount", "fee"]:
            command.add_argument("--" + number, type=int, required=True)
        for argument in ["contract"] + extra:
            command.add_argument("--" + argument, type=int if argument == "to" else str, required=True)
    return parser.parse_args()


def main():
    a = arguments()
    if a.command == "key":
        secret, public = key_of(bytes.fromhex(a.seed))
        result = {"secret_key": "0x" + word32(secret).hex(), "public_key": "0x" + word32(public).hex()}
    else:
        result = transaction(a, {"transfer": transfer, "withdraw": withdraw}[a.command])
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
