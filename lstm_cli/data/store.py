"""Encoded rows as flat arrays, memory-mapped from a cache on disk. The key of the cache is a hash of its inputs.

A store of token ids takes four bytes per token on disk and almost no memory, for any number of rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lstm_cli.arrays import AnyArray, Int64, Mask, Ragged
from lstm_cli.batch import UNK_ID
from lstm_cli.data.durable import storage_errors

_LAYOUT = "arrays.json"
_TYPES = {name: np.dtype(name) for name in ("int32", "int64", "float32", "float64", "bool")}


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """N encoded rows.

    `inputs` are token ids (sum T,) int32 or dense features (sum T, F) float32, with at least one step per row.
    `truncated` (N,) marks the rows that were cut. `targets` are one per row (N, …), or ragged: one per step, or of
    their own length. They are None if they are unknown. `extras` are further named values of each row, (N, …).
    """

    inputs: Ragged
    truncated: Mask
    targets: AnyArray | Ragged | None = None
    extras: Mapping[str, AnyArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def lengths(self) -> Int64:
        """(N,) number of steps of each row."""
        return self.inputs.lengths

    @property
    def num_steps(self) -> int:
        """Total number of steps of all rows."""
        return len(self.inputs.values)

    @property
    def median_length(self) -> int:
        """Median number of steps of a row."""
        return int(np.median(self.lengths))

    @property
    def unknown_fraction(self) -> float | None:
        """Fraction of the tokens that are not in the vocabulary; None for dense features."""
        values = self.inputs.values
        return float((values == UNK_ID).mean()) if values.ndim == 1 else None

    @property
    def known_targets(self) -> AnyArray | Ragged:
        """The targets. Raises ValueError if they are unknown."""
        if self.targets is None:
            raise ValueError("these rows have no targets: they are for prediction")
        return self.targets

    def select(self, rows: Int64) -> Store:
        """The rows with these indices, in this order, in memory."""
        match self.targets:
            case None:
                targets: AnyArray | Ragged | None = None
            case Ragged():
                targets = self.targets.select(rows)
            case _:
                targets = self.targets[rows]
        extras = {name: values[rows] for name, values in self.extras.items()}
        return Store(self.inputs.select(rows), self.truncated[rows], targets, extras)


def cache_folder() -> Path:
    """The folder of the cache: `$XDG_CACHE_HOME/lstmcls`, by default `~/.cache/lstmcls`. It is safe to delete."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lstmcls"


def cache_key(inputs: Any) -> str:
    """The cache key of a result: a hash of the `inputs` that decide it, given as JSON values."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def cached(key: str, chunks: Iterable[Store]) -> Store:
    """The store with this key. The first call writes all `chunks`; later calls only memory-map the files."""
    folder = cache_folder() / key
    if (store := _open(folder)) is not None:
        return store
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = Path(tempfile.mkdtemp(prefix=f".{key[:16]}-", dir=folder.parent))
    try:
        with storage_errors(temporary):
            _write(temporary, chunks)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        try:
            temporary.rename(folder)
        except OSError:
            if _open(folder) is None:  # otherwise another process was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    store = _open(folder)
    assert store is not None
    return store


def cached_bytes(key: str, compute: Callable[[], bytes]) -> bytes:
    """The bytes with this key: `compute` is called only the first time, in this process or another."""
    path = cache_folder() / f"{key}.bytes"
    try:
        content = path.read_bytes()
        if content[:32] == hashlib.sha256(content[32:]).digest():
            return content[32:]
    except OSError:
        pass  # not computed yet
    computed = compute()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{key[:16]}-{os.getpid()}")  # several processes may compute it at once
    try:
        with storage_errors(path):
            temporary.write_bytes(hashlib.sha256(computed).digest() + computed)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return computed


def _arrays(store: Store) -> dict[str, AnyArray]:
    """The store's arrays by the names of their files."""
    arrays: dict[str, AnyArray] = {
        "inputs": store.inputs.values,
        "inputs.offsets": store.inputs.offsets,
        "truncated": store.truncated,
    }
    match store.targets:
        case None:
            pass
        case Ragged():
            arrays |= {"targets": store.targets.values, "targets.offsets": store.targets.offsets}
        case _:
            arrays["targets"] = store.targets
    return arrays | {f"extras.{name}": values for name, values in store.extras.items()}


def _write(folder: Path, chunks: Iterable[Store]) -> None:
    """Write a file for each array, and last the layout: the type, entry shape and number of bytes of each array."""
    layout: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        num_steps: dict[str, int] = {}
        for chunk in chunks:
            if not len(chunk):  # an empty chunk does not show the width of the vectors
                continue
            for name, array in _arrays(chunk).items():
                if name not in files:
                    files[name] = stack.enter_context((folder / f"{name}.bin").open("wb"))
                    layout[name] = {"type": array.dtype.name, "entry": list(array.shape[1:])}
                if name.endswith(".offsets"):  # they continue those of the previous chunk
                    begin = num_steps.get(name)
                    array = array if begin is None else array[1:] + begin
                    num_steps[name] = int(array[-1]) if len(array) else num_steps[name]
                files[name].write(np.ascontiguousarray(array).tobytes())
        for file in files.values():  # so that a power cut cannot leave a file of the right size full of zeros
            file.flush()
            os.fsync(file.fileno())
    for name, described in layout.items():
        described["bytes"] = (folder / f"{name}.bin").stat().st_size
    (folder / _LAYOUT).write_text(json.dumps(layout), encoding="utf-8")


def _open(folder: Path) -> Store | None:
    """The store in `folder`, or None if there is none or it is incomplete."""
    try:
        layout = json.loads((folder / _LAYOUT).read_text(encoding="utf-8"))
        arrays = {name: _mapped(folder / f"{name}.bin", described) for name, described in layout.items()}
        if not arrays:
            return Store(Ragged.pack([]), np.zeros(0, np.bool_))
        targets: AnyArray | Ragged | None = arrays.get("targets")
        if "targets.offsets" in arrays:
            targets = Ragged(arrays["targets"], arrays["targets.offsets"])
        extras = {
            name.removeprefix("extras."): values
            for name, values in arrays.items()
            if name.startswith("extras.")
        }
        inputs = Ragged(arrays["inputs"], arrays["inputs.offsets"])
        return Store(inputs, arrays["truncated"], targets, extras)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _mapped(path: Path, described: Mapping[str, Any]) -> AnyArray:
    """The memory-mapped array of a file. Raises ValueError if the file does not have the recorded size."""
    if path.stat().st_size != described["bytes"]:
        raise ValueError(f"{path}: cut short")
    dtype = _TYPES[described["type"]]
    flat = np.memmap(path, dtype, "r") if described["bytes"] else np.zeros(0, dtype)
    width = int(np.prod(described["entry"], dtype=np.int64))
    return flat.reshape(len(flat) // width if width else 0, *described["entry"])
