"""A training whose cache is damaged, cannot be written or is shared with other trainings: the same bytes."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.data import cache
from lstm_cli.data.cache import cache_folder
from lstm_cli.data.config import DataConfig
from lstm_cli.data.sources import Rows, open_rows
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError
from lstm_cli.features.ngrams import Ngrams
from lstm_cli.tasks.classify import ClassifyConfig

NGRAMS = ("--set", "task.features=ngrams", "--set", "train.epochs=1", "--no-baselines")


def train(yaml: str, run: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(app, ["train", yaml, "--run", str(run), *NGRAMS, *arguments])
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    return result


def warnings_of(result: Result) -> list[str]:
    """The warnings that are not about the rows."""
    lines = result.stderr.splitlines()
    return [line for line in lines if line.startswith("warning: ") and "few rows" not in line]


def made(run: Path) -> list[bytes]:
    names = ("checkpoints/best/model.safetensors", "eval/test/predictions.jsonl")
    return [(run / name).read_bytes() for name in names]


def test_a_damaged_cache_is_made_again_said_once_and_changes_nothing(small_yaml: str, tmp_path: Path) -> None:
    assert warnings_of(train(small_yaml, tmp_path / "first")) == []
    files = [path for path in cache_folder().rglob("*") if path.is_file()]
    entries = {path.relative_to(cache_folder()).parts[0] for path in files}
    assert len(entries) == 5  # train, dev and test; vocabulary and n-grams
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    again = train(small_yaml, tmp_path / "again")
    said = warnings_of(again)
    assert len(said) == len(entries)
    assert all("so it is made again" in line for line in said)
    assert made(tmp_path / "again") == made(tmp_path / "first")
    assert warnings_of(train(small_yaml, tmp_path / "third")) == []


def test_a_training_without_a_cache_that_can_be_written_says_so_once_and_gives_the_same(
    small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(small_yaml, tmp_path / "first")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "_temporary", None)
    without = train(small_yaml, tmp_path / "without")
    (said,) = warnings_of(without)
    assert "set XDG_CACHE_HOME to a folder" in said
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


@pytest.mark.parametrize(
    "moment", ["Labels.learn", "learn_tokenizer", "Ngrams.learn", "Classify._encode_chunks"]
)
def test_nothing_is_kept_of_a_file_that_changes_in_the_middle_of_a_training(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the key of the old rows, or later trainings on those would read the new ones."""
    path = tmp_path / "rows.csv"
    old, new = (
        "text,label\n" + "".join(f"{word}{i % 3} {i},{'ab'[i % 2]}\n" for i in range(40))
        for word in ("old", "new")
    )
    config = ClassifyConfig.model_validate({"features": "ngrams", "tokenizer": {"min_count": 1}})

    def rows() -> Rows[Text]:
        data = DataConfig(train=str(path))
        return open_rows(str(path), data, "train", labelled=True, content=Text)

    def results() -> list[object]:
        task = config.fit(rows())
        store = task.encode(rows())
        arrays = (store.inputs.values, store.known_targets, store.extras["ngram_logits"])
        return [task.files(), *(np.asarray(array).tolist() for array in arrays)]

    path.write_text(old, encoding="utf-8")
    changing = rows()
    changing.digest()
    before = pkgutil.resolve_name(f"lstm_cli.tasks.classify:{moment}")

    def changed(*arguments: Any) -> Any:
        path.write_text(new, encoding="utf-8")
        return before(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(f"lstm_cli.tasks.classify.{moment}", changed)
        with pytest.raises(DataError, match=r"rows\.csv: has changed since it was read first"):
            config.fit(changing).encode(changing)
    path.write_text(old, encoding="utf-8")
    found = results()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    assert results() == found


def test_a_training_on_a_file_that_changes_meanwhile_ends_as_unusable_data(
    small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Ngrams.learn

    def changed(*arguments: Any) -> Any:
        with (tmp_path / "train.csv").open("a", encoding="utf-8") as file:
            file.write("one row more,positive\n")
        return learn(*arguments)

    monkeypatch.setattr(Ngrams, "learn", changed)
    result = CliRunner().invoke(app, ["train", small_yaml, "--run", str(tmp_path / "run"), *NGRAMS])
    assert (result.exit_code, result.stderr.count("error: ")) == (3, 1), result.exception
    assert "train.csv: has changed since it was read first" in result.stderr
