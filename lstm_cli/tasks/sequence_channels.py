"""How sequences of numbers are encoded: filled, standardised by the training rows, and divided into frames."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lstm_cli.arrays import Float32, Float64, Mask, Ragged
from lstm_cli.data.dense import Dense
from lstm_cli.data.rows import Row
from lstm_cli.data.store import Store
from lstm_cli.errors import DataError

_ROWS_AT_ONCE, _NUMBERS_AT_ONCE = 2_000, 2**23
_LEAST_SPREAD = 1e-9
_LEAST_OWN_SPREAD = 1e-5
"""The least deviation of a sequence, in units of its channel in the training rows."""
Scaling = Literal["channel", "sequence"]


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """The `mean` and standard deviation `spread` (F,) of each channel in the training rows.

    `masked`: a number was missing there, so that the network also sees which numbers are known.
    """

    mean: Float64
    spread: Float64
    masked: bool

    @classmethod
    def learn(cls, rows: Iterable[Row[Dense]]) -> Channels:
        """Raises DataError if two sequences have different numbers of channels, or one channel is never known."""
        total = squares = count = np.zeros(0)
        masked = False
        first: Row[Dense] | None = None
        shift = np.zeros(0)
        for row in rows:
            values = row.content.values
            if first is None:
                first, width = row, values.shape[1]
                total, squares, count = np.zeros(width), np.zeros(width), np.zeros(width)
                shift = np.nan_to_num(values[0])
            if values.shape[1] != len(total):
                raise DataError(
                    f"{row.where()}: {values.shape[1]} channels, and {first.where()} has {len(total)}; every step of "
                    f"every sequence needs the same"
                )
            known = ~np.isnan(values)
            masked = masked or not known.all()
            moved = np.where(known, values - shift, 0.0)  # a large mean would lose the digits of the squares
            total = total + moved.sum(axis=0)
            squares = squares + (moved**2).sum(axis=0)
            count = count + known.sum(axis=0)
        assert first is not None, "load_splits refuses a split without rows"
        if (unknown := np.flatnonzero(count == 0)).size:
            raise DataError(
                f"{first.path}: channel {unknown[0] + 1} has no number in any training row; leave it out"
            )
        mean = total / count
        spread = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        if not (np.isfinite(mean).all() and np.isfinite(spread).all()):
            raise DataError(f"{first.path}: numbers too large to be squared; divide them by a power of ten")
        mean = mean + shift
        spread[spread <= _LEAST_SPREAD * np.maximum(1.0, np.abs(mean))] = 1.0
        return cls(mean, spread, masked)

    def to_json(self) -> bytes:
        """The content of channels.json."""
        content = {"mean": self.mean.tolist(), "spread": self.spread.tolist(), "masked": self.masked}
        return json.dumps(content, indent=2).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Channels:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        content = json.loads(data)
        mean, spread = (np.array(content[name], np.float64) for name in ("mean", "spread"))
        if (
            mean.ndim != 1
            or not mean.size
            or mean.shape != spread.shape
            or not isinstance(content["masked"], bool)
        ):
            raise ValueError(
                "must have a mean and a spread for each channel, and whether numbers were missing"
            )
        if not (np.isfinite(mean).all() and np.isfinite(spread).all() and (spread > 0).all()):
            raise ValueError("mean and spread must be finite, and spread positive")
        return cls(mean, spread, content["masked"])

    def scaled(self, values: Float64) -> Float64:
        """(T, F) in units of the training rows; a missing number is the last known one, before the first one 0."""
        filled = np.clip((values - self.mean) / self.spread, -1e6, 1e6)
        known = ~np.isnan(filled)
        if not known.all():
            last = np.maximum.accumulate(np.where(known, np.arange(len(filled))[:, None], -1), axis=0)
            filled = np.where(last < 0, 0.0, np.take_along_axis(filled, np.maximum(last, 0), axis=0))
        return filled

    def num_inputs(self, scaling: Scaling) -> int:
        """Numbers of each step that `inputs` gives."""
        return len(self.mean) * (1 + self.masked + 2 * (scaling == "sequence"))

    def inputs(self, values: Float64, scaling: Scaling) -> Float64:
        """(T, F) -> (T, F), then, if numbers are missing in train, F more: 1 where a number is known, else 0.

        With scaling `sequence` each channel is standardised by its own mean and deviation in this sequence, and 2F more
        say what they were: the logarithm of the deviation, and the mean in units of it.
        """
        filled = self.scaled(values)
        columns = [filled]
        if scaling == "sequence":
            mean, spread = filled.mean(axis=0), filled.std(axis=0) + _LEAST_OWN_SPREAD
            levels = np.concatenate([np.log(spread) / -np.log(_LEAST_OWN_SPREAD), np.tanh(mean / spread)])
            columns = [(filled - mean) / spread, np.broadcast_to(levels, (len(filled), len(levels)))]
        return np.concatenate([*columns, ~np.isnan(values)] if self.masked else columns, axis=1)


@dataclass(frozen=True, slots=True)
class Frames:
    """A frame is `size` steps, and each begins `step` steps after the one before. 1 and 1: the steps themselves.

    A linear layer over frames is a convolution with this kernel size and stride.
    """

    size: int
    step: int

    def of(self, inputs: Float64) -> Float32:
        """(T, F) -> (T', size * F); zeros follow the last step."""
        count = 1 + max(0, -(-(len(inputs) - self.size) // self.step))
        missing = (count - 1) * self.step + self.size - len(inputs)
        padded = np.pad(inputs.astype(np.float32), ((0, max(missing, 0)), (0, 0)))
        at = np.arange(count)[:, None] * self.step + np.arange(self.size)
        framed: Float32 = padded[at].reshape(count, -1)
        return framed


def encode_sequences(
    sequences: Sequence[Dense], channels: Channels, scaling: Scaling, frames: Frames, max_steps: int
) -> Store:
    """The store of the sequences, of which the first `max_steps` steps are read."""
    cut: Mask = np.array([len(one.values) > max_steps for one in sequences], np.bool_)
    inputs = [frames.of(channels.inputs(one.values[:max_steps], scaling)) for one in sequences]
    return Store(Ragged.pack(inputs), cut)


def row_chunks(rows: Iterable[Row[Dense]]) -> Iterator[list[Row[Dense]]]:
    """The rows in chunks, whose rows and numbers are limited, to bound the memory."""
    chunk, numbers = [], 0
    for row in rows:
        chunk.append(row)
        numbers += row.content.size()
        if len(chunk) == _ROWS_AT_ONCE or numbers >= _NUMBERS_AT_ONCE:
            yield chunk
            chunk, numbers = [], 0
    if chunk:
        yield chunk
