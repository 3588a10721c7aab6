"""A report: complete, in row order, its numbers the metrics' own, its mistakes the most confident first."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lstm_cli.data.text import text_row
from lstm_cli.features.tfidf import Baseline
from lstm_cli.metrics.classification import classification
from lstm_cli.reports import evaluation as report
from lstm_cli.reports import plots
from lstm_cli.reports.evaluation import Evaluation, write_evaluation


def evaluation(n: int = 60, names: tuple[str, ...] = ("bad", "fine | so-so", "很好")) -> Evaluation:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, len(names), n)
    weights = rng.random((n, len(names))) + 0.5 * np.eye(len(names))[targets]
    probs = weights / weights.sum(axis=1, keepdims=True)
    return Evaluation(
        split="test",
        checkpoint="best, epoch 2, sha256 0123",
        label_names=names,
        scores=classification(targets, probs, names),
        targets=targets,
        probs=probs,
        rows=[
            text_row(f"text {i}\nof two lines", names[t], "test.csv", i + 2) for i, t in enumerate(targets)
        ],
        num_truncated=3,
        baselines=[
            Baseline("majority", np.zeros(n, np.int64), "always bad"),
            Baseline("other", targets, "right"),
        ],
    )


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_predictions_say_what_the_metrics_were_counted_from(tmp_path: Path) -> None:
    given = evaluation()
    metrics = write_evaluation(tmp_path, given)
    rows = lines(tmp_path / "predictions.jsonl")
    probs = np.array([list(row["probs"].values()) for row in rows])  # type: ignore[attr-defined]
    assert (probs == given.probs).all()
    targets = np.array([given.label_names.index(str(row["target"])) for row in rows])
    again = classification(targets, probs, given.label_names)
    assert again.scalars() == {name: metrics[name] for name in again.scalars()}
    assert [row["row"] for row in rows] == list(range(60))
    assert json.loads((tmp_path / "metrics.json").read_text("utf-8")) == metrics


def test_the_most_confident_mistakes_come_first_with_their_text_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = evaluation()
    write_evaluation(tmp_path, given)
    mistakes = lines(tmp_path / "mistakes.jsonl")
    wrong = np.flatnonzero(given.probs.argmax(axis=1) != given.targets)
    assert {row["row"] for row in mistakes} == set(wrong.tolist())
    scores = [float(str(row["score"])) for row in mistakes]
    assert scores == sorted(scores, reverse=True)
    for row in mistakes:
        number = int(str(row["row"]))
        assert row["text"] == f"text {number}\nof two lines"
        assert row["where"] == f"test.csv:{number + 2}"
        assert row["label"] != row["target"]
    monkeypatch.setattr(report, "_MOST_MISTAKES", 2)
    write_evaluation(tmp_path, given)
    assert lines(tmp_path / "mistakes.jsonl") == mistakes[:2]


def test_the_confusion_table_counts_true_classes_down(tmp_path: Path) -> None:
    given = evaluation()
    write_evaluation(tmp_path, given)
    with (tmp_path / "confusion.csv").open(encoding="utf-8", newline="") as file:
        header, *table = list(csv.reader(file))
    assert header[1:] == [row[0] for row in table] == list(given.label_names)
    for i, row in enumerate(table):
        assert sum(map(int, row[1:])) == (given.targets == i).sum()


def test_the_verdict_is_against_the_better_baseline(tmp_path: Path) -> None:
    given = evaluation()
    metrics = write_evaluation(tmp_path, given)
    assert metrics["verdict"] == "loses to"
    assert metrics["verdict_against"] == "other"
    assert metrics["baselines"]["other"]["accuracy"] == 1.0
    easy = write_evaluation(tmp_path, dataclasses.replace(given, baselines=given.baselines[:1]))
    assert easy["verdict"] == "beats"
    assert "**beats** the best baseline, majority" in (tmp_path / "report.md").read_text("utf-8")
    none = write_evaluation(tmp_path, dataclasses.replace(given, baselines=[]))
    assert none["verdict"] is None


def test_the_page_names_checkpoint_interval_truncation_and_every_class(tmp_path: Path) -> None:
    metrics = write_evaluation(tmp_path, evaluation())
    page = (tmp_path / "report.md").read_text("utf-8")
    low, high = metrics["ci95"]["accuracy"]
    for part in ("best, epoch 2", f"{low:.2%} to {high:.2%}", "3 rows were longer", "fine \\| so-so", "很好"):
        assert part in page


@pytest.mark.parametrize("num_classes", [2, 3, 25])
def test_plots_are_drawn_for_few_and_for_many_classes(tmp_path: Path, num_classes: int) -> None:
    names = tuple(f"a class with quite a long name {i}" for i in range(num_classes))
    write_evaluation(tmp_path, evaluation(200, names))
    for name in ("confusion", "reliability"):
        assert (tmp_path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    "names", [("$_$", "$^$"), ("很好", "很差"), ("a\nb", "\t"), ("x" * 40 + "1", "x" * 40 + "2")]
)
def test_any_label_can_be_drawn(tmp_path: Path, names: tuple[str, ...]) -> None:
    write_evaluation(tmp_path, evaluation(30, names))  # formulas and missing letters raise or warn
    assert (tmp_path / "plots" / "confusion.png").exists()
    _, shown = plots._drawable(names)
    assert len(set(shown)) == len(names)


def test_half_a_surrogate_pair_is_written_as_json_spells_it(tmp_path: Path) -> None:
    given = evaluation()
    given = dataclasses.replace(given, rows=[text_row("bad \ud800", "bad", "test.jsonl", 1)] * 60)
    write_evaluation(tmp_path, given)
    assert {row["text"] for row in lines(tmp_path / "mistakes.jsonl")} == {"bad \ud800"}


def test_rows_and_predictions_that_do_not_match_are_no_report(tmp_path: Path) -> None:
    given = evaluation()
    with pytest.raises(ValueError, match="zip"):
        write_evaluation(tmp_path, dataclasses.replace(given, rows=list(given.rows)[:-1]))
    assert not (tmp_path / "metrics.json").exists()


def test_learning_curves_are_drawn_from_the_recorded_epochs(tmp_path: Path) -> None:
    records = [
        {"epoch": i, "train_loss": 1 / i, "dev": {"log_loss": 0.5, "macro_f1": 0.1 * i}, "best": i < 3}
        for i in range(1, 5)
    ]
    plots.learning_curves(records, "macro_f1", tmp_path / "plots" / "curves.png")
    plots.learning_curves(records[:1], "macro_f1", tmp_path / "plots" / "one.png")
    assert (tmp_path / "plots" / "curves.png").stat().st_size > 5_000
