"""A run is resumed with the same rows, wherever they lie, and with more epochs; what it needs no more is deleted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.config.load import load_config


def run(*arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output
    return result


def epochs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture
def project(small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder whose config names its rows and its run by relative paths, and a run of it."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.csv").rename(folder / "data" / f"{name}.csv")
    text = Path(small_yaml).read_text("utf-8").replace(f"{tmp_path}/run", "runs/x")
    (folder / "small.yaml").write_text(text.replace(f"{tmp_path}/", "data/"), "utf-8")
    monkeypatch.chdir(folder)
    run("train", "small.yaml", "--no-baselines")
    return folder


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_a_project_that_was_moved_or_copied_is_used_from_any_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, move: Any
) -> None:
    elsewhere, other = tmp_path / "elsewhere", tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    move(project, elsewhere)
    shutil.rmtree(project, ignore_errors=True)
    there = elsewhere / "runs" / "x"
    config = (there / "config.yaml").read_bytes()
    run("train", str(there), "--resume", "--no-baselines")
    run("eval", "../elsewhere/runs/x", "--no-baselines")
    run("verify", str(there))
    assert (there / "config.yaml").read_bytes() == config  # and it can be moved again
    monkeypatch.chdir(elsewhere / "runs")
    run("eval", "x", "--split", "dev", "--no-baselines")


def test_paths_are_those_of_the_current_folder_first_and_of_the_configs_folder_next(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    (other / "data").mkdir(parents=True)
    shutil.copy(project / "data" / "dev.csv", other / "data" / "dev.csv")
    monkeypatch.chdir(other)
    config = load_config(str(project / "small.yaml"), ["data.test=data/test.csv"])
    assert config.data.dev == "data/dev.csv"
    assert config.data.train == str(project / "data" / "train.csv")
    assert config.data.test == "data/test.csv"  # it was typed here
    many = load_config(str(project / "small.yaml"), ['data.train=[a.csv, "builtin:reviews"]'])
    assert many.data.train == ["a.csv", "builtin:reviews"]


def test_the_same_rows_under_another_path_are_no_change_and_the_config_names_them(
    project: Path, tmp_path: Path
) -> None:
    (project / "data").rename(project / "rows")
    run("train", "small.yaml", "--resume", exit_code=3)  # they are not there
    text = (project / "small.yaml").read_text("utf-8").replace("data/", "rows/")
    (project / "small.yaml").write_text(text, "utf-8")
    run("train", "small.yaml", "--resume", "--no-baselines")
    assert load_config("runs/x").data.train == "rows/train.csv"
    before = (project / "runs" / "x" / "config.yaml").read_bytes()
    shutil.copy("rows/dev.csv", "other.csv")
    with (project / "other.csv").open("a", encoding="utf-8") as file:
        file.write("one more,positive\n")
    result = run("train", "small.yaml", "--resume", "--set", "data.dev=other.csv", exit_code=2)
    assert "the rows of dev have changed" in result.stderr
    assert (project / "runs" / "x" / "config.yaml").read_bytes() == before


def test_a_split_that_is_now_cut_or_not_is_a_change_of_the_config(project: Path) -> None:
    for change in ("data.dev=0.2", "data.test=null", "data.test=fold:1/5"):
        result = run("train", "small.yaml", "--resume", "--set", change, exit_code=2)
        assert "the config has changed" in result.stderr


def test_more_epochs_train_on_and_the_jump_of_the_learning_rate_is_said(project: Path) -> None:
    folder = project / "runs" / "x"
    before = epochs(folder)
    for change in ("train.epochs=2", "train.patience=2", "train.learning_rate=0.02"):
        result = run("train", "small.yaml", "--resume", "--set", change, exit_code=2)
        assert "only train.epochs and train.patience may rise" in result.stderr
    result = run("train", "small.yaml", "--resume", "--set", "train.epochs=5", "--no-baselines")
    after = epochs(folder)
    assert after[:3] == before
    assert [epoch["epoch"] for epoch in after] == [1, 2, 3, 4, 5]
    assert before[-1]["learning_rate"] < 0.5 * after[3]["learning_rate"]
    said = "the cosine schedule is now that of 5 epochs: the learning rate goes from "
    for text in (result.stderr, (folder / "log.txt").read_text("utf-8")):
        assert "train.epochs is raised from 3 to 5" in text
        assert said in " ".join(text.split())
    assert load_config("runs/x").train.epochs == 5
    assert "raised" not in run("train", "runs/x", "--resume", "--no-baselines").stderr
    assert epochs(folder) == after


def test_a_run_that_was_out_of_patience_stays_ended_unless_patience_is_raised_too(project: Path) -> None:
    folder = project / "runs" / "p"
    options = ["small.yaml", "--run", "runs/p", "--no-baselines", "--set", "train.learning_rate=1e-30"]
    run("train", *options, "--set", "train.epochs=9", "--set", "train.patience=2")
    ended = len(epochs(folder))
    assert ended < 9
    more = ["--resume", "--set", "train.epochs=12"]
    result = run("train", *options, *more, "--set", "train.patience=2")
    assert "to train on, raise train.patience too" in " ".join(result.stderr.split())
    assert "cosine" not in result.stderr
    assert len(epochs(folder)) == ended
    run("train", *options, *more, "--set", "train.patience=0")
    assert len(epochs(folder)) == 12


def test_what_a_finished_training_needs_no_more_is_deleted_and_the_rest_goes_on(
    project: Path, tmp_path: Path
) -> None:
    one = ["small.yaml", "--set", "task.encoder.init_from=pretrain", "--set", "pretrain.epochs=2"]
    run("train", *one, "--run", "runs/one", "--no-baselines")
    folders = sorted(
        str(path.relative_to(project / "runs" / "one"))
        for path in (project / "runs" / "one").rglob("checkpoints/*")
    )
    assert folders == ["checkpoints/best", "checkpoints/last", "pretrain/checkpoints/best"]
    scored = (project / "runs" / "one" / "eval" / "test" / "predictions.jsonl").read_bytes()
    run("train", "runs/one", "--resume", "--no-baselines")
    assert (project / "runs" / "one" / "eval" / "test" / "predictions.jsonl").read_bytes() == scored
    run("train", "runs/one", "--resume", "--no-baselines", "--set", "train.epochs=4")
    assert len(epochs(project / "runs" / "one")) == 4
    two = ["--set", "task.encoder.init_from=runs/one/pretrain", "--run", "runs/two", "--no-baselines"]
    run("train", "small.yaml", *two)
    (project / "runs" / "one").rename(project / "runs" / "moved")
    moved = [option.replace("runs/one", "runs/moved") for option in two]
    run("train", "small.yaml", *moved, "--resume")
    assert load_config("runs/two").task.init_from == "runs/moved/pretrain"
    result = run("pretrain", "runs/moved/pretrain", "--resume", exit_code=2)
    assert "this training is finished" in result.stderr


def test_a_group_whose_rows_moved_is_resumed_with_more_epochs(project: Path) -> None:
    group = ["small.yaml", "--seeds", "2", "--run", "runs/g", "--no-baselines"]
    run("train", *group)
    (project / "data").rename(project / "rows")
    moved = [f"data.{name}=rows/{name}.csv" for name in ("train", "dev", "test")]
    more = [part for change in (*moved, "train.epochs=4") for part in ("--set", change)]
    run("train", *group, "--resume", *more)
    assert [len(epochs(project / "runs" / "g" / f"seed-{n}")) for n in range(2)] == [4, 4]
    assert load_config("runs/g").train.epochs == 4
    run("train", "runs/g", "--seeds", "2", "--resume", "--no-baselines")
