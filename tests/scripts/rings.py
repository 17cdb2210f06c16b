#!/usr/bin/env python3
"""The lookup tables of IPVS's hash schedulers, from their description: sh, dh and mh.

Reads one case a line from standard input, writes its table as one line of server indices ("-" for an empty slot):

    sh WEIGHT...
    dh COUNT
    mh SLOTS ADDRESS/PORT/LAST_WEIGHT...

Servers stand in IPVS's list order, the one added last first. Python's standard library only; nothing of XVS is used.
"""

import ipaddress
import math
import sys

MASK = (1 << 64) - 1
# The kernel's two keys; each fills both halves of a SipHash key.
FIRST, SECOND = 2654435761, 2654446892
# Table sizes by CONFIG_IP_VS_MH_TAB_INDEX, 8 to 17.
PRIMES = (251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071)


def rotated(word, bits):
    return ((word << bits) | (word >> (64 - bits))) & MASK


def sip_round(a, b, c, d):
    a = (a + b) & MASK
    b = rotated(b, 13) ^ a
    a = rotated(a, 32)
    c = (c + d) & MASK
    d = rotated(d, 16) ^ c
    a = (a + d) & MASK
    d = rotated(d, 21) ^ a
    c = (c + b) & MASK
    b = rotated(b, 17) ^ c
    c = rotated(c, 32)
    return a, b, c, d


def hsiphash(value, key):
    """SipHash with one round a word and three at the end, of four bytes, cut to 32 bits: hsiphash of 64-bit kernels."""
    a, b, c, d = (
        int.from_bytes(text, "big") ^ key
        for text in (b"somepseu", b"dorandom", b"lygenera", b"tedbytes")
    )
    # The only word: the message, and its length in the highest byte.
    word = (4 << 56) | (value & 0xFFFFFFFF)
    d ^= word
    a, b, c, d = sip_round(a, b, c, d)
    a ^= word
    c ^= 0xFF
    for _ in range(3):
        a, b, c, d = sip_round(a, b, c, d)
    return (a ^ b ^ c ^ d) & 0xFFFFFFFF


def hash_32(value):
    """The upper eight bits of a product with the golden ratio."""
    return ((value * 0x61C88647) & 0xFFFFFFFF) >> 24


def folded(address):
    """An address as one number; IPv6 by exclusive or of its four words."""
    number = int(ipaddress.ip_address(address))
    word = 0
    while number:
        word ^= number & 0xFFFFFFFF
        number >>= 32
    return word


def sh(weights):
    """Each server as often as it weighs, at least once, and round again, over 256 slots."""
    turn = [index for index, weight in enumerate(weights) for _ in range(max(weight, 1))]
    return [turn[slot % len(turn)] for slot in range(256)] if turn else ["-"] * 256


def dh(count):
    """Each server in turn, over 256 slots."""
    return [slot % count for slot in range(256)] if count else ["-"] * 256


def permutation(offset, skip, slots):
    for step in range(slots):
        yield (offset + step * skip) % slots


def mh(slots, servers):
    """Maglev: servers take the next free slot of their own permutations in turn, by weight."""
    weights = [weight for _, _, weight in servers]
    divisor = math.gcd(*weights) if weights else 0
    if divisor == 0:
        return ["-"] * slots
    index = 8 + PRIMES.index(slots)
    shift = max(0, (max(weights) // divisor).bit_length() - index // 2)
    walks, turns = [], []
    for address, port, weight in servers:
        key = port + folded(address)
        offset = hsiphash(key, FIRST) % slots
        skip = hsiphash(key, SECOND) % (slots - 1) + 1
        walks.append(permutation(offset, skip, slots))
        turns.append(max((weight // divisor) >> shift, 1) if weight else 0)
    table = [None] * slots
    left = slots
    while left:
        for server, walk in enumerate(walks):
            for _ in range(min(turns[server], left)):
                table[next(slot for slot in walk if table[slot] is None)] = server
                left -= 1
    return table


def server(text):
    address, port, weight = text.rsplit("/", 2)
    return address, int(port), int(weight)


def main():
    for line in sys.stdin:
        kind, *words = line.split()
        if kind == "sh":
            table = sh([int(word) for word in words])
        elif kind == "dh":
            table = dh(int(words[0]))
        else:
            table = mh(int(words[0]), [server(word) for word in words[1:]])
        print(*table)


if __name__ == "__main__":
    main()
