"""Scores by name: which way is better, and how a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` is the key in files and in `train.select_by`, `label` what a table calls it, `format` its format there.

    `in_summary`: it is one of the scores that `--seeds` and `--folds` sum up.
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
        return f"{score:{self.format}}"


@dataclass(frozen=True, slots=True)
class NamedScores:
    """Scores that are single numbers and nothing else, by the names of their metrics."""

    values: Mapping[str, float]

    def scalars(self) -> dict[str, float]:
        return dict(self.values)
