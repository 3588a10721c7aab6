"""What `lstmcls eval` finds out for report.html by a look into the model."""

from __future__ import annotations

from typing import Any

from lstm_cli.data.sources import Rows
from lstm_cli.explain.attribution import contributions
from lstm_cli.reports.evaluation import Inside
from lstm_cli.runs.models import Models
from lstm_cli.runtime import Runtime
from lstm_cli.scoring.abilities import explainable

_NGRAMS_SHOWN, _CHARS_FOR_NGRAMS = 10, 1_000_000
"""N-grams shown of each class, and the characters of text in which they are looked for: 0.4 s of film reviews."""


def inside(models: Models, rows: Rows[Any], runtime: Runtime) -> Inside | None:
    """What report.html shows of the model, if there is only one and its task can be explained."""
    ability = explainable(models.ensemble.task)
    if ability is None or len(models.ensemble.members) > 1:
        return None
    (load,) = models.ensemble.members.values()
    explainer = ability.explainer(load().model)
    texts, num_chars = [], 0
    for row in rows:
        texts.append(row.content.text[: _CHARS_FOR_NGRAMS - num_chars])
        num_chars += len(texts[-1])
        if num_chars == _CHARS_FOR_NGRAMS:
            break
    found = explainer.strongest_ngrams(texts, _NGRAMS_SHOWN)
    return Inside(
        {name: ngrams for name, ngrams in zip(explainer.names, found, strict=True) if ngrams},
        lambda asked: contributions(explainer, asked, runtime),
    )
