"""`lstmcls predict`: one prediction for each input row, in the order of the input, in constant memory."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TextIO

import torch

from lstm_cli.config.load import load_config
from lstm_cli.console import Screen
from lstm_cli.data.rows import Content, Row
from lstm_cli.data.sources import DataConfig, Rows, open_rows, stream_rows
from lstm_cli.errors import ConfigError, DataError, Interrupted, LstmclsError
from lstm_cli.runs.models import Models, open_models
from lstm_cli.runs.output import PartialOutput, partial_output
from lstm_cli.runtime import Runtime, start
from lstm_cli.scoring.prediction import RowOutput, predict_windows
from lstm_cli.tasks.base import PredictOptions, Task

Format = Literal["jsonl", "csv", "tsv"]
_OUTPUTS_SINCE = "0.1.0"
"""The first version whose outputs have the same bytes as this one's: what it has begun can be resumed. A change to the
outputs must set it to the new version."""


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """The arguments of `lstmcls predict`."""

    source: str
    files: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    run_dir: str | None = None
    output: Path | None = None
    format: Format | None = None
    checkpoint: Literal["best", "last"] = "best"
    options: PredictOptions = field(default_factory=PredictOptions)
    resume: bool = False
    strict: bool = False
    quote_formulas: bool = False


def predict(request: PredictRequest, screen: Screen) -> None:
    """Read rows from files, folders or stdin and write one prediction per row to stdout or to `request.output`."""
    config = load_config(request.source, request.overrides, request.run_dir)
    output, options = request.output, request.options
    format = request.format or _format_of(output)
    _refuse_contradictions(request, format)
    runtime = start(config.run, trains=False)
    models = open_models(Path(config.run.dir), request.checkpoint, runtime.device)
    task = models.ensemble.task
    task.accept(options)
    format_is_set = any(override.startswith("data.format=") for override in request.overrides)
    rows = _rows(request.files, config.data, config.task.content, format_is_set)
    inputs = None
    if output and isinstance(rows, Rows):
        _refuse_input_as_output(output, rows)
        how = {"format": format, **asdict(options), "quote_formulas": request.quote_formulas}
        inputs = {"input": rows.digest(), **how, **_model_metadata(models, runtime)}
    with (
        _target(output, inputs, resume=request.resume) as target,
        screen.counting("predicting") as counter,
    ):
        done = target.done
        if request.resume:
            screen.say(
                f"resuming after row {done.rows:,}"
                if done.rows
                else "no saved rows found: starting from the beginning"
            )
        write = _line_writer(
            target.stream, format, task.prediction_keys, done.columns, request.quote_formulas
        )
        for window in predict_windows(models.ensemble, rows, runtime, skip=done.rows):
            for result in window:
                write(_prediction(done.rows, result, task, options))
                done.count(result.row)
                counter.one_more()
            target.keep()
    if request.strict and done.num_errors:
        raise DataError(
            f"--strict: {done.num_errors:,} of {done.rows:,} rows could not be read; each has an `error` in the "
            f"output; the first is {done.first_error}"
        )


def _refuse_contradictions(request: PredictRequest, format: Format) -> None:
    """Raise ConfigError if two options contradict each other."""
    output = request.output
    if request.quote_formulas and format == "jsonl":
        raise ConfigError(
            "--quote-formulas: works on CSV and TSV only, the output is JSON Lines; try --format csv or tsv"
        )
    if request.resume and (output is None or "-" in request.files):
        raise ConfigError(
            "--resume: stdin cannot be read again; save its lines in a file first"
            if output
            else "--resume: needs the file to continue; name it with -o OUT"
        )
    if output and output.exists() and not output.is_file():  # the output would replace it
        raise ConfigError(f"-o {output}: not a regular file; name a file, or leave out -o for stdout")


def _refuse_input_as_output(output: Path, rows: Rows[Any]) -> None:
    """Raise ConfigError if `output` is a file that the rows are read from: the predictions would replace it."""
    if not output.exists():
        return
    for source in map(Path, rows.sources):
        below = source.is_dir() and output.resolve().is_relative_to(source.resolve())
        if below or (source.exists() and output.samefile(source)):
            raise ConfigError(
                f"-o {output}: the rows are read from it, and the predictions would replace it; name another file"
            )


def _rows(
    files: Sequence[str], data: DataConfig, content: type[Content], format_is_set: bool
) -> Iterable[Row[Any]]:
    if not format_is_set:
        # data.format is the format of the training files, not of these files
        data = data.model_copy(update={"format": "auto"})
    if list(files) == ["-"]:
        return stream_rows(sys.stdin.buffer, data, content=content)
    if "-" in files:
        raise ConfigError("-: stdin cannot be combined with files; give either - or files")
    return open_rows(
        list(files), data, "predict", labelled=False, keep_fields=True, on_error="row", content=content
    )


def _model_metadata(models: Models, runtime: Runtime) -> dict[str, Any]:
    """Everything besides the row that decides an output to the last bit.

    Threads and versions change the order of sums.
    """
    metadata = runtime.metadata()
    return {
        "checkpoint": f"{models.name} ({models.digest[:12]})",
        "lstmcls": _OUTPUTS_SINCE,
        "torch": torch.__version__,
        **{name: metadata[name] for name in ("device", "threads", "deterministic")},
    }


def _prediction(number: int, result: RowOutput, task: Task, options: PredictOptions) -> dict[str, Any]:
    """One output line. An input column with the name of an output key is written as `input.NAME`."""
    line: dict[str, Any] = {"row": number}
    if result.output is None:
        line["error"] = result.row.error
    else:
        line |= task.prediction(result.row, result.output, options)
        if result.truncated:
            line["truncated"] = True
    for name, value in (result.row.fields or {}).items():
        is_taken = name in _OUTPUT_KEYS or name in task.prediction_keys
        line[f"input.{name}" if is_taken else name] = value
    return line


_OUTPUT_KEYS = {"row", "top", "probs", "truncated", "error"}


def _format_of(output: Path | None) -> Format:
    match output.suffix if output else ".jsonl":
        case ".jsonl" | ".ndjson":
            return "jsonl"
        case ".csv":
            return "csv"
        case ".tsv":
            return "tsv"
        case suffix:
            raise ConfigError(f"-o {output}: unknown ending {suffix!r}; try .jsonl, .csv, .tsv, or --format")


@contextmanager
def _target(
    output: Path | None, inputs: Mapping[str, Any] | None, *, resume: bool
) -> Iterator[PartialOutput]:
    """Stdout, or a file that appears only when it is complete. If a signal stops it, the message says how to resume."""
    if output is None:
        assert isinstance(sys.stdout, io.TextIOWrapper)
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # for any locale
        yield PartialOutput(sys.stdout)
        sys.stdout.flush()
        return
    with partial_output(output, inputs, resume=resume) as target:
        try:
            yield target
        except Interrupted as stop:
            if not target.done.bytes:
                raise
            raise Interrupted(stop.signal_number, "to resume, add --resume to the same command") from None


def _line_writer(
    stream: TextIO, format: Format, keys: Sequence[str], columns: list[str], quote_formulas: bool
) -> Callable[[dict[str, Any]], None]:
    """A function that writes a line. In a table, the first line fills `columns`, if it is empty."""
    if format == "jsonl":
        return lambda line: print(json.dumps(line, ensure_ascii=False), file=stream)
    shown = _quoted if quote_formulas else lambda cell: cell
    # Most readers take a lone \r for the end of a row, and csv quotes it only if its own line end contains \r.
    lines = SimpleNamespace(write=lambda text: stream.write(text.removesuffix("\r\n") + "\n"))
    table = csv.writer(lines, delimiter="," if format == "csv" else "\t", lineterminator="\r\n")

    def write(line: dict[str, Any]) -> None:
        cells = _flat(line)
        if not columns:
            columns.extend(dict.fromkeys(["row", *keys, "truncated", "error", *cells]))
            table.writerow(map(shown, columns))
        unknown = [name for name in cells if name not in columns]
        if unknown:
            raise LstmclsError(
                f"row {line['row']}: has the columns {', '.join(unknown)}, which are not in the first row, and a table "
                f"has the columns of its first row; try --format jsonl, or one input at a time"
            )
        table.writerow([shown(cells.get(name, "")) for name in columns])

    return write


def _quoted(cell: Any) -> Any:
    """The cell; a text that a spreadsheet would run as a formula gets an apostrophe in front. Numbers stay."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    """A prediction as the cells of a table: nested keys become `probs.NAME`, `top.1.label` and so on."""
    cells: dict[str, Any] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            cells |= {f"{name}.{key}": entry for key, entry in value.items()}
        elif isinstance(value, list):
            if not all(isinstance(entry, dict) for entry in value):
                # one cell: a column for each value would be missing in the first row if that is shorter
                cells[name] = json.dumps(value, ensure_ascii=False)
                continue
            for i, entry in enumerate(value, start=1):
                cells |= {f"{name}.{i}.{key}": part for key, part in entry.items()}
        elif isinstance(value, bool):
            cells[name] = str(value).lower()
        else:
            cells[name] = value
    return cells
