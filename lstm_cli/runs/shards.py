"""Predictions of many rows in parts: which rows a part has, and the record by which the parts are merged.

Part i of N has the rows [(i - 1) * R // N, i * R // N) of R rows. Beside its output OUT it leaves the record
`OUT.shard.json`: the rows, the SHA-256 of OUT, and what decided the content.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lstm_cli.data.durable import open_regular, read_file, storage_errors, write_file
from lstm_cli.errors import ConfigError, DataError

_FORMAT = 1
_MAX_RECORD_BYTES = 2**24
_MAX_OUTPUT_BYTES = 2**50
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` (from 1) of `count`."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read i/N. Raises ConfigError for anything else."""
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(f"--shard: must be i/N with i from 1 to N, such as 1/8, got {text!r}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def rows(self, total: int) -> range:
        """The rows of this part, of `total` rows."""
        return range((self.number - 1) * total // self.count, self.number * total // self.count)


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """What is known of a part: its rows (`first`, `num_rows`) of `total`, the `sha256` of its output, and the `inputs`
    that all parts must have in common."""

    shard: int
    of: int
    first: int
    num_rows: int
    total: int
    sha256: str
    inputs: Mapping[str, Any]

    @classmethod
    def of_output(cls, output: Path, shard: Shard, total: int, inputs: Mapping[str, Any]) -> ShardRecord:
        """The record of a complete output."""
        rows = shard.rows(total)
        return cls(shard.number, shard.count, rows.start, len(rows), total, _sha256(output), inputs)

    def write(self, output: Path) -> None:
        """Write it beside the output."""
        content = {"format": _FORMAT, **dataclasses.asdict(self)}
        write_file(record_path(output), json.dumps(content, ensure_ascii=False, indent=2).encode())

    @classmethod
    def read(cls, output: Path) -> ShardRecord:
        """The record beside an output. Raises DataError if there is none, or if it does not belong to the output."""
        path = record_path(output)
        try:
            content = json.loads(read_file(path, _MAX_RECORD_BYTES))
            if content.pop("format") != _FORMAT:
                raise ValueError("its format is that of another version")
            record = cls(**content)
            numbers = (record.shard, record.of, record.first, record.num_rows, record.total)
            if not all(type(number) is int for number in numbers) or not isinstance(record.inputs, dict):
                raise TypeError("its values have other types")
        except FileNotFoundError:
            raise DataError(
                f"{output}: has no record {path.name}; only outputs of lstmcls predict --shard i/N can be merged"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
            raise DataError(f"{path}: not a record of a shard ({fault}); predict this shard again") from None
        if record.sha256 != _sha256(output):
            raise DataError(f"{output}: is not the file that its record describes; predict this shard again")
        return record


def record_path(output: Path) -> Path:
    """Where the record of an output is."""
    return output.with_name(f"{output.name}.shard.json")


def in_order(outputs: Sequence[Path]) -> list[tuple[Path, ShardRecord]]:
    """The outputs and their records in the order of the rows.

    Raises DataError unless they are all the parts of one prediction, each once.
    """
    found = sorted(((path, ShardRecord.read(path)) for path in outputs), key=lambda pair: pair[1].shard)
    first_path, first = found[0]
    faults = []
    for path, record in found:
        if (record.of, record.total) != (first.of, first.total) or record.inputs != first.inputs:
            faults.append(
                f"{path}: is no part of the prediction that {first_path} is a part of ({_difference(first, record)})"
            )
    if not faults:
        numbers = [record.shard for _, record in found]
        missing = [f"{number}/{first.of}" for number in range(1, first.of + 1) if number not in numbers]
        twice = sorted({f"{number}/{first.of}" for number in numbers if numbers.count(number) > 1})
        if missing:
            faults.append(f"shards are missing: {_listed(missing)}")
        if twice:
            faults.append(f"shards are given twice: {_listed(twice)}")
        faults += [
            f"{path}: its record names other rows than shard {record.shard}/{record.of} has"
            for path, record in found
            if range(record.first, record.first + record.num_rows)
            != Shard(record.shard, record.of).rows(record.total)
        ]
    if faults:
        raise DataError("\n".join(faults))
    return found


def _difference(first: ShardRecord, other: ShardRecord) -> str:
    if first.of != other.of:
        return f"of {other.of} shards instead of {first.of}"
    names = [
        name for name in {**first.inputs, **other.inputs} if first.inputs.get(name) != other.inputs.get(name)
    ]
    return f"differs in: {', '.join(names) or 'the number of rows'}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with storage_errors(path), open_regular(path, _MAX_OUTPUT_BYTES) as file:
        for chunk in _chunks(file):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: Any) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK_BYTES), b"")


def copy_rows(path: Path, target: IO[Any], header: bytes | None) -> None:
    """Append the rows of an output to `target`, without its first line `header` if that is given.

    Raises DataError if the first line is another one.
    """
    with storage_errors(path), open_regular(path, _MAX_OUTPUT_BYTES) as file:
        if header is not None and (own := file.readline()) != header:
            raise DataError(
                f"{path}: has other columns than the first shard ({own[:100].decode(errors='replace').strip()}); "
                f"predict with --format jsonl, where every row has its own"
            )
        for chunk in _chunks(file):
            target.write(chunk)
