"""`train --folds K --refit`: one model of all rows, with what the folds have found on rows they did not learn from."""

from __future__ import annotations

import json
import shutil
import signal
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.config.load import load_config
from lstm_cli.data.batching import collate
from lstm_cli.data.sources import load_splits
from lstm_cli.metrics.calibration import Calibration
from lstm_cli.runs import checkpoint
from lstm_cli.runs.checkpoint import load_checkpoint
from lstm_cli.runs.folder import RunFolder
from lstm_cli.tasks.classify import Classify

FOLDS = ("--set", "data.test=null", "--set", "data.dev=0.2", "--no-baselines", "--folds", "3")


def run(*arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output
    return result


def said(*arguments: str, exit_code: int = 0) -> str:
    return " ".join(run(*arguments, exit_code=exit_code).stderr.split())


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def made(run: Path) -> list[bytes]:
    """All files of both checkpoints that no clock is in."""
    files = [*sorted(run.glob("checkpoints/best/*")), *sorted(run.glob("checkpoints/last/*"))]
    assert files
    return [file.read_bytes() for file in files if file.name not in ("training.json", "manifest.json")]


@pytest.fixture
def yaml(small_yaml: str) -> str:
    """With n-grams, so that the calibration has two scales to fit."""
    path = Path(small_yaml)
    path.write_text(path.read_text("utf-8").replace("task:\n", "task:\n  features: ngrams\n"), "utf-8")
    return small_yaml


@pytest.fixture
def finished(yaml: str, tmp_path: Path) -> Path:
    """A finished group with a refit."""
    printed = said("train", yaml, *FOLDS, "--refit")
    group = tmp_path / "run"
    assert f"lstmcls predict {group} FILE" in printed
    assert f"lstmcls predict {group}/refit FILE" in printed
    return group


def test_it_learns_from_every_row_for_the_median_of_the_best_epochs_of_the_folds(finished: Path) -> None:
    folds = [finished / f"fold-{i}" for i in (1, 2, 3)]
    best = [load_checkpoint(fold / "checkpoints" / "best").about["epoch"] for fold in folds]
    records = [
        json.loads(line) for line in (finished / "refit/metrics.jsonl").read_text("utf-8").splitlines()
    ]
    assert len(records) == statistics.median(best)
    environment = read(finished / "refit/environment.json")
    assert environment["data"]["train"]["rows"] == 120  # the dev rows and the row of no fold too
    assert list(environment["data"]) == ["train"]
    # the learning rates are those of train.epochs, not of a shorter schedule
    fold = [json.loads(line) for line in (folds[0] / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert records[0]["learning_rate"] == pytest.approx(fold[0]["learning_rate"], rel=0.2)


def test_it_is_calibrated_on_rows_that_the_models_of_the_folds_did_not_learn_from(finished: Path) -> None:
    logits, ngrams, targets = [], [], []
    for number in (1, 2, 3):
        fold = finished / f"fold-{number}"
        task, model = load_checkpoint(fold / "checkpoints/best").load(torch.device("cpu"))
        config = load_config(str(fold))
        test: Any = load_splits(config.data, 0, content=config.task.content).test
        assert isinstance(task, Classify)
        assert test is not None
        store = task.encode(test)
        for row in range(len(store)):
            logits.append(task.uncalibrated(model, collate(store, np.array([row]))).detach().log().numpy())
        ngrams.append(store.extras["ngram_logits"].astype(np.float64))
        lines = (fold / "eval/test/predictions.jsonl").read_text("utf-8").splitlines()
        targets += [task.labels.names.index(json.loads(line)["target"]) for line in lines]
    expected = Calibration.fit(np.concatenate(logits), np.concatenate(ngrams), np.array(targets))
    weights = load_file(finished / "refit/checkpoints/best/model.safetensors")
    np.testing.assert_allclose(weights["scales"].numpy(), expected.scales, rtol=1e-3)


def stopped_by_a_signal(monkeypatch: pytest.MonkeyPatch) -> int:
    record = RunFolder.record

    def record_and_stop(self: RunFolder, line: dict[str, Any]) -> None:
        record(self, line)
        if self.path.name == "refit":
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "record", record_and_stop)
    return 143


def stopped_in_the_last_save(monkeypatch: pytest.MonkeyPatch) -> int:
    """After `best` was written with the calibration, and before `last` was."""
    write = checkpoint._write

    def write_best_only(folder: Path, *rest: Any) -> None:
        if folder.name == "last" and folder.parents[1].name == "refit" and (folder.parent / "best").exists():
            raise OSError(28, "No space left on device")
        write(folder, *rest)

    monkeypatch.setattr(checkpoint, "_write", write_best_only)
    return 1


@pytest.mark.parametrize("stop", [stopped_by_a_signal, stopped_in_the_last_save])
def test_stopped_and_resumed_it_has_the_same_bytes(
    finished: Path, yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: Any
) -> None:
    straight = made(finished / "refit")
    shutil.rmtree(finished / "refit")
    resume = ("train", str(finished), "--folds", "3", "--refit", "--resume", "--no-baselines")
    with monkeypatch.context() as patch:
        code = stop(patch)
        printed = said(*resume, exit_code=code)
    if code == 143:
        assert f"to resume: lstmcls train {finished} --folds 3 --refit --resume" in printed
    run(*resume)
    assert made(finished / "refit") == straight
    run(*resume)  # nothing changes any more
    assert made(finished / "refit") == straight


def test_folds_that_are_finished_get_a_refit_later_and_keep_it(yaml: str, tmp_path: Path) -> None:
    group = tmp_path / "run"
    run("train", yaml, *FOLDS)
    before = made(group / "fold-1")
    run("train", str(group), "--folds", "3", "--resume", "--refit", "--no-baselines")
    assert made(group / "fold-1") == before
    shutil.rmtree(group / "refit" / "checkpoints")
    run("train", str(group), "--folds", "3", "--resume", "--no-baselines")
    assert (group / "refit" / "checkpoints" / "best").exists()


def test_a_refit_has_no_rows_of_its_own_to_be_scored_on(finished: Path, tmp_path: Path) -> None:
    for split in ((), ("--split", "dev"), ("--split", "test")):
        message = said("eval", str(finished / "refit"), *split, exit_code=2)
        assert "learned from all rows of data.train" in message
    run("eval", str(finished / "refit"), "--data", f"{tmp_path}/test.csv", "--no-baselines")
    message = said("train", str(finished / "refit"), "--resume", exit_code=2)
    assert f"lstmcls train {finished} --folds K --refit --resume" in message
    checked = json.loads(run("verify", str(finished), "--json").stdout)
    assert [Path(one["run"]).name for one in checked["runs"]] == [
        "fold-1",
        "fold-2",
        "fold-3",
        "refit",
        "run",
    ]


def test_a_refit_without_what_it_needs_is_refused_before_anything_is_trained(
    small_yaml: str, tmp_path: Path
) -> None:
    for arguments, message in (
        (("--refit",), "--refit: needs --folds K"),
        (("--refit", "--seeds", "2"), "--refit: needs --folds K"),
        ((*FOLDS, "--refit", "--set", "train.schedule=plateau"), "try --set train.schedule=cosine"),
    ):
        assert message in said("train", small_yaml, *arguments, exit_code=2)
    assert not (tmp_path / "run").exists()


def test_a_refit_is_not_resumed_when_the_folds_have_changed(finished: Path) -> None:
    for name in ("best", "last"):
        target = finished / "fold-1/checkpoints" / name
        shutil.rmtree(target)
        shutil.copytree(finished / "fold-2/checkpoints" / name, target)
    resume = ("train", str(finished), "--folds", "3", "--resume", "--no-baselines")
    assert "the folds have changed since this run began" in said(*resume, exit_code=2)
