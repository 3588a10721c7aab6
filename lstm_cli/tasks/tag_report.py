"""The report of a tagger's evaluation: sentences, tables, files and plots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lstm_cli.metrics.tagging import Tagging, to_json
from lstm_cli.tasks.base import Evaluation
from lstm_cli.tasks.report import Bars, ConfusionPlot, Report, Section, Table

_NOT_IN_TRAIN = "(not in train)"
_SHOWN_CONFUSIONS = 15


def tagging_report(evaluation: Evaluation, names: Sequence[str]) -> Report:
    """The report of the tags of all words."""
    scores = evaluation.scores
    assert isinstance(scores, Tagging)
    rows = [*names, _NOT_IN_TRAIN][: len(scores.confusion)]
    counts = scores.confusion.astype(str).tolist()
    confusion = Table(
        ["true \\ predicted", *names], [[name, *row] for name, row in zip(rows, counts, strict=True)]
    )
    content = to_json(scores, names)
    per = content["per_type"] if scores.spans else content["per_tag"]
    shown = [
        [
            name,
            f"{one['precision']:.4f}",
            f"{one['recall']:.4f}",
            f"{one['f1']:.4f}",
            f"{one['support']:,}",
            f"{one['predicted']:,}",
        ]
        for name, one in per.items()
    ]
    what = "type of span" if scores.spans else "tag"
    square = scores.confusion[: len(names)]
    return Report(
        lead=_lead(scores),
        metrics={"n": len(evaluation.store), **content},
        notes=_notes(scores, len(names)),
        sections=[
            Section(table=Table([what, "precision", "recall", "F1", "true", "predicted"], shown)),
            Section("The most frequent mistakes:", _mistakes(scores, names)),
        ],
        tables={"confusion.csv": confusion},
        plots={"confusion.png": ConfusionPlot(square, names)},
        charts=[
            Bars(f"F1 of each {what}", [(name, one["f1"], f"{one['f1']:.3f}") for name, one in per.items()])
        ],
    )


def _lead(scores: Tagging) -> str:
    words = f"Accuracy **{scores.accuracy:.2%}** of {scores.num_words:,} words"
    if scores.unseen_accuracy is not None:
        words += f", **{scores.unseen_accuracy:.2%}** of the {scores.num_unseen:,} that train does not have"
    sentences = f"{scores.sentence_accuracy:.1%} of the sentences without a mistake"
    if not scores.spans:
        return f"{words}; {sentences}."
    every = scores.spans[""]
    return (
        f"Span F1 **{every.f1:.4f}** (precision {every.precision:.4f}, recall {every.recall:.4f}, as conlleval counts "
        f"them); {words[0].lower()}{words[1:]}; {sentences}."
    )


def _notes(scores: Tagging, num_tags: int) -> list[str]:
    if len(scores.confusion) == num_tags:
        return []
    count = int(scores.confusion[num_tags].sum())
    return [f"{count:,} words have a tag that train does not have; they count as wrong"]


def _mistakes(scores: Tagging, names: Sequence[str]) -> Table:
    rows = [*names, _NOT_IN_TRAIN]
    wrong = scores.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_SHOWN_CONFUSIONS]
    found = [divmod(int(at), wrong.shape[1]) for at in order]
    return Table(
        ["true", "predicted", "words"],
        [[rows[true], names[ours], f"{wrong[true, ours]:,}"] for true, ours in found if wrong[true, ours]],
    )
