"""`train --seeds` and `--folds`: every member is a run of its own, nothing is lost between them, the sums are right."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runs.lock import locked

FOLDS = ("--set", "data.test=null", "--folds", "3")
QUICK = ("--no-baselines", "--set", "train.epochs=1")


def run(*arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output
    return result


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def made(folder: Path) -> list[bytes]:
    """What a run makes that no clock is in."""
    names = ("checkpoints/best", "checkpoints/last")
    models = [(folder / name / "model.safetensors").read_bytes() for name in names]
    return [*models, (folder / "eval" / "test" / "predictions.jsonl").read_bytes()]


def test_the_run_of_a_seed_is_byte_for_byte_the_one_that_is_trained_alone(
    small_yaml: str, tmp_path: Path
) -> None:
    alone, group = tmp_path / "alone", tmp_path / "group"
    run("train", small_yaml, "--set", "run.seed=3", "--run", str(alone), "--no-baselines")
    several = run("train", small_yaml, "--set", "run.seed=2", "--run", str(group), "--seeds", "2")
    assert made(group / "seed-3") == made(alone) != made(group / "seed-2")
    assert several.stdout == ""

    members = [read(group / name / "eval" / "test" / "metrics.json") for name in ("seed-2", "seed-3")]
    summary = read(group / "summary.json")
    assert summary["split"] == "test"
    for name in ("accuracy", "macro_f1", "log_loss", "ece", "roc_auc"):
        values = [metrics[name] for metrics in members]
        assert summary["scores"][name] == {
            "mean": statistics.fmean(values),
            "sd": statistics.stdev(values),
            "min": min(values),
            "max": max(values),
        }
    assert summary["baselines"]["tfidf_logreg"]["accuracy"]["sd"] == 0  # the same rows: the same baseline
    assert sum(summary["verdicts"].values()) == 2
    assert len(list(group.rglob("baselines/*.json"))) == 1  # and it was fitted once
    page = (group / "summary.md").read_text("utf-8")
    assert f"{summary['scores']['accuracy']['mean']:.4f} ± " in page
    assert "| seed-3 | 40 |" in page
    assert "test over 2 seeds" in several.stderr


def test_every_row_is_predicted_by_the_run_that_did_not_learn_from_it(
    small_yaml: str, tmp_path: Path
) -> None:
    from sklearn import metrics as sk

    with (tmp_path / "train.csv").open("a", encoding="utf-8") as file:
        file.write("the only one of its kind,lonely\n")
    run("train", small_yaml, *FOLDS, *QUICK)
    group = tmp_path / "run"
    with (tmp_path / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    out = lines(group / "out-of-fold.jsonl")
    assert [line["row"] for line in out] == list(range(120))  # all but the last
    assert [line["target"] for line in out] == [row["label"] for row in rows[:120]]
    places = {line["where"]: line["target"] for line in out}
    assert len(places) == 120
    assert places[f"{tmp_path / 'train.csv'}:2"] == rows[0]["label"]
    for number in (1, 2, 3):
        member = group / f"fold-{number}"
        stored = lines(member / "eval" / "test" / "predictions.jsonl")
        here = [line for line in out if line["fold"] == number]
        assert [line["probs"] for line in here] == [line["probs"] for line in stored]
        assert read(member / "environment.json")["data"]["train"]["rows"] == 121 - len(here)
        # scored again, alone and from its own folder, the rows and answers are the same
        run("eval", str(member), "--no-baselines")
        assert lines(member / "eval" / "test" / "predictions.jsonl") == stored

    summary = read(group / "summary.json")
    pooled, names = summary["out_of_fold"], ["lonely", "negative", "positive"]
    truth, guess = [line["target"] for line in out], [line["label"] for line in out]
    probs = np.array([[line["probs"][name] for name in names] for line in out])
    assert pooled["n"] == 120
    assert summary["rows_in_no_fold"] == 1
    assert pooled["accuracy"] == pytest.approx(sk.accuracy_score(truth, guess), abs=1e-12)
    assert pooled["log_loss"] == pytest.approx(sk.log_loss(truth, probs, labels=names), abs=1e-12)
    assert pooled["macro_f1"] == pytest.approx(
        sk.f1_score(truth, guess, average="macro", zero_division=0),
        abs=1e-12,  # nobody is lonely here
    )
    assert "1 rows are in no fold" in (group / "summary.md").read_text("utf-8")
    checked = json.loads(run("verify", str(group / "fold-2"), "--json").stdout)
    (stored_test,) = [check for check in checked["checks"] if check["name"] == "stored answers of test"]
    assert stored_test["result"] == "ok"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_folds_that_are_stopped_and_resumed_end_with_the_bytes_of_a_fold_that_ran_through(
    small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run("train", small_yaml, "--run", str(straight), "--no-baselines", "--set", "data.test=fold:2/3")

    def record(self: RunFolder, line: dict[str, Any]) -> None:
        recorded(self, line)
        if self.path.name == "fold-2" and line["epoch"] == 1:
            signal.raise_signal(number)

    recorded = RunFolder.record
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "record", record)
        arguments = ("train", small_yaml, "--run", str(stopped), "--no-baselines", *FOLDS)
        said = run(*arguments, exit_code=128 + number).stderr
    resume = f"lstmcls train {stopped} --folds 3 --resume"
    assert f"to resume: {resume}" in said
    assert len(lines(stopped / "fold-2" / "metrics.jsonl")) == 1
    assert not (stopped / "summary.json").exists()

    finished = stopped / "fold-1" / "checkpoints" / "last" / "model.safetensors"
    written = finished.stat().st_mtime_ns
    resumed = run(*resume.split()[1:], "--no-baselines").stderr
    line_of_an_epoch = re.compile(r"(?m)^ +\d+  .* \d+ s$")
    shown = [len(line_of_an_epoch.findall(part)) for part in resumed.split(" of 3\n")[1:]]
    assert shown == [0, 2, 3]  # of three epochs each
    assert finished.stat().st_mtime_ns == written
    assert made(stopped / "fold-2") == made(straight)
    assert (
        len(lines(stopped / "out-of-fold.jsonl")) == read(stopped / "summary.json")["out_of_fold"]["n"] == 120
    )


@pytest.fixture
def group(small_yaml: str, tmp_path: Path) -> Path:
    run("train", small_yaml, *QUICK, "--seeds", "2")
    return tmp_path / "run"


def test_a_folder_of_several_runs_is_never_taken_for_one_or_for_others(
    group: Path, small_yaml: str, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in group.rglob("*") if path.is_file()}
    said = run("train", str(group), "--resume", exit_code=2).stderr
    assert f"name one of them: {group}/seed-0, {group}/seed-1" in said
    assert f"lstmcls train {group} --seeds 2 --resume" in said
    again = ("train", small_yaml, *QUICK)
    for arguments, message in (
        (("--seeds", "2"), "not empty; try --resume"),
        (("--seeds", "3", "--resume"), "was begun with --seeds 2, got --seeds 3"),
        (("--seeds", "2", "--resume", "--set", "run.seed=1"), "+  seed: 1"),
        ((*FOLDS, "--resume"), "was begun with --seeds 2, got --folds 3"),
        (("--seeds", "2", "--resume", "--set", "task.dropout=0.1"), "+  dropout: 0.1"),
        (
            ("--seeds", "2", "--resume", "--set", "task.dropout=0.1"),
            f"own config (lstmcls train {group} --seeds 2 --resume)",
        ),
        (("--seeds", "2", "--folds", "2"), "give only one"),
        (("--folds", "2"), "try --set data.test=null"),
        (("--folds", "1"), "--folds"),
        (
            ("--seeds", "2", "--run", f"{group}/seed-0", "--resume"),
            "holds a single run, not those of --seeds 2",
        ),
    ):
        assert message in run(*again, *arguments, exit_code=2).stderr, arguments
    with locked(group):
        assert "another training runs" in run(*again, "--seeds", "2", "--resume", exit_code=1).stderr
    after = {path: path.stat().st_mtime_ns for path in group.rglob("*") if path.is_file()}
    assert {path for path in after if before.get(path) != after[path]} <= set(group.rglob(".lock"))

    (group / "baselines").symlink_to(tmp_path)
    assert RunFolder(group / "seed-1").baseline("x") == group / "seed-1" / "baselines" / "x.json"
    (group / "baselines").unlink()
    assert RunFolder(group / "seed-1").baseline("x") == group / "baselines" / "x.json"

    moved = tmp_path / "moved"
    group.rename(moved)
    run("train", str(moved), "--seeds", "2", "--resume", *QUICK)
    (tmp_path / "train.csv").write_text("text,label\nfine,positive\nbad,negative\n" * 9, encoding="utf-8")
    said = run("train", str(moved), "--seeds", "2", "--resume", *QUICK, exit_code=2).stderr
    assert "the rows of train have changed since this run began" in said


def test_overwriting_begins_all_of_them_again(group: Path, small_yaml: str) -> None:
    shutil.copytree(group / "seed-1", group / "seed-7")
    run("train", small_yaml, *QUICK, *FOLDS, "--overwrite")
    assert {path.name for path in group.iterdir() if path.is_dir()} == {"fold-1", "fold-2", "fold-3"}
    run("train", small_yaml, *QUICK, "--overwrite")
    assert not list(group.glob("fold-*"))
    run("eval", str(group), "--no-baselines")


def test_a_fault_in_one_member_ends_them_all_and_a_start_that_failed_is_in_nobodys_way(
    small_yaml: str, tmp_path: Path
) -> None:
    rows = (tmp_path / "train.csv").read_text("utf-8")
    (tmp_path / "train.csv").write_text(rows + '"never closed,positive\n', encoding="utf-8")
    said = run("train", small_yaml, *QUICK, *FOLDS, exit_code=3).stderr
    assert "train.csv:122" in said
    assert not list((tmp_path / "run").rglob("fold-2"))
    (tmp_path / "train.csv").write_text(rows, encoding="utf-8")
    run("train", small_yaml, *QUICK)  # neither --overwrite nor --resume is asked for
    assert not list((tmp_path / "run").glob("fold-*"))
    run("eval", str(tmp_path / "run"), "--no-baselines")
