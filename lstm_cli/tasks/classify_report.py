"""The report of a classifier's evaluation: sentences, tables, files and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lstm_cli.arrays import Float64, Int64, Ragged
from lstm_cli.metrics.classification import (
    ACCURACY,
    ECE,
    MACRO_F1,
    Classification,
    intervals,
    reliability,
    to_json,
)
from lstm_cli.tasks.base import Evaluation
from lstm_cli.tasks.report import Bars, ConfusionPlot, Curves, ReliabilityPlot, Report, Section, Table

_SHOWN_CLASSES = 20
_LENGTH_BINS, _POINTS = 5, 101


def classification_report(
    evaluation: Evaluation,
    targets: Int64,
    names: Sequence[str],
    *,
    limit: str = "task.max_tokens",
    row: str = "text",
    step: str = "token",
) -> Report:
    """The report of (N, C) probabilities against (N,) class numbers.

    `row` and `step` are the words for a row and its steps, `limit` is the key that cuts long ones.
    """
    scores, probs = evaluation.scores, evaluation.outputs
    assert isinstance(scores, Classification)
    assert not isinstance(probs, Ragged)
    ci95 = intervals(scores.confusion)
    is_fair = evaluation.too_good is None
    confidence, accuracy, count = reliability(targets, probs)
    reliability_plot = ReliabilityPlot(confidence, accuracy, count, scores.ece, probs.shape[1])
    components = {
        name: component
        for name, component in evaluation.components.items()
        if isinstance(component, Classification)
    }
    return Report(
        lead=_lead(scores, ci95 if is_fair else {}),
        metrics=to_json(scores),
        cut=f"{int(evaluation.store.truncated.sum()):,} rows were longer than {limit} and were cut.",
        notes=_notes(scores),
        withheld=() if is_fair else (ECE.name,),
        ci95=ci95,
        sections=[
            Section(table=_classes(scores)),
            Section(
                "Calibration: the mean difference between confidence and accuracy (ECE, expected calibration error, "
                "15 bins), before and after calibration on the dev rows."
                if is_fair
                else "The components alone and together:",
                _components({**components, "this model": scores}, with_ece=is_fair),
            ),
        ],
        tables={"confusion.csv": _confusion(scores, names)},
        plots={"confusion.png": ConfusionPlot(scores.confusion, names)}
        | ({"reliability.png": reliability_plot} if is_fair else {}),
        charts=[
            Bars(
                "F1 of each class",
                [(name, one.f1, f"{one.f1:.3f}") for name, one in scores.per_class.items()],
            ),
            _by_length(evaluation.store.lengths, targets, probs, row, step),
            *([_by_threshold(targets, probs, names)] if len(names) == 2 else []),
            _by_coverage(targets, probs),
        ],
    )


def _by_length(lengths: Int64, targets: Int64, probs: Float64, row: str, step: str) -> Bars:
    """The accuracy of the shortest fifth of the rows, the next fifth, and so on."""
    right = probs.argmax(axis=1) == targets
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _LENGTH_BINS + 1)).astype(int))
    lows, highs = edges[:-1] if len(edges) > 1 else edges, edges[1:] if len(edges) > 1 else edges
    rows = []
    for at, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        inside = (
            (lengths >= low) & (lengths <= high)
            if at == len(lows) - 1
            else (lengths >= low) & (lengths < high)
        )
        if count := int(inside.sum()):
            accuracy = float(right[inside].mean())
            upper = high if at == len(lows) - 1 else high - 1
            steps = f"{low:,} {step}s" if low == upper else f"{low:,} to {upper:,} {step}s"
            rows.append((steps, accuracy, f"{accuracy:.3f} of {count:,}"))
    return Bars(f"Accuracy by the length of the {row}", rows)


def _by_threshold(targets: Int64, probs: Float64, names: Sequence[str]) -> Curves:
    """Precision and recall of the second class if it is predicted from each probability on."""
    thresholds = np.linspace(0, 1, _POINTS)
    of_all, of_class = np.sort(probs[:, 1]), np.sort(probs[targets == 1, 1])
    chosen = len(of_all) - np.searchsorted(of_all, thresholds)  # (K,) rows with at least this probability
    right = len(of_class) - np.searchsorted(of_class, thresholds)
    some = chosen > 0
    precision = right[some] / chosen[some]
    recall = right / max(len(of_class), 1)
    title = f"If {names[1]} is predicted from a probability on"
    return Curves(
        title, "probability", {"precision": (thresholds[some], precision), "recall": (thresholds, recall)}
    )


def _by_coverage(targets: Int64, probs: Float64) -> Curves:
    """The accuracy of the most confident part of the rows, as with --min-score."""
    order = np.argsort(-probs.max(axis=1), kind="stable")
    right = (probs.argmax(axis=1) == targets)[order]
    counts = np.unique(np.linspace(1, len(right), _POINTS).astype(int))
    accuracy = np.cumsum(right)[counts - 1] / counts
    return Curves(
        "Accuracy if only the most confident rows are answered",
        "fraction of rows",
        {"accuracy": (counts / len(right), accuracy)},
    )


def _lead(scores: Classification, ci95: Mapping[str, tuple[float, float]]) -> str:
    accuracy, macro_f1 = f"Accuracy **{scores.accuracy:.2%}**", f"macro F1 **{scores.macro_f1:.4f}**"
    if not ci95:
        return f"{accuracy}, {macro_f1}."
    (low, high), (low_f1, high_f1) = ci95[ACCURACY.name], ci95[MACRO_F1.name]
    return f"{accuracy} (95 % interval {low:.2%} to {high:.2%}), {macro_f1} ({low_f1:.4f} to {high_f1:.4f})."


def _notes(scores: Classification) -> list[str]:
    absent, num_classes = scores.absent, len(scores.per_class)
    if not absent:
        return []
    more = f" and {len(absent) - _SHOWN_CLASSES:,} more" if len(absent) > _SHOWN_CLASSES else ""
    return [
        f"macro F1 is the mean over {num_classes - len(absent):,} of {num_classes:,} classes; in no row and never "
        f"predicted: {', '.join(absent[:_SHOWN_CLASSES])}{more}"
    ]


def _classes(scores: Classification) -> Table:
    absent = set(scores.absent)
    rows = [
        [
            name,
            *("–" if name in absent else f"{score:.4f}" for score in (one.precision, one.recall, one.f1)),
            f"{one.support:,}",
            f"{predicted:,}",
        ]
        for (name, one), predicted in zip(
            scores.per_class.items(), scores.confusion.sum(axis=0).tolist(), strict=True
        )
    ]
    return Table(["class", "precision", "recall", "F1", "rows", "predicted"], rows)


def _components(all_scores: dict[str, Classification], *, with_ece: bool) -> Table:
    rows = [
        [
            name,
            f"{scores.accuracy:.4f}",
            f"{scores.macro_f1:.4f}",
            f"{scores.log_loss:.4f}",
            *([f"{scores.ece:.1%}"] if with_ece else []),
        ]
        for name, scores in all_scores.items()
    ]
    return Table(["", "accuracy", "macro F1", "log loss", *(["ECE"] if with_ece else [])], rows)


def _confusion(scores: Classification, names: Sequence[str]) -> Table:
    counts = scores.confusion.astype(str).tolist()
    return Table(
        ["true \\ predicted", *names], [[name, *row] for name, row in zip(names, counts, strict=True)]
    )
