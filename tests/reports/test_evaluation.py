"""A report: complete, in row order, its numbers the metrics' own, its mistakes the most confident first."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_cli.arrays import Float64, Int64, Ragged
from lstm_cli.data.labels import Labels
from lstm_cli.data.store import Store
from lstm_cli.data.text import text_row
from lstm_cli.data.tokenizer import TextTokenizer, WordConfig
from lstm_cli.metrics.classification import classification
from lstm_cli.reports import evaluation as report
from lstm_cli.reports import plots
from lstm_cli.reports.evaluation import write_evaluation
from lstm_cli.tasks.base import Baseline, Evaluation, Seen
from lstm_cli.tasks.classify import Classify, ClassifyConfig

NAMES = ("bad", "fine | so-so", "很好")


def task_of(names: Sequence[str] = NAMES) -> Classify:
    """A classifier of these labels, which has seen one text of each."""
    config = ClassifyConfig.model_validate({"kind": "classify"})
    words = WordConfig(kind="word", min_count=1)
    return Classify(
        config, TextTokenizer.learn(words, ["some text"]), Labels(tuple(names), (1,) * len(names))
    )


def scored(targets: Int64, probs: Float64, names: Sequence[str]) -> Evaluation:
    """These rows of two lines, three of them cut, without a baseline."""
    n = len(targets)
    inputs = Ragged.pack([np.array([2, 3], np.int32)] * n)
    return Evaluation(
        split="test",
        checkpoint="best, epoch 2, sha256 0123",
        rows=[
            text_row(f"text {i}\nof two lines", names[t], "test.csv", i + 2) for i, t in enumerate(targets)
        ],
        store=Store(inputs, np.arange(n) < 3, targets.astype(np.int32)),
        outputs=probs,
        scores=classification(targets, probs, names),
    )


def evaluation(n: int = 60, names: tuple[str, ...] = NAMES) -> Evaluation:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, len(names), n)
    weights = rng.random((n, len(names))) + 0.5 * np.eye(len(names))[targets]
    probs = weights / weights.sum(axis=1, keepdims=True)
    baselines = [
        Baseline("majority", np.zeros(n, np.int64), "always bad"),
        Baseline("other", targets, "right"),
    ]
    return dataclasses.replace(scored(targets, probs, names), baselines=baselines)


def targets_of(given: Evaluation) -> Int64:
    return np.asarray(given.store.known_targets, np.int64)


def probs_of(given: Evaluation) -> Float64:
    assert not isinstance(given.outputs, Ragged)
    return given.outputs


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_predictions_say_what_the_metrics_were_counted_from(tmp_path: Path) -> None:
    given = evaluation()
    metrics = write_evaluation(tmp_path, task_of(), given)
    rows = lines(tmp_path / "predictions.jsonl")
    probs = np.array([list(row["probs"].values()) for row in rows])
    assert (probs == probs_of(given)).all()
    targets = np.array([NAMES.index(str(row["target"])) for row in rows])
    again = classification(targets, probs, NAMES)
    assert again.scalars() == {name: metrics[name] for name in again.scalars()}
    assert [row["row"] for row in rows] == list(range(60))
    assert json.loads((tmp_path / "metrics.json").read_text("utf-8")) == metrics


def test_the_most_confident_mistakes_come_first_with_their_text_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = evaluation()
    write_evaluation(tmp_path, task_of(), given)
    mistakes = lines(tmp_path / "mistakes.jsonl")
    wrong = np.flatnonzero(probs_of(given).argmax(axis=1) != targets_of(given))
    assert {row["row"] for row in mistakes} == set(wrong.tolist())
    scores = [float(str(row["score"])) for row in mistakes]
    assert scores == sorted(scores, reverse=True)
    for row in mistakes:
        number = int(str(row["row"]))
        assert row["text"] == f"text {number}\nof two lines"
        assert row["where"] == f"test.csv:{number + 2}"
        assert row["label"] != row["target"]
    monkeypatch.setattr(report, "_MOST_MISTAKES", 2)
    write_evaluation(tmp_path, task_of(), given)
    assert lines(tmp_path / "mistakes.jsonl") == mistakes[:2]


def test_the_confusion_table_counts_true_classes_down(tmp_path: Path) -> None:
    given = evaluation()
    write_evaluation(tmp_path, task_of(), given)
    with (tmp_path / "confusion.csv").open(encoding="utf-8", newline="") as file:
        header, *table = list(csv.reader(file))
    assert header[1:] == [row[0] for row in table] == list(NAMES)
    for i, row in enumerate(table):
        assert sum(map(int, row[1:])) == (targets_of(given) == i).sum()


def test_the_verdict_is_against_the_better_baseline(tmp_path: Path) -> None:
    given = evaluation()
    metrics = write_evaluation(tmp_path, task_of(), given)
    assert metrics["verdict"] == "loses to"
    assert metrics["verdict_against"] == "other"
    assert metrics["baselines"]["other"]["accuracy"] == 1.0
    easy = write_evaluation(tmp_path, task_of(), dataclasses.replace(given, baselines=given.baselines[:1]))
    assert easy["verdict"] == "beats"
    assert "**beats** the best baseline, majority" in (tmp_path / "report.md").read_text("utf-8")
    none = write_evaluation(tmp_path, task_of(), dataclasses.replace(given, baselines=[]))
    assert none["verdict"] is None


def test_the_page_names_checkpoint_interval_truncation_and_every_class(tmp_path: Path) -> None:
    metrics = write_evaluation(tmp_path, task_of(), evaluation())
    page = (tmp_path / "report.md").read_text("utf-8")
    low, high = metrics["ci95"]["accuracy"]
    for part in ("best, epoch 2", f"{low:.2%} to {high:.2%}", "3 rows were longer", "fine \\| so-so", "很好"):
        assert part in page


@pytest.mark.parametrize("num_classes", [2, 3, 25])
def test_plots_are_drawn_for_few_and_for_many_classes(tmp_path: Path, num_classes: int) -> None:
    names = tuple(f"a class with quite a long name {i}" for i in range(num_classes))
    write_evaluation(tmp_path, task_of(names), evaluation(200, names))
    for name in ("confusion", "reliability"):
        assert (tmp_path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    "names", [("$_$", "$^$"), ("很好", "很差"), ("a\nb", "\t"), ("x" * 40 + "1", "x" * 40 + "2")]
)
def test_any_label_can_be_drawn(tmp_path: Path, names: tuple[str, ...]) -> None:
    write_evaluation(
        tmp_path, task_of(names), evaluation(30, names)
    )  # formulas and missing letters raise or warn
    assert (tmp_path / "plots" / "confusion.png").exists()
    _, shown = plots._drawable(names)
    assert len(set(shown)) == len(names)


def test_half_a_surrogate_pair_is_written_as_json_spells_it(tmp_path: Path) -> None:
    given = evaluation()
    given = dataclasses.replace(given, rows=[text_row("bad \ud800", "bad", "test.jsonl", 1)] * 60)
    write_evaluation(tmp_path, task_of(), given)
    assert {row["text"] for row in lines(tmp_path / "mistakes.jsonl")} == {"bad \ud800"}


def test_a_prediction_has_its_keys_in_the_order_of_every_release(tmp_path: Path) -> None:
    given = scored(np.array([1, 0]), np.array([[0.25, 0.75, 0.0], [0.125, 0.375, 0.5]]), NAMES)
    write_evaluation(tmp_path, task_of(), given)
    assert (tmp_path / "predictions.jsonl").read_bytes() == (
        '{"row": 0, "where": "test.csv:2", "label": "fine | so-so", "score": 0.75, '
        '"probs": {"bad": 0.25, "fine | so-so": 0.75, "很好": 0.0}, "target": "fine | so-so"}\n'
        '{"row": 1, "where": "test.csv:3", "label": "很好", "score": 0.5, '
        '"probs": {"bad": 0.125, "fine | so-so": 0.375, "很好": 0.5}, "target": "bad"}\n'
    ).encode()
    assert (tmp_path / "mistakes.jsonl").read_bytes() == (
        '{"row": 1, "where": "test.csv:3", "label": "很好", "score": 0.5, "target": "bad", '
        '"text": "text 1\\nof two lines"}\n'
    ).encode()


@pytest.mark.parametrize("most", [10_000, 4, 3, 1])
def test_mistakes_of_one_confidence_come_in_the_order_of_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(report, "_MOST_MISTAKES", most)
    top = np.array([0.5, 0.75, 0.5, 0.75, 0.875, 0.5, 0.75])
    probs = np.stack([1 - top, top], axis=1)
    targets = np.array([0, 0, 0, 0, 1, 0, 0])
    write_evaluation(tmp_path, task_of(("no", "yes")), scored(targets, probs, ("no", "yes")))
    # the rows at 0.5 are right: the first class of a tie is the prediction
    expected = [(1, 0.75), (3, 0.75), (6, 0.75)]
    found = [(row["row"], row["score"]) for row in lines(tmp_path / "mistakes.jsonl")]
    assert found == expected[:most]
    assert f"the {min(most, 3)} of 3 mistakes" in (tmp_path / "report.md").read_text("utf-8")


def test_metrics_have_their_keys_in_the_order_of_every_release(tmp_path: Path) -> None:
    given = evaluation()
    given = dataclasses.replace(given, components={"network alone, uncalibrated": given.scores})
    metrics = write_evaluation(tmp_path, task_of(), given)
    written = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert list(written) == [
        *("schema_version", "split", "checkpoint", "chosen_on", "in_train", "in_dev"),
        *("n", "accuracy", "macro_f1", "micro_f1", "weighted_f1", "log_loss", "ece"),
        *("per_class", "absent", "labels", "confusion"),
        *("ci95", "baselines", "verdict", "parts", "notes", "verdict_against", "verdict_p"),
    ]
    assert list(written["baselines"]["other"]) == ["accuracy", "macro_f1", "note"]
    (part,) = written["parts"].values()
    of_every_release = ("accuracy", "macro_f1", "log_loss", "ece")
    assert [name for name in part if name in of_every_release] == list(of_every_release)
    assert part.items() <= given.scores.scalars().items()
    assert written == metrics
    (tmp_path / "metrics.json").unlink()
    none = write_evaluation(tmp_path, task_of(), dataclasses.replace(given, baselines=[]))
    assert list(none)[-4:] == ["verdict", "parts", "notes", "verdict_reason"]
    assert none["verdict_reason"] == "no baseline was fitted"


def test_the_confusion_matrix_has_true_classes_in_rows_in_the_order_of_the_labels(tmp_path: Path) -> None:
    given = evaluation()
    metrics = write_evaluation(tmp_path, task_of(), given)
    assert (metrics["schema_version"], metrics["labels"]) == (2, list(NAMES))
    counts = np.zeros((3, 3), np.int64)
    np.add.at(counts, (targets_of(given), probs_of(given).argmax(axis=1)), 1)
    assert metrics["confusion"] == counts.tolist()


CLAIMS = ("beats", "ties", "loses to", "95 %", "ECE", "alibration error")


def test_rows_that_chose_the_model_get_no_verdict_no_interval_and_no_calibration_error(
    tmp_path: Path,
) -> None:
    given = dataclasses.replace(evaluation(), split="dev", seen=Seen(in_train=0, in_dev=60))
    given = dataclasses.replace(given, components={"network alone, uncalibrated": given.scores})
    metrics = write_evaluation(tmp_path, task_of(), given)
    assert metrics["chosen_on"] is True
    assert (metrics["verdict"], metrics["ece"]) == (None, None)
    assert metrics["verdict_reason"] == "the best epoch and the calibration were chosen on these rows"
    assert "verdict_p" not in metrics
    assert metrics["parts"]["network alone, uncalibrated"]["ece"] is None
    page = (tmp_path / "report.md").read_text("utf-8")
    assert page.splitlines()[0] == "# dev: 60 rows, on which the best epoch was chosen"
    assert "too good" in page
    assert not [claim for claim in CLAIMS if claim in page]
    assert not (tmp_path / "plots" / "reliability.png").exists()


def test_rows_that_were_trained_on_are_counted_and_get_no_verdict(tmp_path: Path) -> None:
    given = dataclasses.replace(evaluation(), split="mine", seen=Seen(in_train=54, in_dev=6))
    metrics = write_evaluation(tmp_path, task_of(), given)
    assert (metrics["in_train"], metrics["in_dev"], metrics["chosen_on"]) == (54, 6, True)
    assert (metrics["verdict"], metrics["ece"]) == (None, None)
    assert metrics["verdict_reason"].startswith(
        "54 of 60 rows are in the training data, and 6 of 60 rows are dev"
    )
    first, *others = (tmp_path / "report.md").read_text("utf-8").splitlines()
    assert first == "# mine: 60 rows, of which 54 are in the training data and 6 are dev rows"
    assert not [claim for claim in CLAIMS if any(claim in line for line in others)]


def test_a_few_rows_that_are_in_train_are_named_and_the_verdict_stays(tmp_path: Path) -> None:
    metrics = write_evaluation(
        tmp_path, task_of(), dataclasses.replace(evaluation(), seen=Seen(in_train=3, in_dev=0))
    )
    assert (metrics["verdict"], metrics["chosen_on"]) == ("loses to", False)
    page = (tmp_path / "report.md").read_text("utf-8")
    assert page.startswith("# test: 60 rows, of which 3 are in the training data\n")


def test_classes_that_no_row_has_are_named_and_count_nowhere(tmp_path: Path) -> None:
    given = scored(np.array([2, 2]), np.array([[0.0, 0.1, 0.9], [0.0, 0.2, 0.8]]), NAMES)
    metrics = write_evaluation(tmp_path, task_of(), given)
    assert (metrics["macro_f1"], metrics["absent"]) == (1.0, ["bad", "fine | so-so"])
    page = (tmp_path / "report.md").read_text("utf-8")
    assert (
        "Macro F1 is the mean over 1 of 3 classes; in no row and never predicted: bad, fine \\| so-so."
        in page
    )
    assert "| bad | – | – | – | 0 | 0 |" in page
    low, high = metrics["ci95"]["macro_f1"]
    assert low < 0.8 < high  # two rows say little


def test_of_equal_baselines_the_first_is_the_one_to_beat(tmp_path: Path) -> None:
    given = evaluation()
    same = [Baseline(name, np.zeros(60, np.int64), "") for name in ("one", "two")]
    for baselines, against in ((same, "one"), (same[::-1], "two")):
        metrics = write_evaluation(tmp_path, task_of(), dataclasses.replace(given, baselines=baselines))
        assert metrics["verdict_against"] == against


def test_rows_and_predictions_that_do_not_match_are_no_report(tmp_path: Path) -> None:
    given = evaluation()
    with pytest.raises(ValueError, match="zip"):
        write_evaluation(tmp_path, task_of(), dataclasses.replace(given, rows=list(given.rows)[:-1]))
    assert not (tmp_path / "metrics.json").exists()


def test_learning_curves_are_drawn_from_the_recorded_epochs(tmp_path: Path) -> None:
    records = [
        {
            "epoch": i,
            "train_loss": 1 / i,
            "network_loss": {"train": 0.9 / i, "dev": 0.9},
            "dev": {"log_loss": 0.5, "macro_f1": 0.1 * i},
            "best": i < 3,
        }
        for i in range(1, 5)
    ]
    old = [{name: value for name, value in one.items() if name != "network_loss"} for one in records]
    of_version_0_1 = [*old[:2], *records[2:]]
    for name, given, whole_model in (
        ("curves", records, "network + n-grams"),
        ("one", records[:1], None),
        ("resumed", of_version_0_1, "calibrated"),
        ("old", old, None),
    ):
        path = tmp_path / "plots" / f"{name}.png"
        plots.learning_curves(given, "macro_f1", "log_loss", whole_model, path)
        assert path.stat().st_size > 5_000
