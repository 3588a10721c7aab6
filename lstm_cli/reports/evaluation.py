"""The files of an evaluation: metrics.json, report.md, predictions.jsonl, mistakes.jsonl and plots."""

from __future__ import annotations

import csv
import heapq
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_cli.data.durable import atomic_writer, write_file
from lstm_cli.data.escaping import markdown, unlike_formula, visible
from lstm_cli.reports.html import html_page
from lstm_cli.reports.html_mistakes import Pieces, Strongest
from lstm_cli.reports.plots import draw
from lstm_cli.scoring.baselines import comparisons
from lstm_cli.tasks.base import Comparison, Evaluation, Task
from lstm_cli.tasks.report import Report, Section, Table

SCHEMA_VERSION = 2
"""The version of metrics.json. 1 (without the key) had no `confusion`, `labels`, `chosen_on` and `verdict_reason`."""
_MOST_MISTAKES = 10_000
_MOST_EXPLAINED, _EXPLAINED_CHARS = 12, 20_000
"""Mistakes that the page explains, and characters of their texts together. On 2,000 film-review sentences
`lstmcls eval` took 8.5 % longer with them and the n-grams, and 14 % with 25 mistakes (medians of 16 pairs)."""
_ESCAPE = "backslashreplace"
"""JSON can hold half a surrogate pair, UTF-8 cannot. It is written as in JSON, escaped: \\ud800."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What the page shows of a model that can be looked into.

    `strongest` are the n-grams that add most to the logit of each class, and how much. `explain` is called with texts,
    the label that each was given and its true one.
    """

    strongest: Strongest
    explain: Callable[[Sequence[tuple[str, str, str]]], Sequence[Pieces]]


def write_evaluation(
    folder: Path,
    task: Task,
    evaluation: Evaluation,
    *,
    quote_formulas: bool = False,
    inside: Inside | None = None,
) -> dict[str, Any]:
    """Write metrics.json, report.md, report.html, predictions.jsonl, mistakes.jsonl, the task's tables and plots/ into
    `folder`.

    The folder must be empty: a caller that replaces an evaluation swaps it in as a whole. `quote_formulas`: in CSV a
    name that a spreadsheet would run as a formula gets an apostrophe in front. Returns the content of metrics.json.
    """
    report, compared = task.report(evaluation), comparisons(task, evaluation)
    metrics = _metrics(task, evaluation, report, compared)
    page = _page(task, evaluation, report, compared, metrics)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for name, plot in report.plots.items():
        draw(plot, evaluation.split, folder / "plots" / name)
    mistakes, num_mistakes = _write_rows(folder, task, evaluation)
    page += "Every row is in predictions.jsonl"
    if num_mistakes:
        page += (
            f"; the {min(num_mistakes, _MOST_MISTAKES):,} of {num_mistakes:,} mistakes with the highest "
            f"confidence are in mistakes.jsonl"
        )
    page += ".\n"
    files = {name: _csv(table, quote_formulas) for name, table in report.tables.items()}
    files["report.md"] = page
    files["report.html"] = html_page(
        evaluation.title,
        [report.lead, _verdict(evaluation, metrics, compared), *_sentences(report)],
        [Section(table=_compared(task, evaluation, compared, metrics)), *report.sections],
        report.plots,
        report.charts,
        mistakes,
        num_mistakes,
        inside.strongest if inside else {},
        _explained(mistakes, inside) if inside else {},
    )
    files["metrics.json"] = json.dumps(metrics, indent=2, ensure_ascii=False) + "\n"
    for name, content in files.items():
        write_file(folder / name, content.encode(errors=_ESCAPE))
    return metrics


def _explained(mistakes: Sequence[Mapping[str, Any]], inside: Inside) -> dict[int, Pieces]:
    """Why the first mistakes were made, by the number of their row."""
    lines: list[Mapping[str, Any]] = []
    chars = 0
    for line in mistakes:
        if len(lines) == _MOST_EXPLAINED or chars + len(line["text"]) > _EXPLAINED_CHARS:
            break
        chars += len(line["text"])
        lines.append(line)
    pieces = inside.explain([(line["text"], line["label"], line["target"]) for line in lines])
    return {line["row"]: one for line, one in zip(lines, pieces, strict=True)}


def _metrics(
    task: Task, evaluation: Evaluation, report: Report, compared: Mapping[str, Comparison]
) -> dict[str, Any]:
    """The content of metrics.json. The verdict compares the model with the best baseline.

    There is none on rows that the model has seen; `verdict_reason` says why.
    """
    notes = {baseline.name: baseline.note for baseline in evaluation.baselines}
    seen, withheld = evaluation.seen, dict.fromkeys(report.withheld)
    metrics: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "split": evaluation.split,
        "checkpoint": evaluation.checkpoint,
        "chosen_on": evaluation.chosen_on,
        "in_train": seen.in_train,
        "in_dev": seen.in_dev,
        **report.metrics,
        **withheld,
        "ci95": {name: list(bounds) for name, bounds in report.ci95.items()},
        "baselines": {name: {**one.scores, "note": notes[name]} for name, one in compared.items()},
        "verdict": None,
        "parts": {name: {**one.scalars(), **withheld} for name, one in evaluation.components.items()},
        "notes": list(report.notes),
    }
    best = _best(task, compared)
    if reason := evaluation.too_good or (None if best else "no baseline was fitted"):
        metrics["verdict_reason"] = reason
    elif best:
        one = compared[best]
        metrics |= {"verdict": one.verdict, "verdict_against": best, "verdict_p": one.p}
    return metrics


def _best(task: Task, compared: Mapping[str, Comparison]) -> str | None:
    """The name of the best baseline by the task's first metric; of equally good ones, the first."""
    metric = task.compared_by[0]
    best: str | None = None
    for name, one in compared.items():
        if best is None or metric.is_better(one.scores[metric.name], compared[best].scores[metric.name]):
            best = name
    return best


def _write_rows(folder: Path, task: Task, evaluation: Evaluation) -> tuple[list[dict[str, Any]], int]:
    """Write predictions.jsonl in row order and mistakes.jsonl, the most confident first. Returns the lines of
    mistakes.jsonl, and how many mistakes there are."""
    num_mistakes = 0
    # a heap: its first entry is the least confident
    most_confident: list[tuple[float, int, dict[str, Any]]] = []
    answers = map(task.answer, evaluation.outputs, evaluation.store.known_targets)
    with atomic_writer(folder / "predictions.jsonl", "utf-8", _ESCAPE) as file:
        for number, (row, answer) in enumerate(zip(evaluation.rows, answers, strict=True)):
            line = {"row": number, "where": row.where(), **answer.line}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            if answer.mistake is None:
                continue
            num_mistakes += 1
            known = {key: value for key, value in line.items() if key != "probs"}
            content = {key: value for key, value in row.content.as_json().items() if key not in known}
            heapq.heappush(most_confident, (answer.mistake, -number, {**known, **content}))
            if len(most_confident) > _MOST_MISTAKES:
                heapq.heappop(most_confident)
    mistakes = [line for _, _, line in sorted(most_confident, reverse=True)]
    lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in mistakes]
    write_file(folder / "mistakes.jsonl", "".join(lines).encode(errors=_ESCAPE))
    return mistakes, num_mistakes


def _page(
    task: Task,
    evaluation: Evaluation,
    report: Report,
    compared: Mapping[str, Comparison],
    metrics: Mapping[str, Any],
) -> str:
    """The content of report.md without its last sentence."""
    lines = [
        f"# {markdown(evaluation.title)}",
        "",
        report.lead,
        _verdict(evaluation, metrics, compared),
        *map(markdown, _sentences(report)),
        "",
        f"Scored: checkpoint {markdown(evaluation.checkpoint)}.",
        *([report.cut] if report.cut else []),
        "",
        *_markdown(_compared(task, evaluation, compared, metrics)),
        "",
    ]
    for section in report.sections:
        lines += [section.text, ""] if section.text else []
        lines += [*_markdown(section.table), ""] if section.table else []
    if report.plots:
        lines += [" ".join(f"![{Path(name).stem}](plots/{name})" for name in report.plots), ""]
    return "\n".join([*lines, ""])


def _sentences(report: Report) -> list[str]:
    """The notes as sentences."""
    return [f"{note[0].upper() + note[1:]}." for note in report.notes]


def _compared(
    task: Task, evaluation: Evaluation, compared: Mapping[str, Comparison], metrics: Mapping[str, Any]
) -> Table:
    """The model and the baselines."""
    scalars = evaluation.scores.scalars()
    rows = [["this model", *(f"{scalars[metric.name]:.4f}" for metric in task.compared_by), ""]]
    rows += [
        [
            name,
            *(f"{one.scores[metric.name]:.4f}" for metric in task.compared_by),
            metrics["baselines"][name]["note"],
        ]
        for name, one in compared.items()
    ]
    return Table(["", *(metric.label for metric in task.compared_by), ""], rows)


def _verdict(evaluation: Evaluation, metrics: Mapping[str, Any], compared: Mapping[str, Comparison]) -> str:
    if evaluation.too_good:
        return (
            f"These scores are too good, and there is no verdict: {evaluation.too_good}. Only rows that the model has "
            f"never seen show how good it is: give data.test a file, or a fraction such as 0.1, and train again."
        )
    if metrics["verdict"] is None:
        return "No baseline was fitted."
    best = metrics["verdict_against"]
    return (
        f"It **{metrics['verdict']}** the best baseline, {best} "
        f"({compared[best].test}: p = {metrics['verdict_p']:.2g})."
    )


def _markdown(table: Table) -> list[str]:
    lines = ["".join(f"{_cell(cell)}|" for cell in cells) for cells in (table.columns, *table.rows)]
    separator = "---|" * len(table.columns)
    return [f"|{line}" for line in (lines[0], separator, *lines[1:])]


def _cell(text: str) -> str:
    shown = markdown(text)
    return f" {shown} " if shown else " "


def _csv(table: Table, quote_formulas: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for cells in (table.columns, *table.rows):
        writer.writerow(unlike_formula(visible(cell)) if quote_formulas else visible(cell) for cell in cells)
    return out.getvalue()
