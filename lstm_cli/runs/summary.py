"""Summary of several runs of one config: mean, standard deviation, minimum and maximum of every score."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_cli.metrics.metric import Metric
from lstm_cli.runs.group import RunGroup

_VERDICTS = ("beats", "ties", "loses to")

_POOLED = {"accuracy": "accuracy", "macro_f1": "macro F1", "span_f1": "span F1", "log_loss": "log loss"}
"""The scores of the rows of all folds together that are printed, if a task has them."""


def summarize(
    group: RunGroup,
    metrics: Sequence[Metric],
    scored: Sequence[Mapping[str, Any]],
    seconds: Sequence[float],
) -> dict[str, Any]:
    """The content of summary.json. `scored` are the runs' metrics.json, `seconds` the durations of their training."""
    verdicts = [one["verdict"] for one in scored]
    names = [metric.name for metric in metrics if metric.in_summary]
    return {
        "by": group.by,
        "split": scored[0]["split"],
        "chosen_on": any(one["chosen_on"] for one in scored),
        "scores": _spreads(names, scored),
        "baselines": {
            name: _spreads(names, [one["baselines"][name] for one in scored])
            for name in scored[0]["baselines"]
        },
        "parts": {
            name: _spreads(names, [one["parts"][name] for one in scored]) for name in scored[0]["parts"]
        },
        "verdicts": {verdict: verdicts.count(verdict) for verdict in _VERDICTS},
        "seconds": round(sum(seconds), 3),
        "members": {
            name: {
                **{key: one[key] for key in ("n", *names, "verdict") if key in one},
                "seconds": round(trained, 3),
            }
            for name, one, trained in zip(group.names, scored, seconds, strict=True)
        },
    }


def _spreads(names: Sequence[str], scored: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The spread of every score that all runs have; `sd` is the sample standard deviation (n - 1)."""
    spreads = {}
    for name in names:
        values = [one[name] for one in scored if one.get(name) is not None]
        if len(values) == len(scored):
            spreads[name] = {
                "mean": statistics.fmean(values),
                "sd": statistics.stdev(values),
                "min": min(values),
                "max": max(values),
            }
    return spreads


def table(summary: Mapping[str, Any], metrics: Sequence[Metric]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table: the model's scores, then those of each baseline."""
    labels = {metric.name: metric.label for metric in metrics}
    rows = [_row(labels[name], spread) for name, spread in summary["scores"].items()]
    for baseline, spreads in summary["baselines"].items():
        rows += [_row(f"{baseline} {labels[name]}", spread) for name, spread in spreads.items()]
    return ["", "mean ± sd", "min", "max"], rows


def _row(name: str, spread: Mapping[str, float]) -> list[str]:
    return [
        name,
        _mean(spread),
        f"{spread['min']:.4f}",
        f"{spread['max']:.4f}",
    ]


def _mean(spread: Mapping[str, float]) -> str:
    return f"{spread['mean']:.4f} ± {spread['sd']:.4f}"


def title(summary: Mapping[str, Any]) -> str:
    """The title of the table, such as `test over 5 seeds`."""
    whole = f"{summary['split']} over {len(summary['members'])} {summary['by']}"
    return f"{whole}: rows on which the best epochs were chosen" if summary["chosen_on"] else whole


def conclusions(summary: Mapping[str, Any]) -> list[str]:
    """The results in sentences."""
    sentences = []
    if summary["chosen_on"]:
        sentences.append(
            "the best epochs and the calibration were chosen on these rows, so the scores are too good and there is no "
            "verdict; for scores on new rows try --set data.test=0.1, or --folds"
        )
    verdicts = summary["verdicts"]
    if any(verdicts.values()):
        sentences.append(
            f"of {len(summary['members'])} runs {verdicts['beats']} beat the best baseline, {verdicts['ties']} tie, "
            f"{verdicts['loses to']} lose"
        )
    if pooled := summary.get("out_of_fold"):
        scores = [f"{label} {pooled[name]:.4f}" for name, label in _POOLED.items() if name in pooled]
        sentences.append(
            f"{pooled['n']:,} rows, each predicted by the run that did not train on it: {', '.join(scores)}"
        )
    if left_out := summary.get("rows_in_no_fold"):
        sentences.append(
            f"{left_out:,} rows are in no fold: without them some run would have no training row of their label"
        )
    return sentences


def page(summary: Mapping[str, Any], metrics: Sequence[Metric]) -> str:
    """The content of summary.md."""
    columns, rows = table(summary, metrics)
    names = {metric.name: metric.label for metric in metrics if metric.name in summary["scores"]}
    components = {**summary["parts"], "this model": summary["scores"]}
    measured = [key for key in names if all(key in spreads for spreads in components.values())]
    lines = [
        f"# {title(summary)}",
        "",
        *_markdown(columns, rows),
        "",
        *(f"- {sentence}" for sentence in conclusions(summary)),
        f"- {summary['seconds']:,.0f} s of training in total",
        "",
        *_markdown(
            ["", *(names[key] for key in measured)],
            [[name, *(_mean(spreads[key]) for key in measured)] for name, spreads in components.items()],
        ),
        "",
        *_markdown(
            ["run", "rows", *names.values(), "against the best baseline", "seconds"],
            [
                [
                    run,
                    f"{scores['n']:,}",
                    *(f"{scores[key]:.4f}" for key in names),
                    scores["verdict"] or "",
                    f"{scores['seconds']:,.0f}",
                ]
                for run, scores in summary["members"].items()
            ],
        ),
        "",
    ]
    return "\n".join(lines)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *rows)]
