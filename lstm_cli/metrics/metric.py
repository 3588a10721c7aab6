"""Metrics: their names, whether higher or lower is better, and how their scores are printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: `name` is its key in files and in `train.select_by`; tables print its `label`, and scores in `format`.

    If `in_summary` is True, the summaries of `--seeds` and `--folds` contain it.
    """

    name: str
    label: str
    higher_is_better: bool
    format: str = ".4f"
    in_summary: bool = True

    def is_better(self, score: float, other: float) -> bool:
        """Whether `score` is strictly better than `other`."""
        return score > other if self.higher_is_better else score < other

    def show(self, score: float) -> str:
        """The score as text."""
        return f"{score:{self.format}}"


@dataclass(frozen=True, slots=True)
class NamedScores:
    """Scores that are all single numbers, by the names of their metrics."""

    values: Mapping[str, float]

    def scalars(self) -> dict[str, float]:
        """All scores, by the names of their metrics."""
        return dict(self.values)
