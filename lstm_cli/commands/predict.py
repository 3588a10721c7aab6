"""`lstmcls predict`: one output for every input, in order, in memory that does not grow."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TextIO

from lstm_cli.checkpoint import load_checkpoint
from lstm_cli.config import load_config
from lstm_cli.console import Screen
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import open_rows, stream_rows
from lstm_cli.errors import ConfigError, LstmclsError
from lstm_cli.prediction import RowOutput, predict_rows
from lstm_cli.rundir import RunDir
from lstm_cli.runtime import start
from lstm_cli.tasks import Task

Format = Literal["jsonl", "csv", "tsv"]


def predict(
    source: str,
    files: Sequence[str],
    overrides: Sequence[str],
    run_dir: str | None,
    screen: Screen,
    *,
    output: Path | None,
    format: Format | None,
    checkpoint: Literal["best", "last"],
    top_k: int,
    probs: bool,
    quote_formulas: bool,
) -> None:
    """Read text from files, folders or stdin and write a prediction a row to stdout or to `output`."""
    config = load_config(source, overrides, run_dir)
    runtime = start(config.run, trains=False)
    task, model = load_checkpoint(RunDir.open(Path(config.run.dir)).checkpoint(checkpoint)).load(
        runtime.device
    )
    data = config.data
    if not any(override.startswith("data.format=") for override in overrides):
        data = data.model_copy(update={"format": "auto"})  # the training files' format says nothing of these
    rows: Iterable[Row]
    if list(files) == ["-"]:
        rows = stream_rows(sys.stdin.buffer, data)
    elif "-" in files:
        raise ConfigError("-: stdin is read alone; give either - or files")
    else:
        rows = open_rows(list(files), data, "predict", labelled=False, keep_fields=True, on_error="row")
    format = format or _format_of(output)
    if quote_formulas and format == "jsonl":
        raise ConfigError("--quote-formulas: JSON Lines have no cells to quote; try --format csv or tsv")
    with _writer(output, format, quote_formulas) as write, screen.counting("predicting") as counter:
        for number, result in enumerate(predict_rows(model, task, rows, runtime)):
            write(_prediction(number, result, task, top_k, probs))
            counter.one_more()


def _prediction(number: int, result: RowOutput, task: Task, top_k: int, probs: bool) -> dict[str, Any]:
    """One output line. A column of the input that is named like one of ours is kept as `input.NAME`."""
    line: dict[str, Any] = {"row": number}
    if result.output is None:
        line["error"] = result.row.error
    else:
        line |= task.prediction(result.output, top_k, probs)
        if result.truncated:
            line["truncated"] = True
    for name, value in (result.row.fields or {}).items():
        line[f"input.{name}" if name in _OURS else name] = value
    return line


_OURS = {"row", "label", "score", "top", "probs", "truncated", "error"}


def _format_of(output: Path | None) -> Format:
    match output.suffix if output else ".jsonl":
        case ".jsonl" | ".ndjson":
            return "jsonl"
        case ".csv":
            return "csv"
        case ".tsv":
            return "tsv"
        case suffix:
            raise ConfigError(
                f"-o {output}: no format is known by {suffix!r}; try .jsonl, .csv, .tsv, or --format"
            )


@contextmanager
def _writer(
    output: Path | None, format: Format, quote_formulas: bool
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Writes lines to stdout, or to a file that appears only when it is whole."""
    if output is None:
        assert isinstance(sys.stdout, io.TextIOWrapper)
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # whatever the terminal's locale says
        yield _line_writer(sys.stdout, format, quote_formulas)
        sys.stdout.flush()
        return
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            yield _line_writer(stream, format, quote_formulas)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def _line_writer(stream: TextIO, format: Format, quote_formulas: bool) -> Callable[[dict[str, Any]], None]:
    if format == "jsonl":
        return lambda line: print(json.dumps(line, ensure_ascii=False), file=stream)
    columns: list[str] = []
    shown = _quoted if quote_formulas else lambda cell: cell
    # the module quotes a lone \r, which ends a row for most readers, only where \r is part of its line end
    lines = SimpleNamespace(write=lambda text: stream.write(text.removesuffix("\r\n") + "\n"))
    table = csv.writer(lines, delimiter="," if format == "csv" else "\t", lineterminator="\r\n")

    def write(line: dict[str, Any]) -> None:
        cells = _flat(line)
        if not columns:
            columns.extend(dict.fromkeys(["row", "label", "score", "truncated", "error", *cells]))
            table.writerow(map(shown, columns))
        strange = [name for name in cells if name not in columns]
        if strange:
            raise LstmclsError(
                f"row {line['row']}: has {', '.join(strange)}, which the first row had not, and a table's columns are "
                f"fixed by then; try --format jsonl, or one input at a time"
            )
        table.writerow([shown(cells.get(name, "")) for name in columns])

    return write


def _quoted(cell: Any) -> Any:
    """A text that a spreadsheet would run as a formula, behind an apostrophe; numbers are no texts."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    """A prediction as the cells of a table: nested keys become `probs.NAME`, `top.1.label` and so on."""
    cells: dict[str, Any] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            cells |= {f"{name}.{key}": entry for key, entry in value.items()}
        elif isinstance(value, list):
            for i, entry in enumerate(value, start=1):
                cells |= {f"{name}.{i}.{key}": part for key, part in entry.items()}
        elif isinstance(value, bool):
            cells[name] = str(value).lower()
        else:
            cells[name] = value
    return cells
