"""The README.md of an exported folder: what the model is, how good, how large, and how to use it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lstm_cli.data.escaping import markdown
from lstm_cli.export.measure import Loss
from lstm_cli.export.parts import Parts
from lstm_cli.exported.folder import MODEL

_SHOWN_LABELS = 50


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card says besides its files.

    `counts` are the training rows of each label, `scores` the content of metrics.json by split, `files` the sizes in
    bytes. `loss` is what rounding costs, or None with the reason `not_measured`, or neither if nothing was rounded.
    """

    name: str
    counts: Mapping[str, int]
    scores: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, int]
    loss: Loss | None
    not_measured: str | None


def card(parts: Parts, facts: Facts) -> str:
    """The content of README.md."""
    about, total = parts.about, sum(facts.files.values())
    shown = list(facts.counts.items())[:_SHOWN_LABELS]
    more = len(facts.counts) - len(shown)
    labels = ", ".join(f"{markdown(label)} ({count:,})" for label, count in shown)
    directions = "in both directions" if about["bidirectional"] else "forward"
    layers = f"{about['num_layers']} {about['cell'].upper()} layer{'s' if about['num_layers'] > 1 else ''}"
    blend = f", combined with {parts.num_ngrams:,} n-grams" if parts.num_ngrams else ""
    lines = [
        f"# {markdown(facts.name)}",
        "",
        f"A text classifier with {len(facts.counts):,} labels: {layers} of {about['hidden_size']:,} units, "
        f"read {directions}{blend}. A text is cut to {about['max_tokens']:,} tokens. Trained and exported by "
        f"lstmcls {about['lstmcls']}, from the checkpoint {markdown(about['checkpoint'])}.",
        "",
        f"Training rows by label: {labels}{f', and {more:,} more labels' if more else ''}; "
        f"{sum(facts.counts.values()):,} in total.",
        "",
        "## Scores",
        "",
        *_scores(facts.scores),
        "",
        *_rounding(parts, facts),
        "## Use",
        "",
        "It needs no torch: `lstmcls` or the smaller `lstmcls-runtime`, and `onnxruntime`.",
        "",
        "```console",
        "$ lstmcls predict FOLDER --text 'some text'",
        "$ lstmcls verify FOLDER",
        "```",
        "",
        "```text",
        "import lstm_cli",
        'lstm_cli.load("FOLDER").predict(["some text"])',
        "```",
        "",
        "## Files",
        "",
        "| file | bytes |",
        "|---|---|",
        *(f"| {name} | {size:,} |" for name, size in facts.files.items()),
        f"| together | {total:,} |",
        "",
        "The vocabulary and the labels come from the training data. `check.safetensors` holds texts of random words "
        "from the vocabulary, with their probabilities. No training text is in this folder.",
        "",
        f"SHA-256 of {MODEL}: `{hashlib.sha256(parts.files[MODEL]).hexdigest()}`; `manifest.json` has those of all "
        f"files.",
        "",
    ]
    return "\n".join(lines)


def _scores(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not scores:
        return ["The run was never scored."]
    return [
        "| rows of | number | accuracy | macro F1 | log loss | |",
        "|---|---|---|---|---|---|",
        *(
            f"| {split} | {one['n']:,} | {_number(one, 'accuracy')} | {_number(one, 'macro_f1')} | "
            f"{_number(one, 'log_loss')} | {'they chose the best epoch' if split == 'dev' else ''} |"
            for split, one in scores.items()
        ),
    ]


def _number(metrics: Mapping[str, Any], name: str) -> str:
    value = metrics.get(name)
    return f"{value:.4f}" if isinstance(value, float) else "–"


def _rounding(parts: Parts, facts: Facts) -> Sequence[str]:
    if parts.exact:
        return ["The weights are those of the run, in fp32: the scores are the same.", ""]
    what = ["the weights are 8-bit numbers"] if parts.about["weights"] == "int8" else []
    if parts.num_ngrams:
        what.append(f"{parts.num_ngrams:,} n-grams are kept")
    said = f"In this export {' and '.join(what)}. The scores above are those of the run before that."
    if facts.loss is None:
        return [f"{said} The loss was not measured: {markdown(facts.not_measured or '')}.", ""]
    (accuracy, its), (log_loss, own) = facts.loss.accuracy, facts.loss.log_loss
    return [
        said,
        "",
        f"| {facts.loss.num_rows:,} dev rows | accuracy | log loss |",
        "|---|---|---|",
        f"| run | {accuracy:.4f} | {log_loss:.4f} |",
        f"| this export | {its:.4f} | {own:.4f} |",
        "",
    ]
