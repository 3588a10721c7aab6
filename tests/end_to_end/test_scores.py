"""What a score is worth is said with it: rows that chose the model, that it was trained on, or that changed since."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from tests.conftest import small_rows

CLAIMS = ("beats", "ties", "loses to", "95 %", "ECE")


def run(*arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output
    return result


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def test_rows_that_were_trained_on_are_counted_however_they_are_written(
    small_yaml: str, tmp_path: Path
) -> None:
    run("train", small_yaml, "--no-baselines")
    known = [(text.upper().replace(" ", "  "), label) for text, label in small_rows(120, 0)[:54]]
    write(tmp_path / "mine.csv", [*known, *small_rows(40, 1)[:4], *small_rows(60, 7)[:2]])
    result = run("eval", str(tmp_path / "run"), "--data", str(tmp_path / "mine.csv"), "--json")
    said = json.loads(result.stdout)
    assert (said["in_train"], said["in_dev"], said["n"]) == (54, 4, 60)
    assert "54 of 60 rows are in the training data" in result.stderr
    assert (said["verdict"], said["ece"], said["chosen_on"]) == (None, None, True)
    assert not [claim for claim in CLAIMS if claim in result.stderr]

    write(tmp_path / "other.csv", [*small_rows(120, 0)[:1], *small_rows(60, 7)[:29]])
    result = run("eval", str(tmp_path / "run"), "--data", str(tmp_path / "other.csv"), "--json")
    said = json.loads(result.stdout)
    assert (said["in_train"], said["in_dev"], said["chosen_on"]) == (1, 0, False)
    assert "of which 1 is in the training data" in result.stderr
    assert said["verdict"] is not None


def test_a_split_whose_rows_have_changed_is_refused_and_changed_training_rows_fit_no_baseline(
    small_yaml: str, tmp_path: Path
) -> None:
    run("train", small_yaml)
    write(tmp_path / "train.csv", small_rows(130, 0))
    result = run("eval", str(tmp_path / "run"), "--json")
    said = json.loads(result.stdout)
    assert (said["baselines"], said["in_train"]) == ({}, None)
    assert "the rows of train or dev have changed" in result.stderr
    dev = json.loads(run("eval", str(tmp_path / "run"), "--split", "dev", "--json").stdout)
    assert (dev["chosen_on"], dev["in_dev"], dev["verdict"]) == (True, 40, None)
    write(tmp_path / "test.csv", small_rows(41, 2))
    refused = run("eval", str(tmp_path / "run"), exit_code=2)
    assert "the rows of test have changed since the training" in refused.stderr
    assert "--data FILE" in refused.stderr
    run("eval", str(tmp_path / "run"), "--data", str(tmp_path / "test.csv"))
    for record in (
        "{}",
        '{"data": []}',
        '{"data": {"test": 7}}',
    ):  # a record that tells nothing refuses nothing
        (tmp_path / "run" / "environment.json").write_text(record, encoding="utf-8")
        run("eval", str(tmp_path / "run"))


def test_random_labels_without_test_rows_are_no_claim(small_yaml: str, tmp_path: Path) -> None:
    rows = small_rows(260, 0)
    write(tmp_path / "train.csv", [(text, rows[(7 * i) % 260 // 2][1]) for i, (text, _) in enumerate(rows)])
    without_test = ("--set", "data.test=null", "--set", "data.dev=0.1", "--set", "train.epochs=1")
    result = run("train", small_yaml, *without_test, "--seeds", "2")
    assert "data.test=0.1" in result.stderr
    group = tmp_path / "run"
    summary, first = read(group / "summary.json"), (group / "summary.md").read_text("utf-8").splitlines()[0]
    assert summary["chosen_on"] is True
    assert first == "# dev over 2 seeds: rows on which the best epochs were chosen"
    pages = [group / "summary.md", *group.glob("seed-*/eval/dev/report.md")]
    assert len(pages) == 3
    for said in (result.stderr, *(page.read_text("utf-8") for page in pages)):
        assert "too good" in said
        assert not [claim for claim in CLAIMS if claim in said]
    metrics = read(group / "seed-0" / "eval" / "dev" / "metrics.json")
    assert (metrics["chosen_on"], metrics["verdict"], metrics["ece"]) == (True, None, None)
    missed = run("eval", str(group / "seed-0"), "--fail-under", "ece=0.5", exit_code=4)
    assert (
        "--fail-under ece: not given: the best epoch and the calibration were chosen on these rows"
        in missed.stderr
    )


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_evaluation_of_new_rows_keeps_its_claims(small_yaml: str, tmp_path: Path, split: str) -> None:
    fraction = ("--set", "data.test=0.2", "--set", "data.dev=0.2") if split == "train" else ()
    result = run("train", small_yaml, *fraction)
    metrics = read(tmp_path / "run" / "eval" / "test" / "metrics.json")
    assert (metrics["chosen_on"], metrics["in_train"], metrics["in_dev"]) == (False, 0, 0)
    assert metrics["verdict"] in ("beats", "ties", "loses to")
    assert f"it {metrics['verdict']} the best baseline" in result.stderr
    assert "too good" not in result.stderr


def test_train_warns_of_what_makes_its_scores_worth_little_and_of_several_runs_only_once(
    small_yaml: str, tmp_path: Path
) -> None:
    rare = [(f"odd {i}", "rare") for i in range(4)]
    write(tmp_path / "train.csv", [*small_rows(120, 0), *rare])
    write(tmp_path / "test.csv", [*small_rows(40, 2), *small_rows(120, 0)[:3]])
    result = run("train", small_yaml, "--no-baselines", "--set", "train.epochs=1", "--seeds", "2")
    for warning in (
        "train: classes with fewer than 10 training rows: 1",
        "train: classes without a row in dev",
        "train → test: rows of test that are also in train, letter by letter: 3",
        "train: few rows: 124 → with fewer than 500 expect no gain over a bag of words",
    ):
        assert result.stderr.count(f"warning: {warning}") == 1, warning
    assert "few rows" in (tmp_path / "run" / "seed-0" / "log.txt").read_text("utf-8")
    assert "no data.test" not in result.stderr


def test_a_class_of_four_rows_among_four_hundred_has_a_dev_row_and_a_wide_interval(
    small_yaml: str, tmp_path: Path
) -> None:
    common = [(f"the thing was fine number {i}", "common") for i in range(396)]
    write(tmp_path / "train.csv", [*common, *[(f"utterly broken item {i}", "rare") for i in range(4)]])
    cut = ("--set", "data.dev=0.1", "--set", "data.test=0.1", "--set", "train.epochs=1")
    run("train", small_yaml, *cut, "--no-baselines")
    metrics = read(tmp_path / "run" / "eval" / "test" / "metrics.json")
    assert metrics["per_class"]["rare"]["support"] == 1
    run("eval", str(tmp_path / "run"), "--split", "dev", "--no-baselines")
    assert read(tmp_path / "run" / "eval" / "dev" / "metrics.json")["per_class"]["rare"]["support"] == 1
    for low, high in metrics["ci95"].values():
        assert high - low > 0.05


def test_folds_take_the_place_of_a_fraction_for_test(small_yaml: str, tmp_path: Path) -> None:
    quick = ("--no-baselines", "--set", "train.epochs=1", "--set", "data.dev=0.2")
    result = run("train", small_yaml, *quick, "--set", "data.test=0.1", "--folds", "2")
    assert "the folds are the test rows" in result.stderr
    assert read(tmp_path / "run" / "summary.json")["out_of_fold"]["n"] == 120
