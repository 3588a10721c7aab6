"""Predictions in Ray Data. Needs the extra `ray`: pip install 'lstmcls[ray]'."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from lstm_cli.answers import PredictOptions
from lstm_cli.api.loading import load
from lstm_cli.commands.predict_lines import example, prediction, table_columns
from lstm_cli.commands.predict_model import open_model
from lstm_cli.commands.predict_ray import worker_overrides
from lstm_cli.data.columns import Columns, output_names
from lstm_cli.data.rows import Reading
from lstm_cli.errors import ConfigError, DataError
from lstm_cli.reports.parquet import arrow_batch, prediction_schema
from lstm_cli.reports.predictions import flat
from lstm_cli.scoring.windows import predict_window

_BATCH_ROWS = 4096


def predict_dataset(
    ds: Any,
    run: str | PathLike[str],
    *,
    text_column: str = "text",
    probs: bool = False,
    workers: int | None = None,
    threads: int = 1,
    batch_rows: int = _BATCH_ROWS,
) -> Any:
    """The rows of a `ray.data.Dataset` in their order, with the columns of a prediction: `label`, `score` and more.

    A column of the data set that has the name of one of them becomes `input.NAME`. A text that cannot be read has an
    `error`. Each worker is an actor with one model in memory; one that dies is started again, and its batch is
    predicted again.

    Args:
        ds: the rows. They are read when the result is.
        run: a run's folder or a folder of `lstmcls export`, at the same path on every machine.
        text_column: the column with the text.
        probs: also add the probability of each label, as `probs.LABEL`.
        workers: the number of workers. None: as many as there are free CPUs, when there is enough to do.
        threads: CPU threads of each worker.
        batch_rows: rows that a worker predicts at a time.

    Raises:
        CheckpointError: there is no model, or it is damaged.
        ConfigError: an argument is wrong, or the model is not a classifier.
        DataError: the data set is known to have no column `text_column`.
    """
    from ray.data import ActorPoolStrategy

    for name, value in (("workers", workers), ("threads", threads), ("batch_rows", batch_rows)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}: must be at least 1, got {value}")
    folder = Path(run).expanduser().absolute()
    load(folder, device="cpu", threads=threads)  # an error here is clearer than one of a worker
    schema = ds.schema(fetch_if_missing=False)
    if schema is not None and text_column not in schema.names:
        raise DataError(
            f'the data set has no column "{text_column}" (have: {", ".join(schema.names)}); set text_column'
        )
    ds.context.execution_options.preserve_order = True
    return ds.map_batches(
        _Predict,
        fn_constructor_args=(str(folder), text_column, PredictOptions(probs=probs), threads),
        batch_format="pyarrow",
        batch_size=batch_rows,
        compute=ActorPoolStrategy(size=workers) if workers else ActorPoolStrategy(min_size=1),
        num_cpus=threads,
        zero_copy_batch=True,
    )


class _Predict:
    """Adds the columns of a prediction to Arrow tables."""

    def __init__(self, run: str, text_column: str, options: PredictOptions, threads: int) -> None:
        overrides = (*worker_overrides(run, ()), f"run.threads={threads}")
        self._model = open_model(run, overrides, None, "best", options)
        data = self._model.data.model_copy(update={"text_column": text_column})
        self._reading = Reading(data, self._model.content, labelled=False)
        self._column, self._options = text_column, options
        task, empty = self._model.predictor.task, example(self._model)
        columns = table_columns([], lambda: [], lambda: empty, task, options)
        schema = prediction_schema(list(dict.fromkeys(columns)), flat(prediction(0, empty, task, options)))
        self._schema = schema.remove(schema.get_field_index("row"))

    def __call__(self, batch: Any) -> Any:
        import pyarrow as pa

        task = self._model.predictor.task
        columns = Columns([self._column], self._reading, "the data set", "the data set")
        texts = batch.column(self._column).to_pylist()
        rows = [columns.row([text], number) for number, text in enumerate(texts, 1)]
        results = predict_window(self._model.predictor, rows, self._model.runtime) if rows else []
        lines = [prediction(0, result, task, self._options) for result in results]
        ours = arrow_batch(lines, self._schema)
        names = output_names(tuple(batch.column_names), task.prediction_keys)
        return pa.Table.from_arrays([*batch.columns, *ours.columns], names=[*names, *ours.schema.names])
