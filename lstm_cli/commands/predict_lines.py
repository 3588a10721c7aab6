"""Lines and columns of `lstmcls predict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lstm_cli.answers import Answering, PredictOptions
from lstm_cli.commands.predict_model import PredictModel
from lstm_cli.data.columns import output_names
from lstm_cli.data.rows import Row
from lstm_cli.reports.predictions import flat
from lstm_cli.scoring.windows import RowOutput, predict_windows


def prediction(number: int, result: RowOutput, task: Answering, options: PredictOptions) -> dict[str, Any]:
    """One output line. An input column with the name of an output key is written as `input.NAME`."""
    line: dict[str, Any] = {"row": number}
    if result.output is None:
        line["error"] = result.row.error
    else:
        line |= task.prediction(result.row, result.output, options)
        if result.truncated:
            line["truncated"] = True
        if result.unknown:
            line["unknown"] = 1.0
    fields = result.row.fields or {}
    return line | dict(zip(output_names(tuple(fields), task.prediction_keys), fields.values(), strict=True))


def table_columns(
    lines: Sequence[Mapping[str, Any]],
    fields: Callable[[], Sequence[str]],
    example: Callable[[], RowOutput],
    task: Answering,
    options: PredictOptions,
) -> list[str]:
    """The columns of a table with these first lines.

    If there are none, or none that could be read, they are those of the `fields` and of an `example` output.
    """
    keys = ["row", *task.prediction_keys, "truncated", "unknown", "error"]
    if any("error" not in line for line in lines):
        return [*keys, *flat(next(line for line in lines if "error" not in line))]
    line = prediction(0, example(), task, options)
    return [*keys, *flat(line), *output_names(tuple(fields()), task.prediction_keys)]


def example(model: PredictModel) -> RowOutput:
    """The output for an empty row."""
    ((result,),) = predict_windows(model.predictor, [Row(model.content.empty(), "", 1)], model.runtime)
    return result
