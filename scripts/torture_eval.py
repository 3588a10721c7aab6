#!/usr/bin/env python
"""Let two evaluations of different rows write the same folder at once, kill them with SIGKILL at random times, and look
whether the folder is ever a mixture of both.

    python scripts/torture_eval.py --rounds 200

Prints how many rounds left the one or the other, how many kills there were, and how many mixtures (exit 1 if any).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).parent.parent))

from lstm_cli.runs.swap import settled
from scripts.torture_predict import CONFIG, write_rows

Digests = Mapping[str, str]


class Process(Protocol):
    """A process that was started."""

    def kill(self) -> None: ...
    def wait(self) -> int: ...


@dataclass
class Forked:
    """A process that this one has forked."""

    pid: int

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@dataclass
class Outcome:
    """What the rounds came to: which evaluation stood at the end of each, how many processes were killed in it, and how
    often neither stood whole."""

    found: Counter[str] = field(default_factory=Counter)
    killed: int = 0
    mixed: int = 0


def digests(folder: Path) -> Digests:
    """SHA-256 of every file below `folder` by its relative path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def torture(
    starts: Sequence[Callable[[], Process]],
    folder: Path,
    expected: Mapping[str, Digests],
    seconds: float,
    rounds: int,
    rng: random.Random,
) -> Outcome:
    """Start all processes at once, `rounds` times, and kill one or all of them within `seconds`.

    `expected` are the contents that `folder` may have afterwards.
    """
    outcome = Outcome()
    for _ in range(rounds):
        processes = [start() for start in starts]
        victims = rng.choice([processes, *([process] for process in processes)])
        time.sleep(rng.uniform(0, seconds))
        for process in victims:
            process.kill()
        codes = [process.wait() for process in processes]
        outcome.killed += codes.count(-signal.SIGKILL)
        if wrong := [code for code in codes if code not in (0, -signal.SIGKILL)]:
            raise RuntimeError(f"exit {wrong}")
        left = digests(settled(folder))
        name = next((name for name, files in expected.items() if files == left), None)
        if name is None:
            outcome.mixed += 1
        else:
            outcome.found[name] += 1
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
        sys.exit(_torture_evaluations(Path(name), arguments.rounds, arguments.seed))


def _torture_evaluations(folder: Path, rounds: int, seed: int) -> int:
    from lstm_cli.cli import app

    def lstmcls(*command: str) -> None:
        app([*command, "--quiet"], standalone_mode=False)

    write_rows(folder / "train.csv", 200, seed + 1, unreadable=False)
    (folder / "small.yaml").write_text(CONFIG.format(folder=folder), encoding="utf-8")
    lstmcls("train", str(folder / "small.yaml"), "--no-baselines")
    scored = folder / "run" / "eval" / "test"

    def evaluate(rows: str) -> None:
        lstmcls("eval", str(folder / "run"), "--set", f"data.test={folder / rows}", "--split", "test")

    expected: dict[str, Digests] = {}
    began = time.monotonic()
    for i, rows in enumerate(("one.csv", "two.csv")):
        write_rows(folder / rows, 300, seed + 2 + i, unreadable=False)
        evaluate(rows)  # also fits the baselines
        began = time.monotonic()
        evaluate(rows)
        expected[rows] = digests(scored)

    def forked(rows: str) -> Process:
        if pid := os.fork():
            return Forked(pid)
        try:
            evaluate(rows)
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)

    seconds = 3 * (time.monotonic() - began)
    starts = [partial(forked, rows) for rows in expected]
    outcome = torture(starts, scored, expected, seconds, rounds, random.Random(seed))
    evaluate("one.csv")
    left = [path.name for path in scored.parent.iterdir() if path.name.startswith(".")]
    print(
        f"{rounds} rounds, {outcome.killed} of {2 * rounds} processes killed: "
        f"{', '.join(f'{count} times {rows}' for rows, count in sorted(outcome.found.items()))}, "
        f"{outcome.mixed} mixtures; left over after one more evaluation: {left or 'nothing'}"
    )
    return 1 if outcome.mixed or left else 0


if __name__ == "__main__":
    main()
