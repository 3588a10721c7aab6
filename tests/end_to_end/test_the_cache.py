"""A training whose cache is damaged, cannot be written or is shared with other trainings: the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.data import cache
from lstm_cli.data.cache import cache_folder

NGRAMS = ("--set", "task.features=ngrams", "--set", "train.epochs=1", "--no-baselines")


def train(yaml: str, run: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(app, ["train", yaml, "--run", str(run), *NGRAMS, *arguments])
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    return result


def made(run: Path) -> list[bytes]:
    names = ("checkpoints/best/model.safetensors", "eval/test/predictions.jsonl")
    return [(run / name).read_bytes() for name in names]


def test_a_damaged_cache_is_made_again_said_once_and_changes_nothing(small_yaml: str, tmp_path: Path) -> None:
    assert "warning" not in train(small_yaml, tmp_path / "first").stderr
    files = [path for path in cache_folder().rglob("*") if path.is_file()]
    entries = {path.relative_to(cache_folder()).parts[0] for path in files}
    assert len(entries) == 5  # train, dev and test; vocabulary and n-grams
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    again = train(small_yaml, tmp_path / "again")
    assert again.stderr.count("warning: ") == again.stderr.count("so it is made again") == len(entries)
    assert made(tmp_path / "again") == made(tmp_path / "first")
    assert "warning" not in train(small_yaml, tmp_path / "third").stderr


def test_a_training_without_a_cache_that_can_be_written_says_so_once_and_gives_the_same(
    small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(small_yaml, tmp_path / "first")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "_temporary", None)
    without = train(small_yaml, tmp_path / "without")
    assert without.stderr.count("warning: ") == without.stderr.count("set XDG_CACHE_HOME to a folder") == 1
    assert made(tmp_path / "without") == made(tmp_path / "first")


def test_a_size_of_the_cache_that_is_none_is_a_fault_of_the_settings(
    small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSTMCLS_CACHE_GB", "five")
    result = CliRunner().invoke(app, ["train", small_yaml, "--run", str(tmp_path / "run")])
    assert (result.exit_code, result.stderr.count("error: LSTMCLS_CACHE_GB")) == (2, 1)


def test_folds_leave_nothing_in_the_cache(small_yaml: str, tmp_path: Path) -> None:
    train(small_yaml, tmp_path / "folds", "--folds", "2", "--set", "data.test=null")
    assert list(cache_folder().iterdir()) == []
