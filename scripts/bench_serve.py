#!/usr/bin/env python
"""How fast `lstmcls serve` answers, beside a handler that calls the model for each request.

    .venv/bin/python scripts/bench_serve.py runs/reviews                    1, 8 and 64 clients, one text per request
    .venv/bin/python scripts/bench_serve.py exported/reviews --texts 16     16 texts per request
    .venv/bin/python scripts/bench_serve.py runs/reviews --minutes 3        a soak: memory and errors over time

Clients keep their connection and send the next request when they have the answer. They run in a process of their own,
on the same machine: client and server share its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PLAIN = """
import json, sys
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route
import lstm_cli

model = lstm_cli.load(sys.argv[1])

async def predict(request):
    texts = (await request.json())["texts"]
    probs = await run_in_threadpool(model.predict_proba, texts)
    return JSONResponse([{"label": str(model.classes_[p.argmax()]), "score": float(p.max())} for p in probs])

app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
config = uvicorn.Config(app, port=0, access_log=False, log_level="info")
uvicorn.Server(config).run()
"""


@dataclass(frozen=True, slots=True)
class Load:
    """How the clients ask: so many of them, for so many seconds, so many texts per request."""

    clients: int
    seconds: float
    texts: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a run or an exported folder")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--texts", type=int, default=1, help="per request")
    parser.add_argument("--minutes", type=float, help="soak with 8 clients instead")
    parser.add_argument("--no-plain", action="store_true", help="leave out the handler to compare with")
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.port:
        print(
            json.dumps(
                asyncio.run(clients(options.port, Load(options.clients[0], options.seconds, options.texts)))
            )
        )
        return
    serve = [sys.executable, "-m", "lstm_cli", "serve", options.model, "--port", "0"]
    if options.minutes:
        with server(serve) as (process, port):
            soak(process, port, options.minutes, options.texts)
        return
    servers = {"serve": serve}
    if not options.no_plain:
        servers["plain handler"] = [sys.executable, "-c", PLAIN, options.model]
    print(f"{options.texts} texts per request; p50 and p99 in ms; memory: the server's peak")
    print("server          clients  requests/s  texts/s    p50    p99  errors  memory")
    for name, command in servers.items():
        for count in options.clients:
            with server(command) as (process, port):
                measure(port, Load(count, 1.0, options.texts))  # until caches are warm
                found = measure(port, Load(count, options.seconds, options.texts))
                print(f"{name:14} {count:8} {line(found, options.texts)} {peak(process):5} MB", flush=True)


def line(found: dict[str, float], texts: int) -> str:
    rate = found["requests"] / found["seconds"]
    p50, p99 = 1000 * found["p50"], 1000 * found["p99"]
    return f"{rate:11,.0f} {rate * texts:8,.0f} {p50:6.1f} {p99:6.1f} {found['errors']:7.0f}"


def soak(process: subprocess.Popen[str], port: int, minutes: float, texts: int) -> None:
    """Print rate, errors and memory every tenth of the time."""
    print("minute  requests/s  texts/s    p50    p99  errors  memory now")
    for part in range(10):
        found = measure(port, Load(8, 6 * minutes, texts))
        print(f"{(part + 1) * minutes / 10:6.1f} {line(found, texts)} {now(process):8} kB", flush=True)


def measure(port: int, load: Load) -> dict[str, float]:
    """Let clients in another process ask."""
    numbers = ["--clients", str(load.clients), "--seconds", str(load.seconds), "--texts", str(load.texts)]
    command = [sys.executable, __file__, "-", "--port", str(port), *numbers]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


@contextmanager
def server(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server, as soon as it answers, and its port."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = next(
            (int(found[1]) for one in process.stderr if (found := re.search(r"http://.*:(\d+) ", one))), None
        )
        if port is None:
            raise SystemExit(f"{' '.join(command[:4])} …: does not serve")
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)  # its log
        try:
            yield process, port
        finally:
            process.terminate()
            process.wait()
            drain.kill()
            drain.wait()


def peak(process: subprocess.Popen[str]) -> int:
    return status(process, "VmHWM") // 1024


def now(process: subprocess.Popen[str]) -> int:
    return status(process, "VmRSS")


def status(process: subprocess.Popen[str], name: str) -> int:
    """A number of kilobytes from /proc; 0 where there is none."""
    with suppress(OSError):
        found = re.search(rf"{name}:\s*(\d+) kB", Path(f"/proc/{process.pid}/status").read_text("ascii"))
        return int(found[1]) if found else 0
    return 0


# --- the clients -------------------------------------------------------------------------------------------------


def bodies(texts: int) -> list[bytes]:
    """Questions of 4 to 16 made-up words a text."""
    rng = random.Random(0)
    made = [" ".join(f"word{rng.randrange(3000)}" for _ in range(rng.randrange(4, 17))) for _ in range(2000)]
    return [json.dumps({"texts": [rng.choice(made) for _ in range(texts)]}).encode() for _ in range(500)]


async def clients(port: int, load: Load) -> dict[str, float]:
    """Requests, errors, seconds, and the median and 99th percentile of the seconds of a request."""
    taken: list[float] = []
    statuses: Counter[bytes] = Counter()
    asked = bodies(load.texts)
    began = time.perf_counter()
    await asyncio.gather(
        *(client(port, asked, i, began + load.seconds, taken, statuses) for i in range(load.clients))
    )
    seconds = time.perf_counter() - began
    taken.sort()
    errors = sum(count for status, count in statuses.items() if status != b"200")
    rank = {
        name: taken[min(int(share * len(taken)), len(taken) - 1)]
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }
    return {"requests": len(taken), "errors": errors, "seconds": seconds, **rank}


async def client(
    port: int, asked: list[bytes], number: int, end: float, taken: list[float], statuses: Counter[bytes]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    place = number * 37
    while (began := time.perf_counter()) < end:
        body = asked[place % len(asked)]
        place += 1
        writer.write(
            b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head)
        assert found is not None
        await reader.readexactly(int(found[1]))
        taken.append(time.perf_counter() - began)
        statuses[head[9:12]] += 1
    writer.close()


if __name__ == "__main__":
    main()
