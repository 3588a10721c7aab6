"""A file that takes long to write: it appears when it is whole, and one that was stopped can be gone on with.

OUT is written as `.OUT.part` beside it. Whenever a window of rows is whole and on the disk, the record
`.OUT.part.json` is replaced by one that says how far that is and what the rows are made from. Going on means: the same
made from, the part cut to what its record says, the next row. So nothing of a row, quoted line ends in a table
included, has to be understood again, and a crash at any moment costs the rows of one window.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from lstm_cli.data.durable import naming, write_file
from lstm_cli.data.rows import Row
from lstm_cli.errors import ConfigError, Interrupted, LstmclsError, StorageError
from lstm_cli.runs.lock import sole_writer


@dataclass(slots=True)
class Done:
    """What is written so far: whole rows and their bytes, a table's columns, the rows that could not be read."""

    rows: int = 0
    bytes: int = 0
    columns: list[str] = field(default_factory=list)
    num_errors: int = 0
    first_error: str | None = None

    def count(self, row: Row[Any]) -> None:
        """One more row is written."""
        self.rows += 1
        if row.error is not None:
            self.num_errors += 1
            self.first_error = self.first_error or f"{row.where()}: {row.error}"


@dataclass(slots=True)
class Unfinished:
    """A stream being written to; `done` is its writer's to count in. Without a record it cannot be gone on with."""

    stream: TextIO
    done: Done = field(default_factory=Done)
    made_from: Mapping[str, Any] | None = None
    record: Path | None = None

    def keep(self) -> None:
        """What is written up to here need not be written again, also after a power cut; nothing without a record."""
        if self.record is None:
            return
        with naming(self.record.with_suffix("")):
            self.stream.flush()
            os.fsync(self.stream.fileno())
        self.done.bytes = os.fstat(self.stream.fileno()).st_size
        content = {"made_from": self.made_from, "done": dataclasses.asdict(self.done)}
        write_file(self.record, json.dumps(content, ensure_ascii=False, indent=2).encode())


@contextmanager
def unfinished(output: Path, made_from: Mapping[str, Any] | None, *, resume: bool) -> Iterator[Unfinished]:
    """The part of `output`, which becomes `output` at the end of the block; with `resume`, after what is kept.

    `made_from` is all that decides the content, as JSON can hold it, or None where it cannot be had again. A fault in
    the input removes the part; a crash, a signal or a full disk leaves it where something of it is kept.

    Raises ConfigError where what is kept was made from something else, LstmclsError where another process writes it.
    """
    part = output.with_name(f".{output.name}.part")
    record = output.with_name(f"{part.name}.json")
    with sole_writer(output.with_name(f"{part.name}.lock"), output):
        kept = _read(record, part, made_from, output) if resume else None
        if kept is None:
            record.unlink(missing_ok=True)  # first: it must never speak of another part
        try:
            with part.open("a", encoding="utf-8", newline="") as stream:
                target = Unfinished(stream, kept or Done(), made_from, None if made_from is None else record)
                stream.truncate(target.done.bytes)
                yield target
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException as fault:
            in_vain = isinstance(fault, LstmclsError) and not isinstance(fault, Interrupted | StorageError)
            if in_vain or not record.exists():
                record.unlink(missing_ok=True)
                part.unlink(missing_ok=True)
            raise
        part.replace(output)  # both closed: Windows renames no open file
        record.unlink(missing_ok=True)  # last: alone it is ignored, without it all that is written would be


def _read(record: Path, part: Path, made_from: Mapping[str, Any] | None, output: Path) -> Done | None:
    """What can be gone on with: None where there is no whole record, or less in the part than it says."""
    try:
        content = json.loads(record.read_bytes())
        before, done = dict(content["made_from"]), Done(**content["done"])
        if part.stat().st_size < done.bytes:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    now = json.loads(json.dumps(made_from))
    changes = [
        f"{name}: was {before.get(name)}, is {now.get(name)}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if changes:
        raise ConfigError(
            f"{output}: what is kept of it ({record.stem}) was made from something else, so it cannot be gone on "
            f"with:\n" + "\n".join(changes) + "\ntry without --resume, which begins anew, or another -o"
        )
    return done
