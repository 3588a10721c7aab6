"""The report of an evaluation of forecasts: errors by step and by series, coverage and plots."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np

from lstm_cli.arrays import Float64, Ragged
from lstm_cli.data.series import Window
from lstm_cli.metrics.regression import Forecasts, middle
from lstm_cli.tasks.base import Evaluation
from lstm_cli.tasks.report import ForecastPlot, Report, Section, StepsPlot, Table

_SHOWN_SERIES = 20
_DRAWN = {"one of the best": 0.1, "a typical one": 0.5, "one of the worst": 0.9}
"""The origins that are drawn, by how many of all origins have a smaller error."""
_DRAWN_PAST = 4
"""How many horizons of the past are drawn."""


def forecast_report(evaluation: Evaluation, quantiles: Sequence[float], targets: Float64) -> Report:
    """The report of (N, H, Q) quantiles against targets (N, H), NaN where a value is not known."""
    scores, outputs = evaluation.scores, evaluation.outputs
    assert isinstance(scores, Forecasts)
    assert not isinstance(outputs, Ragged)
    scalars = scores.scalars()
    errors = np.abs(targets - outputs[:, :, middle(quantiles)])
    of_row = np.where(np.isnan(errors).all(axis=1), 0.0, np.nansum(errors, axis=1))
    interval = quantiles[-1] - quantiles[0]
    inside = (
        f"; {scalars['coverage']:.1%} of the values are in the {interval:.0%} interval" if interval else ""
    )
    steps, series = by_step(scores), _by_series(evaluation, errors)
    missing = int(np.isnan(targets).sum())
    return Report(
        lead=f"MAE **{scalars['mae']:.4g}**, MASE **{scalars['mase']:.3f}**{inside}.",
        metrics={"n": len(evaluation.store), **scalars, "by_step": _listed(scores)},
        notes=[f"{missing:,} of {targets.size:,} values to forecast are missing, and count nowhere"]
        if missing
        else [],
        sections=[
            Section("Scores by step:", steps),
            *([Section("Scores by series, the worst first:", series)] if len(series.rows) > 1 else []),
        ],
        tables={"steps.csv": steps},
        plots={
            "steps.png": _steps_plot(evaluation, scores, targets),
            "forecasts.png": _plot(evaluation, of_row, quantiles),
        },
    )


def _listed(scores: Forecasts) -> dict[str, list[float | None]]:
    """The scores by step for metrics.json."""
    named = {"mae": scores.mae, "rmse": scores.rmse, "mase": scores.mase, "coverage": scores.coverage}
    return {name: [None if np.isnan(one) else float(one) for one in values] for name, values in named.items()}


def by_step(scores: Forecasts) -> Table:
    """A line for each step."""
    names = ["step", "MAE", "RMSE", "MASE", "sMAPE", "coverage", "values"]
    columns = [scores.mae, scores.rmse, scores.mase, scores.smape, scores.coverage]
    rows = [
        [str(step + 1), *(f"{column[step]:.4g}" for column in columns), str(scores.counts[step])]
        for step in range(len(scores.mae))
    ]
    return Table(names, rows)


def _by_series(evaluation: Evaluation, errors: Float64) -> Table:
    """A line for each series: its MAE, MASE and number of origins."""
    names = np.array([row.content.series for row in evaluation.rows])
    scaled = errors / np.asarray(evaluation.store.extras["mase_scale"])[:, None]
    rows = []
    for name in np.unique(names).tolist():
        of_series = names == name
        if np.isnan(errors[of_series]).all():
            continue
        means = (float(np.nanmean(values[of_series])) for values in (errors, scaled))
        rows.append((name, *means, int(of_series.sum())))
    rows.sort(key=lambda row: -row[2])
    shown = [
        [name, f"{mae:.4g}", f"{mase:.3f}", f"{count:,}"] for name, mae, mase, count in rows[:_SHOWN_SERIES]
    ]
    return Table(["series", "MAE", "MASE", "origins"], shown)


def _steps_plot(evaluation: Evaluation, scores: Forecasts, targets: Float64) -> StepsPlot:
    lines = {"this model": scores.mae}
    for one in evaluation.baselines:
        errors = np.abs(targets - np.array(list(one.predicted), np.float64))
        known = ~np.isnan(errors)
        lines[one.name] = np.where(known, errors, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return StepsPlot("MAE", lines)


def _plot(evaluation: Evaluation, of_row: Float64, quantiles: Sequence[float]) -> ForecastPlot:
    """Forecasts at origins with a small, a middling and a large error."""
    assert not isinstance(evaluation.outputs, Ragged)
    order = np.argsort(of_row, kind="stable")
    chosen = {int(order[int(part * (len(order) - 1))]): title for title, part in _DRAWN.items()}
    wanted = [number in chosen for number in range(len(order))]
    windows: list[Window] = [row.content for row in compress(evaluation.rows, wanted)]
    numbers = [number for number, is_wanted in enumerate(wanted) if is_wanted]
    nothing = np.zeros(0)
    return ForecastPlot(
        titles=[
            f"{chosen[number]}: {window.series} {window.shown(window.origin, 1)[0]}"
            for number, window in zip(numbers, windows, strict=True)
        ],
        past=[window.past[-_DRAWN_PAST * window.config.horizon :] for window in windows],
        future=[nothing if window.future is None else window.future for window in windows],
        quantiles=[evaluation.outputs[number] for number in numbers],
        middle=middle(quantiles),
    )
