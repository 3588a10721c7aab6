"""What an evaluation leaves behind: numbers for programs, a page for people, every mistake, and plots."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lstm_cli.arrays import Float64, Int64
from lstm_cli.data.durable import write_file
from lstm_cli.data.rows import Row
from lstm_cli.data.text import Text
from lstm_cli.errors import LstmclsError
from lstm_cli.features.tfidf import Baseline
from lstm_cli.metrics.classification import (
    Classification,
    accuracy_and_macro_f1,
    bootstrap_ci,
    paired_verdict,
    to_json,
)
from lstm_cli.reports import plots

_MOST_MISTAKES = 10_000
_ESCAPE = "backslashreplace"
"""Half a surrogate pair, which JSON may spell and UTF-8 may not, is written as JSON spells it: \\ud800."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A scored split: (N,) `targets`, (N, C) `probs`, the rows they belong to, and what they are held against.

    `parts` are what the model is made of, each by itself, before they were calibrated on the dev rows.
    """

    split: str
    checkpoint: str
    label_names: Sequence[str]
    scores: Classification
    targets: Int64
    probs: Float64
    rows: Iterable[Row[Text]]
    num_truncated: int
    baselines: Sequence[Baseline]
    parts: Mapping[str, Classification] = field(default_factory=dict)


def write_evaluation(folder: Path, evaluation: Evaluation) -> dict[str, Any]:
    """Write metrics.json, report.md, confusion.csv, predictions.jsonl, mistakes.jsonl and plots/ into `folder`.

    metrics.json is written last: where it stands, the rest is there. Returns its content.
    """
    scores = evaluation.scores
    metrics = _metrics(evaluation, scores)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    num_mistakes = _write_rows(folder, evaluation)
    _replace(folder / "confusion.csv", _confusion_csv(scores, evaluation.label_names))
    _replace(folder / "report.md", _page(evaluation, scores, metrics, num_mistakes))
    plots.confusion(
        scores.confusion, evaluation.label_names, evaluation.split, folder / "plots" / "confusion.png"
    )
    plots.reliability(evaluation.targets, evaluation.probs, scores.ece, folder / "plots" / "reliability.png")
    _replace(folder / "metrics.json", json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
    return metrics


def _metrics(evaluation: Evaluation, scores: Classification) -> dict[str, Any]:
    """The content of metrics.json. The verdict is against the most accurate baseline."""
    targets, predicted, num_classes = (
        evaluation.targets,
        evaluation.probs.argmax(axis=1),
        len(evaluation.label_names),
    )
    rivals = {
        rival.name: accuracy_and_macro_f1(targets, rival.predicted, num_classes)
        for rival in evaluation.baselines
    }
    metrics = {
        "split": evaluation.split,
        "checkpoint": evaluation.checkpoint,
        **to_json(scores),
        "ci95": {
            name: list(bounds) for name, bounds in bootstrap_ci(targets, predicted, num_classes).items()
        },
        "baselines": {
            rival.name: {
                "accuracy": rivals[rival.name][0],
                "macro_f1": rivals[rival.name][1],
                "note": rival.note,
            }
            for rival in evaluation.baselines
        },
        "verdict": None,
        "parts": {
            name: {key: getattr(part, key) for key in ("accuracy", "macro_f1", "log_loss", "ece")}
            for name, part in evaluation.parts.items()
        },
    }
    if evaluation.baselines:
        best = max(evaluation.baselines, key=lambda rival: rivals[rival.name][0])
        verdict, p = paired_verdict(targets, predicted, best.predicted)
        metrics |= {"verdict": verdict, "verdict_against": best.name, "verdict_p": p}
    return metrics


def _write_rows(folder: Path, evaluation: Evaluation) -> int:
    """predictions.jsonl in row order and mistakes.jsonl, the most confident first. Returns the number of mistakes."""
    names, probs = evaluation.label_names, evaluation.probs
    predicted = probs.argmax(axis=1)
    wrong = np.flatnonzero(predicted != evaluation.targets)
    shown = wrong[np.argsort(-probs[wrong, predicted[wrong]], kind="stable")][:_MOST_MISTAKES]
    mistakes: dict[int, dict[str, Any] | None] = dict.fromkeys(shown.tolist())  # in the order to be written
    predictions = folder / "predictions.jsonl"
    temporary = predictions.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", errors=_ESCAPE) as file:
        for i, row in zip(range(len(probs)), evaluation.rows, strict=True):
            line = {
                "row": i,
                "label": names[predicted[i]],
                "score": float(probs[i, predicted[i]]),
                "probs": dict(zip(names, map(float, probs[i]), strict=True)),
                "target": names[evaluation.targets[i]],
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            if i in mistakes:
                known = {key: line[key] for key in ("row", "label", "score", "target")}
                mistakes[i] = {**known, "where": row.where(), "text": row.content.text}
    temporary.replace(predictions)
    _replace(
        folder / "mistakes.jsonl",
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in mistakes.values()),
    )
    return len(wrong)


def _confusion_csv(scores: Classification, names: Sequence[str]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["true \\ predicted", *names])
    table.writerows([name, *map(int, counts)] for name, counts in zip(names, scores.confusion, strict=True))
    return out.getvalue()


def _page(
    evaluation: Evaluation, scores: Classification, metrics: Mapping[str, Any], num_mistakes: int
) -> str:
    """report.md"""
    (low, high), (low_f1, high_f1) = metrics["ci95"]["accuracy"], metrics["ci95"]["macro_f1"]
    lines = [
        f"# {evaluation.split}: {scores.n:,} rows",
        "",
        f"Accuracy **{scores.accuracy:.2%}** (95 % interval {low:.2%} to {high:.2%}), "
        f"macro F1 **{scores.macro_f1:.4f}** ({low_f1:.4f} to {high_f1:.4f}).",
        _verdict(metrics),
        "",
        f"Scored: checkpoint {evaluation.checkpoint}.",
        f"{evaluation.num_truncated:,} rows were longer than task.max_tokens and were cut.",
        "",
        "| | accuracy | macro F1 | |",
        "|---|---|---|---|",
        f"| this model | {scores.accuracy:.4f} | {scores.macro_f1:.4f} | |",
        *(
            f"| {name} | {rival['accuracy']:.4f} | {rival['macro_f1']:.4f} | {_cell(rival['note'])} |"
            for name, rival in metrics["baselines"].items()
        ),
        "",
        "| class | precision | recall | F1 | rows | predicted |",
        "|---|---|---|---|---|---|",
        *(
            f"| {_cell(name)} | {c.precision:.4f} | {c.recall:.4f} | {c.f1:.4f} | {c.support:,} | {predicted:,} |"
            for (name, c), predicted in zip(
                scores.per_class.items(), scores.confusion.sum(axis=0), strict=True
            )
        ),
        "",
        "Calibration: by how much the stated confidence is off on average (ECE, expected calibration error, 15 bins), "
        "before and after it was set on the dev rows.",
        "",
        "| | accuracy | macro F1 | log loss | ECE |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {part.accuracy:.4f} | {part.macro_f1:.4f} | {part.log_loss:.4f} | {part.ece:.1%} |"
            for name, part in [*evaluation.parts.items(), ("this model", scores)]
        ),
        "",
        "![confusion](plots/confusion.png) ![reliability](plots/reliability.png)",
        "",
        f"Every row is in predictions.jsonl; the {min(num_mistakes, _MOST_MISTAKES):,} of {num_mistakes:,} mistakes "
        f"with the highest confidence are in mistakes.jsonl.",
        "",
    ]
    return "\n".join(lines)


def _verdict(metrics: Mapping[str, Any]) -> str:
    if metrics["verdict"] is None:
        return "No baseline was fitted."
    return (
        f"It **{metrics['verdict']}** the best baseline, {metrics['verdict_against']} "
        f"(McNemar's exact test on the same rows: p = {metrics['verdict_p']:.2g})."
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _replace(path: Path, content: str) -> None:
    write_file(path, content.encode(errors=_ESCAPE))


class TensorBoard:
    """Curves of one training in TensorBoard's own format."""

    def __init__(self, folder: Path) -> None:
        """Raises LstmclsError where TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise LstmclsError(
                "run.tensorboard: TensorBoard is not installed; try pip install 'lstmcls[tensorboard]'"
            ) from None
        self._writer = SummaryWriter(str(folder))

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one line of metrics.jsonl."""
        flat = {"train/loss": record["train_loss"], "train/learning_rate": record["learning_rate"]}
        flat |= {f"dev/{name}": value for name, value in record["dev"].items()}
        for name, value in flat.items():
            self._writer.add_scalar(name, value, record["step"])
        self._writer.flush()
