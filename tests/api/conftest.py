"""A trained run that the tests of the Python API share."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import lstm_cli
from tests.conftest import small_rows


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A config of a few hundred weights with n-grams, for 120 training rows and 40 dev rows."""
    folder = tmp_path_factory.mktemp("python")
    for name, count, seed in (("train", 120, 0), ("dev", 40, 1)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *small_rows(count, seed)])
    (folder / "small.yaml").write_text(
        f"""
data: {{train: {folder}/train.csv, dev: {folder}/dev.csv}}
task:
  tokenizer: {{kind: word, min_count: 1}}
  features: ngrams
  encoder: {{embedding_size: 8, hidden_size: 8}}
train: {{epochs: 1, batch_size: 16, learning_rate: 0.01}}
run: {{dir: {folder}/run, threads: 1}}
""",
        encoding="utf-8",
    )
    return str(folder / "small.yaml")


@pytest.fixture(scope="session")
def run(config: str) -> lstm_cli.Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(Path(config).parent / "cache"))
        return lstm_cli.train(config, baselines=False, quiet=True)
