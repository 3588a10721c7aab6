"""An output file that takes long to write. It appears when it is complete, and an interrupted one can be resumed.

OUT is first written as `.OUT.part` in the same folder. After every window of rows, the part is flushed to disk and the
record `.OUT.part.json` is replaced. It holds the number of rows and bytes so far, and the inputs that decide the
content. To resume, the inputs must be equal; the part is then cut to the recorded bytes and the next row follows. So no
written row is parsed again, and a crash loses at most the rows of one window.
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

from lstm_cli.data.durable import read_file, storage_errors, write_file
from lstm_cli.data.rows import Row
from lstm_cli.errors import ConfigError, Interrupted, LstmclsError, StorageError

_MAX_RECORD_BYTES = 2**26  # it holds the names of a table's columns
_INPUTS = "made_from"
"""The key of the inputs in a record. Version 0.1 chose it, and its records can still be resumed."""


@dataclass(slots=True)
class Done:
    """What is written so far: rows, bytes, the columns of a table, how many rows could not be read, and of how many
    nothing was known."""

    rows: int = 0
    bytes: int = 0
    columns: list[str] = field(default_factory=list)
    num_errors: int = 0
    num_unknown: int = 0
    first_error: str | None = None

    def count(self, row: Row[Any], *, unknown: bool = False) -> None:
        """Count one written row."""
        self.rows += 1
        self.num_unknown += unknown
        if row.error is not None:
            self.num_errors += 1
            self.first_error = self.first_error or f"{row.where()}: {row.error}"


@dataclass(slots=True)
class PartialOutput:
    """An output while it is written. The writer counts its rows in `done`. Without a record it cannot be resumed.

    `is_draft`: the part does not become the output; the writer has made the output from it.
    """

    stream: TextIO
    done: Done = field(default_factory=Done)
    inputs: Mapping[str, Any] | None = None
    record: Path | None = None
    is_draft: bool = False

    @property
    def path(self) -> Path:
        """The part."""
        return Path(self.stream.name)

    def keep(self) -> None:
        """Flush everything written so far to disk and update the record; without a record do nothing."""
        if self.record is None:
            return
        with storage_errors(self.record.with_suffix("")):
            self.stream.flush()
            os.fsync(self.stream.fileno())
        self.done.bytes = os.fstat(self.stream.fileno()).st_size
        content = {_INPUTS: self.inputs, "done": dataclasses.asdict(self.done)}
        write_file(self.record, json.dumps(content, ensure_ascii=False, indent=2).encode())


@contextmanager
def partial_output(
    output: Path, inputs: Mapping[str, Any] | None, *, resume: bool
) -> Iterator[PartialOutput]:
    """A part file that becomes `output` at the end of the block; with `resume` it continues after the recorded rows.

    `inputs` is everything that decides the content, as JSON values, or None if the input cannot be read again. After an
    error in the input the part is deleted. After a crash, a signal or a full disk it stays if it has a record.

    Raises ConfigError if the recorded inputs differ, LstmclsError if another process writes the file.
    """
    from lstm_cli.runs.lock import sole_writer  # here: stdout needs no lock, and it takes 15 ms

    part = output.with_name(f".{output.name}.part")
    record = output.with_name(f"{part.name}.json")
    with sole_writer(output.with_name(f"{part.name}.lock"), output):
        done = _read(record, part, inputs, output) if resume else None
        if done is None:
            record.unlink(missing_ok=True)  # first: it must never describe another part
        if part.is_symlink() or (part.exists() and not part.is_file()):
            what = "a link" if part.is_symlink() else "not a regular file"
            raise ConfigError(f"{part}: {what} in the place of the part file; remove it, or try another -o")
        try:
            with part.open("a", encoding="utf-8", newline="") as stream:
                target = PartialOutput(stream, done or Done(), inputs, None if inputs is None else record)
                stream.truncate(target.done.bytes)
                yield target
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException as fault:
            is_final = isinstance(fault, LstmclsError) and not isinstance(fault, Interrupted | StorageError)
            if is_final or not record.exists():
                record.unlink(missing_ok=True)
                part.unlink(missing_ok=True)
            raise
        if target.is_draft:
            record.unlink(missing_ok=True)
            part.unlink()
            return
        part.replace(output)  # the part is closed: Windows does not rename an open file
        record.unlink(missing_ok=True)  # last: a part without its record would be lost


def _read(record: Path, part: Path, inputs: Mapping[str, Any] | None, output: Path) -> Done | None:
    """The progress to resume from; None if the record is missing or damaged, or the part is shorter than recorded."""
    try:
        content = json.loads(read_file(record, _MAX_RECORD_BYTES))
        before, done = dict(content[_INPUTS]), Done(**content["done"])
        if part.stat().st_size < done.bytes:
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    now = json.loads(json.dumps(inputs))
    changes = [
        f"{name}: was {before.get(name)}, is {now.get(name)}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if changes:
        raise ConfigError(
            f"{output}: the saved part ({record.stem}) was written with other inputs, so it cannot be resumed:\n"
            + "\n".join(changes)
            + "\ntry without --resume, which starts again, or another -o"
        )
    return done
