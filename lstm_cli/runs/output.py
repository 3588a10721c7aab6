"""A file that takes long to write: it appears when it is complete, and an interrupted one can be resumed.

OUT is written as `.OUT.part` in the same folder. Whenever a window of rows is complete and on the disk, the record
`.OUT.part.json` is replaced by one that holds how far that is and the inputs of the rows. To resume, the inputs must be
the same; the part is cut to the length in its record and the next row follows. So no row that was written is parsed
again, and a crash at any moment costs the rows of one window.
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
    """What is written so far: complete rows and their bytes, a table's columns, the rows that could not be read."""

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
    """A stream being written to; its writer counts in `done`. Without a record it cannot be resumed."""

    stream: TextIO
    done: Done = field(default_factory=Done)
    inputs: Mapping[str, Any] | None = None
    record: Path | None = None

    def keep(self) -> None:
        """Put all that is written so far on the disk, and record it. Does nothing without a record."""
        if self.record is None:
            return
        with naming(self.record.with_suffix("")):
            self.stream.flush()
            os.fsync(self.stream.fileno())
        self.done.bytes = os.fstat(self.stream.fileno()).st_size
        content = {"made_from": self.inputs, "done": dataclasses.asdict(self.done)}
        write_file(self.record, json.dumps(content, ensure_ascii=False, indent=2).encode())


@contextmanager
def unfinished(output: Path, inputs: Mapping[str, Any] | None, *, resume: bool) -> Iterator[Unfinished]:
    """The part of `output`, which becomes `output` at the end of the block; with `resume`, after the rows recorded.

    `inputs` decide the content and are JSON values, or None where they cannot be read again. A fault in the input
    removes the part; a crash, a signal or a full disk leaves it where rows of it are recorded.

    Raises ConfigError where the recorded rows have other inputs, LstmclsError where another process writes the file.
    """
    part = output.with_name(f".{output.name}.part")
    record = output.with_name(f"{part.name}.json")
    with sole_writer(output.with_name(f"{part.name}.lock"), output):
        kept = _read(record, part, inputs, output) if resume else None
        if kept is None:
            record.unlink(missing_ok=True)  # first: it must never speak of another part
        try:
            with part.open("a", encoding="utf-8", newline="") as stream:
                target = Unfinished(stream, kept or Done(), inputs, None if inputs is None else record)
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


def _read(record: Path, part: Path, inputs: Mapping[str, Any] | None, output: Path) -> Done | None:
    """What is recorded, or None where there is no complete record or the part is shorter than it says."""
    try:
        content = json.loads(record.read_bytes())
        before, done = dict(content["made_from"]), Done(**content["done"])
        if part.stat().st_size < done.bytes:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    now = json.loads(json.dumps(inputs))
    changes = [
        f"{name}: was {before.get(name)}, is {now.get(name)}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if changes:
        raise ConfigError(
            f"{output}: its unfinished part ({record.stem}) has other inputs, so it cannot be resumed:\n"
            + "\n".join(changes)
            + "\ntry without --resume, which starts again, or another -o"
        )
    return done
