"""`lstmcls predict`: one prediction for each input row, in the order of the input, in constant memory."""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lstm_cli.answers import PredictOptions
from lstm_cli.commands.predict_lines import example, prediction, table_columns
from lstm_cli.commands.predict_model import PredictModel, open_model
from lstm_cli.commands.predict_ray import ray_workers, worker_overrides
from lstm_cli.console import Screen
from lstm_cli.data.columns import output_names
from lstm_cli.data.durable import atomic_writer
from lstm_cli.data.rows import Content, Row
from lstm_cli.data.sources import DataConfig, Rows, open_rows, stream_rows, typed_rows
from lstm_cli.errors import ConfigError, DataError, Interrupted
from lstm_cli.reports.parquet import Draft, prediction_schema, write_parquet, write_parquet_beside
from lstm_cli.reports.predictions import Table, flat, write_conll, write_json_lines
from lstm_cli.runs.output import Done, PartialOutput, partial_output
from lstm_cli.runs.shards import Shard, ShardRecord
from lstm_cli.scoring.windows import RowOutput, predict_windows

Format = Literal["jsonl", "csv", "tsv", "parquet", "conll"]
_NO_TABLES = {"jsonl": "JSON Lines", "parquet": "Parquet", "conll": "CoNLL"}
_OUTPUTS_SINCE = "0.2.0"
"""The first version whose outputs have the same bytes as this one's: what it has begun can be resumed. A change to the
outputs must set it to the new version."""


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """The arguments of `lstmcls predict`."""

    source: str
    files: tuple[str, ...]
    texts: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    run_dir: str | None = None
    output: Path | None = None
    format: Format | None = None
    checkpoint: Literal["best", "last"] = "best"
    options: PredictOptions = field(default_factory=PredictOptions)
    resume: bool = False
    strict: bool = False
    quote_formulas: bool = False
    text: bool = True
    bom: bool = False
    shard: Shard | None = None
    ray: str | None = None


def predict(request: PredictRequest, screen: Screen) -> None:
    """Read rows from files, folders or stdin and write one prediction per row to stdout or to `request.output`."""
    output, options = request.output, request.options
    format = request.format or _format_of(output)
    _refuse_contradictions(request, format)
    if request.ray:
        request = replace(request, overrides=worker_overrides(request.source, request.overrides))
    model = open_model(request.source, request.overrides, request.run_dir, request.checkpoint, options)
    task = model.predictor.task
    if format == "conll" and "tags" not in task.prediction_keys:
        raise ConfigError("--format conll: writes the tags of a tagger, and this model gives none; try jsonl")
    format_is_set = any(override.startswith("data.format=") for override in request.overrides)
    rows = _rows(request, model.data, model.content, format_is_set)
    if format == "parquet":
        import pyarrow  # noqa: F401 - an error now, and not after the last row

        if isinstance(rows, Rows) and rows.is_parquet():
            rows.parquet_schema()
            rows = rows.without_fields()
    inputs, first, total = None, 0, 0
    if output and isinstance(rows, Rows):
        _refuse_input_as_output(output, rows)
        how = {"format": format, **asdict(options), "quote_formulas": request.quote_formulas}
        how |= {"text": request.text, "bom": request.bom}
        inputs = {"input": rows.digest(), **how, "lstmcls": _OUTPUTS_SINCE, **model.metadata}
        if request.shard:
            total = len(rows)
            part = request.shard.rows(total)
            first = part.start
            mask = np.zeros(total, np.bool_)
            mask[part.start : part.stop] = True
            rows = rows.select(mask)
    with (
        _windows(request, model) as windows,
        _target(
            output, inputs and {**inputs, **_shard_input(request.shard)}, resume=request.resume
        ) as target,
        screen.counting("predicting") as counter,
    ):
        done = target.done
        if request.resume:
            screen.say(
                f"resuming after row {done.rows:,}"
                if done.rows
                else "no saved rows found: starting from the beginning"
            )
        table: Table | Draft | None = None
        columns = partial(
            table_columns,
            fields=partial(_fields, rows, request),
            example=partial(example, model),
            task=task,
            options=options,
        )
        if format == "parquet":
            table = Draft(target.stream, done.columns)
        elif format in ("csv", "tsv"):
            table = Table(target.stream, format, done.columns, request.bom, request.quote_formulas)
        for window in windows(rows, skip=done.rows):
            lines = [
                prediction(first + done.rows + i, result, task, options) for i, result in enumerate(window)
            ]
            if format == "conll":
                write_conll(lines, target.stream, model.data.tag_column)
            elif table is None:
                write_json_lines(lines, target.stream)
            else:
                if not table.columns:
                    table.begin(columns(lines))
                table.write(lines)
            for result in window:
                done.count(result.row, unknown=result.unknown)
                counter.one_more()
            target.keep()
            if output is None:
                target.stream.flush()  # who writes line by line waits for the answers
        if table is not None and not table.columns:  # there was no row
            table.begin(columns([]))
        if output and isinstance(table, Draft):
            _finish(output, target, table.columns, rows, model, options)
        counter.remarks = list(_remarks(done))
    if request.shard and output and inputs:
        ShardRecord.of_output(output, request.shard, total, inputs).write(output)
        screen.say(f"shard {request.shard}: rows {first:,} to {first + done.rows:,} of {total:,}")
    if request.strict and done.num_errors:
        raise DataError(
            f"--strict: {done.num_errors:,} of {done.rows:,} rows could not be read; each has an `error` in the "
            f"output; the first is {done.first_error}"
        )


@contextmanager
def _windows(
    request: PredictRequest, model: PredictModel
) -> Iterator[Callable[..., Iterator[list[RowOutput]]]]:
    """`predict_windows` for this model in this process, or on Ray."""
    if request.ray is None:
        yield partial(predict_windows, model.predictor, runtime=model.runtime)
        return
    how = (request.source, request.overrides, request.run_dir, request.checkpoint, request.options)
    with ray_workers(request.ray, model, *how, threads=max(1, model.threads)) as workers:
        yield workers.windows


def _finish(
    output: Path,
    target: PartialOutput,
    columns: Sequence[str],
    rows: Iterable[Row[Any] | None],
    model: PredictModel,
    options: PredictOptions,
) -> None:
    """Write the Parquet file from its draft. The columns of a Parquet input keep their types."""
    task = model.predictor.task
    schema = prediction_schema(columns, flat(prediction(0, example(model), task, options)))
    target.stream.flush()
    with atomic_writer(output) as file:
        if isinstance(rows, Rows) and rows.is_parquet():
            copied = rows.parquet_schema()
            names = output_names(tuple(copied.names), task.prediction_keys)
            renamed = [field.with_name(name) for field, name in zip(copied, names, strict=True)]
            write_parquet_beside(file, target.path, schema, rows.parquet_batches(), renamed)
        else:
            write_parquet(file, target.path, schema)
    target.is_draft = True


def _refuse_contradictions(request: PredictRequest, format: Format) -> None:
    """Raise ConfigError if two options contradict each other."""
    output = request.output
    for option, is_set in (("--quote-formulas", request.quote_formulas), ("--bom", request.bom)):
        if is_set and format in _NO_TABLES:
            raise ConfigError(
                f"{option}: works on CSV and TSV only, the output is {_NO_TABLES[format]}; try --format csv or tsv"
            )
    if format == "parquet" and output is None:
        raise ConfigError("--format parquet: needs a file to write; name it with -o OUT")
    if request.resume and (output is None or request.texts or "-" in request.files):
        raise ConfigError(
            "--resume: --text and stdin cannot be read again; save the texts in a file first"
            if output
            else "--resume: needs the file to continue; name it with -o OUT"
        )
    if request.shard and (output is None or request.texts or "-" in request.files):
        raise ConfigError("--shard: needs files to read and a file to write; name them, and -o OUT")
    if request.ray and (output is None or request.texts or "-" in (*request.files, request.source)):
        raise ConfigError("--ray: needs files to read and a file to write; name them, and -o OUT")
    if request.texts and request.files:
        raise ConfigError(f"--text: cannot be combined with {request.files[0]}; give texts or files")
    if output and output.exists() and not output.is_file():  # the output would replace it
        raise ConfigError(f"-o {output}: not a regular file; name a file, or leave out -o for stdout")


def _shard_input(shard: Shard | None) -> dict[str, str]:
    """What an output made with --shard depends on besides."""
    return {"shard": str(shard)} if shard else {}


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
    request: PredictRequest, data: DataConfig, content: type[Content], format_is_set: bool
) -> Iterable[Row[Any] | None]:
    files = list(request.files)
    if request.texts or files == ["-"]:
        _refuse_text("--text" if request.texts else "-", content)
    if request.texts:
        return typed_rows(request.texts, "--text", data, content=content, keep_text=request.text)
    if not format_is_set:
        # data.format is the format of the training files, not of these files
        data = data.model_copy(update={"format": "auto"})
    if files == ["-"]:
        return stream_rows(sys.stdin.buffer, data, content=content, keep_text=request.text)
    if "-" in files:
        raise ConfigError("-: stdin cannot be combined with files; give either - or files")
    return open_rows(
        files,
        data,
        "predict",
        labelled=False,
        keep_fields=True,
        keep_text=request.text,
        on_error="row",
        content=content,
    )


def _refuse_text(option: str, content: type[Content]) -> None:
    """Raise ConfigError if the task's rows have columns, which plain text has not."""
    if inspect.getattr_static(content, "from_text") is inspect.getattr_static(Content, "from_text"):
        raise ConfigError(
            f"{option}: plain text, and this task reads columns of values; name a file that has them, such as "
            f"rows.jsonl"
        )


def _fields(rows: Iterable[Row[Any] | None], request: PredictRequest) -> list[str]:
    """The fields of the rows, if the input has no row that could be read."""
    if isinstance(rows, Rows):
        return rows.columns()
    return ["text"] if request.text else []


def _remarks(done: Done) -> Iterator[str]:
    """What the last line says about the rows."""
    if done.num_errors:
        yield f"{done.num_errors:,} could not be read (`error` says why)"
    if done.num_unknown:
        yield f"of {done.num_unknown:,} nothing was known (`unknown`)"


def _format_of(output: Path | None) -> Format:
    match output.suffix if output else ".jsonl":
        case ".jsonl" | ".ndjson":
            return "jsonl"
        case ".csv":
            return "csv"
        case ".tsv":
            return "tsv"
        case ".parquet":
            return "parquet"
        case ".conllu" | ".conll":
            return "conll"
        case suffix:
            raise ConfigError(
                f"-o {output}: unknown ending {suffix!r}; try .jsonl, .csv, .tsv, .parquet, .conllu, or --format"
            )


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
