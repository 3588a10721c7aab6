"""Broken and hostile bytes, derived from good ones."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

# fmt: off
_NASTY: list[Any] = [
    None, True, "", "\0", "\ud800", "[PAD]", "../../x", "!!python/object/apply:os.system [id]", "~nobody/x",
    0, -1, 1, 2**31, 2**63, 2**64, 10**30, 10**400, -(10**19), 0.5, 1e308, -1e308,
    float("inf"), float("-inf"), float("nan"), [], {}, [[]], {"kind": "x"}, {"_target_": "os.system"},
]
"""What a value may be replaced by."""

_TOKENS: list[bytes] = [
    b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\x80", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xc2\x85", b"\r",
    b"\n", b"\r\n", b"\t", b" ", b",", b";", b'"', b'""', b"'", b"\\", b"\\u", b"\\ud800", b"=", b"@", b"#",
    b"{", b"}", b"[", b"]", b":", b"- ", b"? ", b"| ", b"> ", b"---\n", b"...\n", b"%TAG ! x\n", b"<<: *a\n",
    b"&a ", b"*a", b"!!int ", b"!!float ", b"!!bool ", b"!!timestamp ", b"!!binary ", b"!!set ", b"!!omap ",
    b"!!python/object/apply:os.system [id]", b"_target_: os.system", b"2001-13-45", b"1:1:1", b"0x", b".nan",
    b"null", b"true", b"NaN", b"Infinity", b"-1", b"0", b"1e999", b"9" * 400, b"__label__", b"hub:", b"**",
    b"~", b"text", b"label", b"data.", b"train", b"kind", b".gz", b"\x1f\x8b", b"\xfd7zXZ\0",
]
"""What is put in between."""
_DEEP = "(nested)"
# fmt: on


def mutated(sample: bytes, other: bytes, rng: random.Random) -> bytes:
    """`sample` after a few strokes, some with pieces of `other`.

    Where it is JSON they are mostly to its values, else to its bytes.
    """
    if sample[:1] in (b"{", b"[") and rng.random() < 0.6:
        first, end, rest = sample.partition(b"}\n{")  # JSON Lines, or one document
        return _mutated_json(first + end[:1], rng) + end[1:] + rest
    content = bytearray(sample)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(content) + 1)
        span = slice(at, at + rng.choice((1, 1, 2, 4, 16, 64)))
        match rng.randrange(8):
            case 0:
                content[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del content[span]
            case 2:
                content[at:at] = content[span] * rng.choice((1, 2, 50))
            case 3 | 4:
                content[at:at] = rng.choice(_TOKENS)
            case 5:
                content[at:at] = rng.choice(_TOKENS) * rng.choice((2, 2, 10, 2_000))
            case 6:
                begin = rng.randrange(len(other) + 1)
                content[span] = other[begin : begin + rng.choice((4, 32, 256))]
            case _:
                del content[at:]
    return bytes(content)


def _mutated_json(sample: bytes, rng: random.Random) -> bytes:
    """Some values, keys or items of a JSON document replaced, dropped, doubled or nested."""
    root = [json.loads(sample)]
    for _ in range(rng.choice((1, 1, 2, 4))):
        place: Any = root
        at: Any = 0
        while isinstance(place[at], dict | list) and place[at] and rng.random() < 0.9:
            place = place[at]
            at = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        match rng.randrange(6):
            case 0 | 1:
                place[at] = copy.deepcopy(rng.choice(_NASTY))
            case 2 if place is not root:
                del place[at]
            case 3 if isinstance(place, dict):
                place[str(rng.choice(_NASTY))] = place.pop(at)
            case 4 if isinstance(place, list) and place is not root:
                place.insert(at, copy.deepcopy(rng.choice(place)))
            case 5:
                place[at] = _DEEP
            case _:
                place[at] = [place[at]]
    deep = rng.choice((1, 3, 900, 1_100, 100_000))
    content = json.dumps(root[0], ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return content.replace(f'"{_DEEP}"'.encode(), b"[" * deep + b"]" * deep)
