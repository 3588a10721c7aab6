#!/usr/bin/env python
"""Send SIGINT (or SIGTERM) to `lstmcls` commands at random times from their first moment on, many times, and look at
how they end.

    python scripts/torture_signals.py --rounds 200
    python scripts/torture_signals.py --rounds 200 --signal TERM --seconds 3

In order is: exit code 130 (143) and one line, or exit code 0 and the work done. Before its handlers are set, Python
itself ends: killed by the signal, or with a traceback of its own start. Those are counted apart, with the latest time
at which one was seen.
"""

from __future__ import annotations

import argparse
import collections
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from torture_predict import CONFIG, write_rows

IN_ORDER, OF_PYTHON, WRONG = "in order", "the start of Python", "WRONG"


def judge(code: int, said: str, number: int, is_done: bool) -> str:
    """How a command has ended that was sent the signal `number`."""
    lines = said.splitlines()
    if code == (130 if number == signal.SIGINT else 143) and len(lines) == 1:
        return IN_ORDER
    if code == 0 and is_done:
        return IN_ORDER
    if code == -number and not lines:
        return OF_PYTHON
    before_us = "Traceback" in said and "lstm_cli" not in said.replace("import main", "")
    return OF_PYTHON if before_us or "init_" in said or "site" in said else WRONG


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--signal", choices=["INT", "TERM"], default="INT")
    parser.add_argument(
        "--seconds", type=float, help="of the range of times; by default each command's duration"
    )
    parser.add_argument("--only", help="one command, such as predict")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    number = signal.Signals[f"SIG{options.signal}"]
    script = Path(sys.executable).with_name("lstmcls")
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "train.csv", 400, 1, unreadable=False)
        write_rows(folder / "in.csv", 2_000, 2)
        (folder / "small.yaml").write_text(CONFIG.format(folder=folder), encoding="utf-8")
        train = [script, "train", folder / "small.yaml", "-q", "--no-baselines"]
        subprocess.run(train, check=True)
        out, new = folder / "out.jsonl", folder / "new"
        commands: dict[str, tuple[list[Path | str], Path | None]] = {
            "--help": ([script, "--help"], None),
            "predict": ([script, "predict", folder / "run", folder / "in.csv", "-q", "-o", out], out),
            "eval": ([script, "eval", folder / "run", "-q", "--no-baselines"], None),
            "check": ([script, "check", folder / "small.yaml", "-q"], None),
            "train": ([*train, "--run", new], new / "eval" / "dev" / "metrics.json"),
        }
        for title, (command, target) in commands.items():
            if options.only not in (None, title):
                continue
            began = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds = options.seconds or time.monotonic() - began
            ends: collections.Counter[tuple[str, int]] = collections.Counter()
            latest, slowest = 0.0, 0.0
            for _ in range(options.rounds):
                out.unlink(missing_ok=True)
                shutil.rmtree(new, ignore_errors=True)
                after = rng.uniform(0, seconds)
                process = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
                )
                time.sleep(after)
                process.send_signal(number)
                sent = time.monotonic()
                _, said = process.communicate()
                slowest = max(slowest, time.monotonic() - sent)
                end = judge(process.returncode, said, number, target is None or target.exists())
                ends[end, process.returncode] += 1
                latest = max(latest, after if end == OF_PYTHON else 0.0)
                if end == WRONG:
                    wrong += 1
                    print(f"--- {title}, after {after:.3f} s: exit code {process.returncode}\n{said[-3000:]}")
            counts = ", ".join(f"{count} {end} ({code})" for (end, code), count in sorted(ends.items()))
            print(
                f"{title}: {options.rounds} times SIG{options.signal} within {seconds:.2f} s: {counts}; latest of "
                f"Python {latest:.3f} s; slowest end {slowest:.2f} s after the signal",
                flush=True,
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
