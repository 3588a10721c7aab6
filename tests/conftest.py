"""Every test keeps its caches to itself, touches no network, and runs on one thread's worth of numbers."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# how long an example takes depends on what else the machine has to do
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache" / "hub"))
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture(autouse=True, scope="session")
def _flush_denormals() -> None:
    torch.set_flush_denormal(True)


WORDS = {
    "negative": ["dull", "bad", "slow", "noisy", "never good"],
    "positive": ["fine", "good", "quick", "never bad"],
}


def small_rows(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label) rows of one to forty words that a small model learns in a few steps."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        label = ("negative", "positive")[i % 2]
        filler = [f"word{rng.randrange(30)}" for _ in range(rng.randrange(1, 40))]
        filler.insert(rng.randrange(len(filler)), rng.choice(WORDS[label]))
        rows.append((" ".join(filler) + f" {i}", label))
    return rows


@pytest.fixture
def small_yaml(tmp_path: Path) -> str:
    """A config with data beside it: 120 training, 40 dev and 40 test rows; a model of a few hundred weights."""
    for name, count, seed in (("train", 120, 0), ("dev", 40, 1), ("test", 40, 2)):
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *small_rows(count, seed)])
    path = tmp_path / "small.yaml"
    path.write_text(
        f"""
data: {{train: {tmp_path}/train.csv, dev: {tmp_path}/dev.csv, test: {tmp_path}/test.csv}}
task:
  tokenizer: {{kind: word, min_count: 1}}
  max_tokens: 30
  dropout: 0.2
  encoder: {{embedding_size: 8, hidden_size: 8, embedding_dropout: 0.1, word_dropout: 0.1}}
train: {{epochs: 3, batch_size: 16, learning_rate: 0.01}}
run: {{dir: {tmp_path}/run, threads: 1}}
""",
        encoding="utf-8",
    )
    return str(path)
