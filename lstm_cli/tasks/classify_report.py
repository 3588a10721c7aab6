"""The report of a classifier's evaluation: sentences, tables, files and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lstm_cli.arrays import Int64, Ragged
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
from lstm_cli.tasks.report import ConfusionPlot, ReliabilityPlot, Report, Section, Table

_SHOWN_CLASSES = 20


def classification_report(evaluation: Evaluation, targets: Int64, names: Sequence[str]) -> Report:
    """The report of (N, C) probabilities against (N,) class numbers."""
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
        cut=f"{int(evaluation.store.truncated.sum()):,} rows were longer than task.max_tokens and were cut.",
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
