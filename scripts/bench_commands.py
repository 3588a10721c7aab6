#!/usr/bin/env python
"""What a user waits for around the training: start-up, vocabulary and tokens (first and cached), whole predictions.

    .venv/bin/python scripts/bench_commands.py                    made-up documents
    .venv/bin/python scripts/bench_commands.py --data train.csv   your own (columns text, label)

A small model of configs/documents.yaml is trained first; how well does not matter for how fast. `predict` is held
against the model's own time on the same rows, already read and tokenised, in a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
CONFIG = str(ROOT / "configs" / "documents.yaml")

ENCODE = """
import sys, time
from lstm_cli.config.load import load_config
from lstm_cli.data.sources import load_splits
from lstm_cli.data.text import Text
config = load_config(sys.argv[1], ["data.train=" + sys.argv[2]])
rows = load_splits(config.data, 0, content=Text).train
began = time.perf_counter(); task = config.task.fit(rows); learned = time.perf_counter()
task.encode(rows)
print(learned - began, time.perf_counter() - learned)
"""

FORWARD = """
import sys, time
from pathlib import Path
from lstm_cli.runs.checkpoint import load_checkpoint
from lstm_cli.config.load import load_config
from lstm_cli.data.sources import open_rows
from lstm_cli.data.text import Text
from lstm_cli.scoring.prediction import predict_store
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runtime import start
config = load_config(sys.argv[1], [])
runtime = start(config.run, trains=False)
task, model = load_checkpoint(RunFolder.open(Path(sys.argv[1])).checkpoint("best")).load(runtime.device)
rows = list(open_rows(sys.argv[2], config.data, "predict", labelled=False, content=Text))
stores = [task.encode_window(rows[i : i + 8192]) for i in range(0, len(rows), 8192)]
began = time.perf_counter()
for store in stores:
    predict_store(model, task.outputs, store, runtime)
print(time.perf_counter() - began)
"""


def made_up(path: Path, count: int) -> None:
    """Documents as long as film reviews, of words as frequent as in any text."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for i in range(count):
            length = int(np.clip(np.exp(rng.normal(5.37, 0.65)), 2, 2_000))
            ranks = np.exp(rng.uniform(0.0, np.log(60_000), length)).astype(int)
            table.writerow([" ".join(f"word{rank}" for rank in ranks), "ab"[i % 2]])


def first_rows(source: Path, target: Path, count: int) -> int:
    """Copy the first rows; returns how many there were."""
    csv.field_size_limit(2**30)
    with (
        source.open(encoding="utf-8", newline="") as file,
        target.open("w", encoding="utf-8", newline="") as copy,
    ):
        table = csv.writer(copy)
        number = -1
        for number, row in enumerate(csv.reader(file)):
            if number > count:
                return count
            table.writerow(row)
        return number


def seconds_of(arguments: list[str], text: str = "") -> float:
    return measured(arguments, text)[0]


def measured(arguments: list[str], text: str = "") -> tuple[float, float]:
    """Seconds and peak resident megabytes of one process."""
    began = time.perf_counter()
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stdin is not None
    with process.stdin:
        process.stdin.write(text)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: failed")
    return time.perf_counter() - began, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def printed_by(code: str, *arguments: str) -> list[float]:
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
    )
    return [float(value) for value in answer.stdout.split()]


def show(what: str, values: list[float], unit: str) -> None:
    print(
        f"{what:44} {statistics.median(values):8.2f} {unit:4} {min(values):8.2f} … {max(values):.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a CSV with the columns text and label")
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    lstmcls = [sys.executable, "-m", "lstm_cli.cli"]
    repeats = range(options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        path, few, run = Path(folder) / "rows.csv", Path(folder) / "few.csv", f"{folder}/run"
        if options.data:
            count = first_rows(options.data, path, options.rows)
        else:
            made_up(path, options.rows)
            count = options.rows
        first_rows(path, few, 2_000)
        megabytes = path.stat().st_size / 1e6
        print(f"{count:,} rows, {megabytes:.0f} MB; median, lowest … highest of {options.repeats}")
        show("lstmcls --help", [seconds_of([*lstmcls, "--help"]) for _ in repeats], "s")
        show(
            "python -c 'import torch'",
            [seconds_of([sys.executable, "-c", "import torch"]) for _ in repeats],
            "s",
        )

        first, cached = [], []
        for number in repeats:
            os.environ["XDG_CACHE_HOME"] = f"{folder}/cache-{number}"
            first.append(printed_by(ENCODE, CONFIG, str(path)))
            cached.append(printed_by(ENCODE, CONFIG, str(path)))
        for name, times in (("first", first), ("cached", cached)):
            show(f"learn the vocabulary of {count:,} rows, {name}", [learn for learn, _ in times], "s")
            show(f"tokenise {count:,} rows, {name}", [encode for _, encode in times], "s")

        train = [
            "--set",
            f"data.train={few}",
            "--set",
            "train.epochs=1",
            "--no-baselines",
            "--quiet",
            "--run",
            run,
        ]
        subprocess.run([*lstmcls, "train", CONFIG, *train], check=True)
        show(
            "predict one line",
            [seconds_of([*lstmcls, "predict", run, "-"], "a line\n") for _ in repeats],
            "s",
        )
        whole, forward, ratios, peaks = [], [], [], []
        for _ in repeats:
            forward += printed_by(FORWARD, run, str(path))
            predict = ["predict", run, str(path), "-o", f"{folder}/out.jsonl", "--quiet"]
            seconds, peak = measured([*lstmcls, *predict])
            whole.append(seconds)
            peaks.append(peak)
            ratios.append(seconds / forward[-1])
        show(f"the model's own time on {count:,} rows", forward, "s")
        show("lstmcls predict, the whole command", whole, "s")
        show("  against the model's own time", ratios, "×")
        show("  documents", [count / value for value in whole], "/s")
        show("  text", [megabytes / value for value in whole], "MB/s")
        show("  peak memory", peaks, "MB")
        size = sum(file.stat().st_size for file in Path(run, "checkpoints", "best").iterdir())
        print(f"{'model on disk':44} {size / 1e6:8.1f} MB")


if __name__ == "__main__":
    main()
