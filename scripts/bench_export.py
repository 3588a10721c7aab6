#!/usr/bin/env python
"""An exported folder against its run: the CPU time of a call, texts per second of it, the start of the command, sizes.

    .venv/bin/python scripts/bench_export.py runs/reviews --data reviews.csv

RUN is a trained run, `--data` a file whose texts are predicted (column text). Each model runs on one thread, in a
process of its own, in turns, and the best of all calls counts: what else runs on the machine only adds. Calls are
measured in CPU time, all threads together; the command in the time that passes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CALLS = """
import json, sys, time
import lstm_cli
path, seconds = sys.argv[1], float(sys.argv[2])
model = lstm_cli.load(path, threads=1, device="cpu")
found = {}
for name, texts in json.loads(sys.stdin.read()).items():
    model.predict_proba(texts[:64])
    times, until = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < until:
        began = time.process_time()
        model.predict_proba(texts)
        times.append(time.process_time() - began)
    found[name] = min(times)
print(json.dumps(found))
"""
_TEXTS = 500
KINDS = {"run (torch)": None, "fp32": [], "int8": ["--int8", "--force"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--data", required=True, metavar="FILE", help="texts for the rows per second")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each cell of the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = exports(arguments.run, Path(folder))
        texts = read_texts(arguments.data)
        sets = batches(texts)
        best: dict[str, dict[str, float]] = {name: {} for name in paths}
        for _ in range(arguments.repeats):
            for name, path in paths.items():
                for cell, seconds in calls(path, sets, arguments).items():
                    best[name][cell] = min(seconds, best[name].get(cell, seconds))
                started = min(command(path, "--text", "x") for _ in range(5))
                best[name]["start"] = min(started, best[name].get("start", started))
        show(paths, sets, best)


def exports(run: Path, folder: Path) -> dict[str, Path]:
    """The run and its exports by name."""
    paths = {"run (torch)": run}
    for name, options in KINDS.items():
        if options is not None:
            paths[name] = folder / name
            subprocess.run([*lstmcls(), "export", run, "-o", folder / name, "-q", *options], check=True)
    return paths


def lstmcls() -> list[str]:
    return [str(Path(sys.executable).with_name("lstmcls"))]


def read_texts(path: str) -> list[str]:
    from lstm_cli.data.config import DataConfig
    from lstm_cli.data.sources import open_rows
    from lstm_cli.data.text import Text

    rows = open_rows(path, DataConfig(train=path), "predict", labelled=False, content=Text)
    return [row.content.text for row in rows][:_TEXTS]


def batches(texts: list[str]) -> dict[str, list[str]]:
    """Texts of 20 and of 200 words, one and 64 of them, and all texts of the file."""
    words = " ".join(texts[:2_000]).split()
    sets: dict[str, list[str]] = {}
    for length in (20, 200):
        made = [" ".join(words[i * length : (i + 1) * length]) for i in range(64)]
        sets |= {f"1 text of {length} words": made[:1], f"64 texts of {length} words": made}
    return sets | {f"{len(texts):,} texts of the file": texts}


def calls(path: Path, sets: dict[str, list[str]], arguments: argparse.Namespace) -> dict[str, float]:
    """The fastest call of `predict_proba` for each set of texts, in seconds."""
    done = subprocess.run(
        [sys.executable, "-c", CALLS, str(path), str(arguments.seconds)],
        input=json.dumps(sets),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def command(path: Path, *options: str) -> float:
    """The seconds that `lstmcls predict` takes from its start to its end."""
    began = time.perf_counter()
    subprocess.run([*lstmcls(), "predict", str(path), *options], check=True, capture_output=True)
    return time.perf_counter() - began


def show(paths: dict[str, Path], sets: dict[str, list[str]], best: dict[str, dict[str, float]]) -> None:
    """Print the table as Markdown."""
    print(f"| | {' | '.join(paths)} |")
    print("|---" * (len(paths) + 1) + "|")
    for name, texts in sets.items():
        if "of the file" in name:
            cells = [f"{len(texts) / best[kind][name]:,.0f} texts/s" for kind in paths]
        else:
            cells = [f"{1000 * best[kind][name]:.2f} ms" for kind in paths]
        print(f"| {name} | {' | '.join(cells)} |")
    starts = [f"{best[kind]['start']:.2f} s" for kind in paths]
    print(f"| `lstmcls predict … --text x`, the whole command | {' | '.join(starts)} |")
    sizes = [f"{size(path) / 1e6:.1f} MB" for path in paths.values()]
    print(f"| files | {' | '.join(sizes)} |")


def size(path: Path) -> int:
    """The bytes of the model's files: of a run, those of its best checkpoint."""
    best = path / "checkpoints" / "best"
    return sum(file.stat().st_size for file in (best if best.is_dir() else path).iterdir())


if __name__ == "__main__":
    main()
