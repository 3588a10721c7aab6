"""How the golden runs were made: `python tests/golden/make.py` at the top of the repository, refused the second time.

The rows are a few hundred of the built-in corpus.
"""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from pathlib import Path

from lstm_cli.cli import app
from lstm_cli.data.builtin import Split, reviews

FOLDER = Path("tests/golden")
SIZES: dict[Split, int] = {"train": 300, "dev": 60, "test": 60}
STRANGE = [
    "",
    "   ",
    "zyx wvu",
    "The plot was dull. " * 30,
    "dull",
    "NOT dull!",
    "ein Café 🎬",
    "x\u0085y\u2028z",
    "line\nbreak\ttab",
    "<br />great<br />",
]
DROPPED = (
    "lstm/checkpoints/*.previous",
    "gru/checkpoints/*.previous",
    "gru/checkpoints/last",
    "*/plots",
    "*/eval/*/plots",
)
KEPT = ("versions", "seed", "device", "precision", "threads", "deterministic", "data")


def main() -> None:
    rows = FOLDER / "rows"
    rows.mkdir()
    for split, size in SIZES.items():
        with (rows / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerows([("text", "label"), *itertools.islice(reviews(split), size)])
    texts = [text for text, _ in itertools.islice(reviews("test"), 60, 80)]
    texts += [
        " ".join(texts[:8]),
        *STRANGE,
    ]  # the first is longer than max_tokens, and no two of its parts are alike
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (FOLDER / "texts.jsonl").write_text(lines, encoding="utf-8")
    for name in ("lstm", "gru"):
        run = f"{FOLDER}/{name}"
        app(["train", f"{run}.yaml", "--run", run], standalone_mode=False)
        environment = FOLDER / name / "environment.json"
        facts = json.loads(environment.read_text(encoding="utf-8"))
        environment.write_text(
            json.dumps({key: facts[key] for key in KEPT}, indent=2) + "\n", encoding="utf-8"
        )
        options = ["--probs", "-o", f"{run}.predictions.jsonl"]
        app(["predict", run, f"{FOLDER}/texts.jsonl", *options], standalone_mode=False)
    for pattern in DROPPED:
        for folder in FOLDER.glob(pattern):
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
