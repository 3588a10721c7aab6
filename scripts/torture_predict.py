#!/usr/bin/env python
"""Kill `lstmcls predict … -o OUT --resume` with SIGKILL at random times, many times, and compare what it writes in the
end with what it writes undisturbed.

    python scripts/torture_predict.py --kills 50

Prints the number of kills survived, the files finished in between, and how many rows were kept at each kill.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

CONFIG = """
data: {{train: {folder}/train.csv, dev: 0.2}}
task:
  tokenizer: {{kind: word, min_count: 1}}
  max_tokens: 60
  encoder: {{embedding_size: 32, hidden_size: 64}}
train: {{epochs: 1, batch_size: 32}}
run: {{dir: {folder}/run, threads: 1}}
"""


@dataclass
class Outcome:
    """What the kills came to: rows kept at each, files that were finished, and those of them that differed."""

    rows_kept: list[int] = field(default_factory=list)
    finished: int = 0
    different: int = 0


def torture(
    command: list[str], output: Path, whole: str, seconds: float, kills: int, rng: random.Random
) -> Outcome:
    """Run `command … -o output --resume` until it has been killed `kills` times and has finished after the last.

    `whole` is the SHA-256 of what it writes undisturbed, in so many `seconds`: a kill falls anywhere in them.
    """
    outcome = Outcome()
    record = output.with_name(f".{output.name}.part.json")
    while True:
        process = subprocess.Popen([*command, "-o", str(output), "--resume"], stderr=subprocess.PIPE)
        last = len(outcome.rows_kept) >= kills
        try:
            _, said = process.communicate(timeout=None if last else rng.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
        if process.returncode == -signal.SIGKILL:
            kept = json.loads(record.read_bytes())["done"]["rows"] if record.exists() else 0
            outcome.rows_kept.append(kept)
        elif process.returncode != 0:
            raise RuntimeError(f"exit {process.returncode}: {said.decode()}")
        if output.exists():
            outcome.finished += 1
            outcome.different += sha256(output) != whole
            output.unlink()
        if last:
            return outcome


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_rows(path: Path, count: int, seed: int, *, unreadable: bool = True) -> None:
    """A CSV with quotes, line ends and commas in a column that is kept; every 50th row may have a field too many."""
    rng = random.Random(seed)
    notes = ["plain", 'a "quoted" one', "two\nlines", "crlf\r\nand, a comma", ""]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label", "note"])
        for i in range(count):
            words = " ".join(f"word{rng.randrange(300)}" for _ in range(rng.randrange(1, 60)))
            extra = ["too many"] if unreadable and i % 50 == 49 else []
            table.writerow(
                [f"{words} {('bad', 'good')[i % 2]}", ("no", "yes")[i % 2], rng.choice(notes), *extra]
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    lstmcls = [sys.executable, "-m", "lstm_cli.cli"]
    formats = ("csv", "jsonl", "tsv", "parquet")
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "train.csv", 200, arguments.seed + 1, unreadable=False)
        write_rows(folder / "in.csv", arguments.rows, arguments.seed)
        (folder / "small.yaml").write_text(CONFIG.format(folder=folder), encoding="utf-8")
        subprocess.run([*lstmcls, "train", str(folder / "small.yaml"), "-q", "--no-baselines"], check=True)
        command = [*lstmcls, "predict", str(folder / "run"), str(folder / "in.csv"), "--probs", "--quiet"]
        for i, format in enumerate(formats):
            whole = folder / f"whole.{format}"
            began = time.monotonic()
            subprocess.run([*command, "-o", str(whole)], check=True)
            seconds = time.monotonic() - began
            kills = arguments.kills // len(formats) + (i < arguments.kills % len(formats))
            began = time.monotonic()
            outcome = torture(command, folder / f"out.{format}", sha256(whole), seconds, kills, rng)
            litter = [path.name for path in folder.iterdir() if path.name.startswith(".")]
            failed |= bool(outcome.different or litter)
            print(
                f"{format}: {len(outcome.rows_kept)} kills in {time.monotonic() - began:.0f} s; "
                f"{outcome.finished - outcome.different} of {outcome.finished} files finished after them have the "
                f"bytes of the undisturbed one; left over: {litter or 'nothing'}; rows kept at the kills: "
                f"{' '.join(map(str, sorted(outcome.rows_kept)))}"
            )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
