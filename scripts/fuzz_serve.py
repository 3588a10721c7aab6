#!/usr/bin/env python
"""Send broken and hostile requests to `lstmcls serve`, and report every answer that is not as it should be.

    .venv/bin/python scripts/fuzz_serve.py runs/reviews --requests 50000

An answer is well if it comes within 10 s, is no 500, and is JSON: with `error` alone if the status is 4xx. Four of five
requests are broken in their body, the others anywhere. Afterwards a good request must be answered as before.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import sys
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.bench_serve import server
from tests.mutations import mutated

BODIES = [
    b'{"text": "a fine film", "top_k": 3, "probs": true, "min_score": 0.5}',
    b'{"texts": ["a fine film", "", "schlecht\\u2028 \\ud83c\\udfac"], "explain": false}',
    b'[{"text": "fine", "id": 1, "label": null}, {"id": [1, {"a": 2}], "text": "dull"}]',
    '{"rows": [{"text": "另一行 😀", "x.y": {"z": true}}], "top_k": 1}'.encode(),
    b'["a", "b", "c"]',
]
HEAD = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
OTHERS = [
    b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n",
    b"GET /model?x=1 HTTP/1.1\r\nHost: here\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n",
    b"GET /metrics HTTP/1.0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked")
    + b"d\r\n"
    + b'{"text": "a"}'
    + b"\r\n0\r\n\r\n",
]
MOST_SECONDS = 10.0
MOST_FINDINGS = 20


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a run or an exported folder")
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0, help="other numbers make other requests")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    statuses: Counter[str] = Counter()
    findings: list[str] = []
    began, slowest = time.monotonic(), 0.0
    with server([sys.executable, "-m", "lstm_cli", "serve", options.model, "--port", "0"]) as (process, port):
        before = asked(port, HEAD % len(BODIES[0]) + BODIES[0])[0][1]
        for number in range(options.requests):
            request = case(rng)
            start = time.monotonic()
            try:
                answers = asked(port, request)
                fault = next(filter(None, (wrong(*answer) for answer in answers)), None)
            except (OSError, ValueError) as error:
                answers, fault = [], f"{type(error).__name__}: {error}"
            seconds = time.monotonic() - start
            slowest = max(slowest, seconds)
            statuses.update([status for status, _ in answers] or ["none"])
            if seconds > MOST_SECONDS:
                fault = f"took {seconds:.0f} s"
            if fault:
                findings.append(f"{number}: {fault}: {request[:300]!r}")
            if process.poll() is not None or len(findings) >= MOST_FINDINGS:
                break
        if process.poll() is not None:
            findings.append(f"the server has ended with exit code {process.returncode}")
        elif asked(port, HEAD % len(BODIES[0]) + BODIES[0])[0][1] != before:
            findings.append("a good request is answered in another way than before")
    seconds = time.monotonic() - began
    print("\n".join(findings))
    shown = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
    print(f"{options.requests:,} requests in {seconds:.0f} s, slowest {slowest:.2f} s; answers {shown}")
    print(f"{len(findings)} findings (seed {options.seed})")
    return 1 if findings else 0


def case(rng: random.Random) -> bytes:
    """The bytes of one broken request."""
    body, other = rng.choice(BODIES), rng.choice(BODIES)
    if rng.random() < 0.8:
        body = mutated(body, other, rng)
        return HEAD % len(body) + body
    good = rng.choice([HEAD % len(body) + body, *OTHERS])
    return mutated(good, rng.choice(OTHERS), rng)


def asked(port: int, request: bytes) -> list[tuple[str, bytes]]:
    """Status and body of every answer to these bytes, after which nothing more is sent."""
    received = b""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=MOST_SECONDS + 5)) as connection:
        with suppress(
            OSError
        ):  # the server may have closed the connection; then its answer can still be read
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                received += chunk
    answers = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
        if status is None:
            raise ValueError(f"not an answer: {received[:100]!r}")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if status[1] == b"100":
            received = rest
            continue
        body = rest[: int(length[1])] if length else rest
        answers.append((status[1].decode(), body))
        received = rest[len(body) :]
    return answers


def wrong(status: str, body: bytes) -> str | None:
    """What is wrong with an answer, or None."""
    if status[0] == "5":
        return f"status {status}"
    if status[0] == "4" and body and list(json.loads(body)) != ["error"]:
        return f"status {status} with {body[:100]!r}"
    if status[0] == "2" and body.startswith(b"{"):
        json.loads(body)
    return None


if __name__ == "__main__":
    sys.exit(main())
