#!/usr/bin/env python
"""Write what docs/tour.md has below its marker: from an empty folder to an answer over HTTP, each command with what it
prints and the seconds it takes.

    .venv/bin/python scripts/tour.py

It takes two minutes, so the tests do not run the page's commands: its blocks are text.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "tour.md"
MARKER = "<!-- Everything below is written by scripts/tour.py. -->"
PORT = 8123
COLUMNS = 110


@dataclass(frozen=True, slots=True)
class Step:
    """What the reader is told, the command, and how many of its first and last lines are shown."""

    title: str
    said: str
    command: str
    first: int = 6
    last: int = 6


MADE = """python - > reviews.csv <<'END'
import csv, itertools, sys
from lstm_cli.data.builtin import reviews
rows = itertools.islice(reviews("train"), 3000)
csv.writer(sys.stdout).writerows([("text", "label"), *rows])
END"""
STEPS = (
    Step("A file", "Take your own. This one has the first rows of the built-in corpus.", MADE),
    Step("And in it", "", "head -n 4 reviews.csv"),
    Step("Train", "The columns and the preset are guessed.", "lstmcls train reviews.csv", 4, 16),
    Step(
        "Predict",
        "One line of JSON per text.",
        'lstmcls predict runs/reviews --text "The plot was not great, but the ending was a delight." --quiet',
    ),
    Step(
        "Explain",
        "What each word added to the label.",
        'lstmcls explain runs/reviews --text "The plot was not great, but the ending was a delight." --quiet',
        30,
        0,
    ),
    Step(
        "Export",
        "A folder that needs neither torch nor this config.",
        "lstmcls export runs/reviews -o exported --int8",
        8,
        8,
    ),
    Step("What is in it", "", "ls -sh exported", 12, 0),
    Step(
        "Predict without torch",
        "The same command takes the folder.",
        'lstmcls predict exported --text "The plot was not great, but the ending was a delight." --quiet',
    ),
    Step(
        "Serve",
        "Here in the background. Ctrl-C stops it in the foreground.",
        f"lstmcls serve exported --port {PORT} --quiet &\n"
        f"curl --silent --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:{PORT}/health",
    ),
    Step(
        "Ask it",
        "",
        f"curl --silent http://127.0.0.1:{PORT}/predict --json "
        '\'{"texts": ["A dull evening.", "A delight."], "probs": true}\'',
    ),
)


def main() -> None:
    head, marker, _ = PAGE.read_text("utf-8").partition(MARKER)
    if not marker:
        raise SystemExit(f"{PAGE}: has no line {MARKER}")
    with tempfile.TemporaryDirectory() as folder:
        blocks = [shown(step, Path(folder)) for step in STEPS]
        subprocess.run(["pkill", "-f", f"serve exported --port {PORT}"], check=False)
    PAGE.write_text(f"{head}{MARKER}\n\n" + "\n".join(blocks), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def shown(step: Step, folder: Path) -> str:
    """Run the command, and show it with its output as Markdown."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": str(COLUMNS), "NO_COLOR": "1", "HOME": str(folder)}
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        code = subprocess.run(
            ["bash", "-c", step.command], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        ).returncode
        seconds = time.perf_counter() - began
        output.seek(0)
        lines = [line.rstrip() for line in output.read().splitlines()]
    if code:
        raise SystemExit("\n".join([f"{step.command}: exit code {code}", *lines]))
    lines = [line for line in lines if line]
    if len(lines) > step.first + step.last + 1:
        lines = [*lines[: step.first], "…", *lines[len(lines) - step.last :]]
    command = re.sub("^", "> ", step.command, flags=re.MULTILINE).replace("> ", "$ ", 1)
    said = f"{step.said} " if step.said else ""
    block = "\n".join([command, *lines])
    return f"## {step.title}\n\n{said}{seconds:.1f} s:\n\n```text\n{block}\n```\n"


if __name__ == "__main__":
    main()
