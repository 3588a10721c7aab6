"""The report of an evaluation as plain values. `reports` writes them to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lstm_cli.arrays import Float64, Int64


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text cells with the names of its columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Section:
    """A paragraph, a table, or a paragraph and a table below it."""

    text: str = ""
    table: Table | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ConfusionPlot:
    """`counts` (C, C): true classes down, predicted classes across."""

    counts: Int64
    names: Sequence[str]


@dataclass(frozen=True, slots=True, eq=False)
class ReliabilityPlot:
    """Mean `confidence`, `accuracy` and `count` of each bin (K,), and the expected calibration error."""

    confidence: Float64
    accuracy: Float64
    count: Int64
    error: float
    num_classes: int


@dataclass(frozen=True, slots=True, eq=False)
class ForecastPlot:
    """A few forecasts: for each its title, `past` (T,), `future` (H,), NaN where a value is not known, and `quantiles`
    (H, Q), of which the one at `middle` is the forecast."""

    titles: Sequence[str]
    past: Sequence[Float64]
    future: Sequence[Float64]
    quantiles: Sequence[Float64]
    middle: int


@dataclass(frozen=True, slots=True, eq=False)
class StepsPlot:
    """An error by step: its name, and values (H,) by the name of the method, the model first."""

    error: str
    lines: Mapping[str, Float64]


Plot = ConfusionPlot | ReliabilityPlot | ForecastPlot | StepsPlot


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar for each row: its name, its value from 0 to 1, and what is written beside it."""

    title: str
    rows: Sequence[tuple[str, float, str]]


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Lines from 0 to 1 in both directions: x (K,) and y (K,) by name."""

    title: str
    x: str
    lines: Mapping[str, tuple[Float64, Float64]]


Chart = Bars | Curves


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """`lead` is the first sentence of report.md, `sections` follow the comparison with the baselines.

    `cut` is a sentence about rows that were cut, if the task cuts any; `notes` are sentences without which the scores
    could be misread. `withheld` names metrics that these rows cannot measure: their scores become null.

    `metrics` are keys of metrics.json, `ci95` the 95 % interval of each metric that has one. `tables` are written as
    CSV files, and `plots` as pictures, by their names. `charts` are drawn in report.html.
    """

    lead: str
    metrics: Mapping[str, Any]
    cut: str = ""
    notes: Sequence[str] = ()
    withheld: Sequence[str] = ()
    ci95: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sections: Sequence[Section] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    plots: Mapping[str, Plot] = field(default_factory=dict)
    charts: Sequence[Chart] = ()
