"""The report of a classifier's evaluation: sentences, tables, files and plots."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from lstm_cli.arrays import Int64, Ragged
from lstm_cli.metrics.classification import (
    Classification,
    intervals,
    reliability,
    to_json,
)
from lstm_cli.tasks.base import Evaluation
from lstm_cli.tasks.report import ConfusionPlot, ReliabilityPlot, Report, Section, Table


def classification_report(evaluation: Evaluation, targets: Int64, names: Sequence[str]) -> Report:
    """The report of (N, C) probabilities against (N,) class numbers."""
    scores, probs = evaluation.scores, evaluation.outputs
    assert isinstance(scores, Classification)
    assert not isinstance(probs, Ragged)
    ci95 = intervals(scores.confusion)
    (low, high), (low_f1, high_f1) = ci95["accuracy"], ci95["macro_f1"]
    confidence, accuracy, count = reliability(targets, probs)
    components = {
        name: component
        for name, component in evaluation.components.items()
        if isinstance(component, Classification)
    }
    return Report(
        lead=f"Accuracy **{scores.accuracy:.2%}** (95 % interval {low:.2%} to {high:.2%}), "
        f"macro F1 **{scores.macro_f1:.4f}** ({low_f1:.4f} to {high_f1:.4f}).",
        metrics=to_json(scores),
        cut=f"{int(evaluation.store.truncated.sum()):,} rows were longer than task.max_tokens and were cut.",
        ci95=ci95,
        sections=[
            Section(table=_classes(scores)),
            Section(
                "Calibration: the mean difference between confidence and accuracy (ECE, expected calibration error, "
                "15 bins), before and after calibration on the dev rows.",
                _calibration({**components, "this model": scores}),
            ),
        ],
        files={"confusion.csv": _confusion_csv(scores, names)},
        plots={
            "confusion.png": ConfusionPlot(scores.confusion, names),
            "reliability.png": ReliabilityPlot(confidence, accuracy, count, scores.ece, probs.shape[1]),
        },
    )


def _classes(scores: Classification) -> Table:
    rows = [
        [
            name,
            *(f"{score:.4f}" for score in (one.precision, one.recall, one.f1)),
            f"{one.support:,}",
            f"{predicted:,}",
        ]
        for (name, one), predicted in zip(
            scores.per_class.items(), scores.confusion.sum(axis=0).tolist(), strict=True
        )
    ]
    return Table(["class", "precision", "recall", "F1", "rows", "predicted"], rows)


def _calibration(all_scores: dict[str, Classification]) -> Table:
    rows = [
        [
            name,
            f"{scores.accuracy:.4f}",
            f"{scores.macro_f1:.4f}",
            f"{scores.log_loss:.4f}",
            f"{scores.ece:.1%}",
        ]
        for name, scores in all_scores.items()
    ]
    return Table(["", "accuracy", "macro F1", "log loss", "ECE"], rows)


def _confusion_csv(scores: Classification, names: Sequence[str]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["true \\ predicted", *names])
    table.writerows(
        [name, *counts] for name, counts in zip(names, np.asarray(scores.confusion).tolist(), strict=True)
    )
    return out.getvalue()
