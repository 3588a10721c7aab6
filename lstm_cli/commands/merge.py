"""`lstmcls merge`: the outputs of `predict --shard i/N`, put together in the order of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

from lstm_cli.console import Screen
from lstm_cli.data.durable import atomic_writer, open_regular
from lstm_cli.errors import ConfigError
from lstm_cli.reports.parquet import join_parquet
from lstm_cli.runs.shards import copy_rows, in_order

_MAX_HEADER_BYTES = 2**50


def merge(outputs: Sequence[Path], target: Path, screen: Screen) -> None:
    """Write all rows of the shards to `target`.

    Raises DataError if a shard is missing, given twice, changed, or of another prediction. Raises ConfigError if
    `target` is one of the shards.
    """
    if target.exists() and any(path.exists() and target.samefile(path) for path in outputs):
        raise ConfigError(f"-o {target}: is one of the shards, and would be replaced; name another file")
    shards = in_order(outputs)
    paths = [path for path, _ in shards]
    format = shards[0][1].inputs.get("format")
    with atomic_writer(target) as file:
        if format == "parquet":
            join_parquet(file, paths)
        else:
            _join_lines(file, paths, has_header=format in ("csv", "tsv"))
    screen.say(f"{target}: {shards[0][1].total:,} rows of {len(shards):,} shards")


def _join_lines(file: IO[bytes], paths: Sequence[Path], *, has_header: bool) -> None:
    header = None
    for number, path in enumerate(paths):
        copy_rows(path, file, header)
        if has_header and number == 0:
            with open_regular(path, _MAX_HEADER_BYTES) as first:
                header = first.readline()
