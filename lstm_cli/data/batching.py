"""Batches of rows of similar length, in an order that depends on (seed, epoch) alone.

So one integer is the position in an epoch, and a checkpoint need not save the order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from lstm_cli.arrays import AnyArray, Int64, Ragged
from lstm_cli.batch import IGNORED, PAD_ID, Batch
from lstm_cli.data.store import Store

_BATCHES_PER_POOL = 400
"""Rows are shuffled, then sorted by length inside pools of this many batches: on 25,000 film reviews of up to 400
tokens the padding is 0.2 % of all positions, on 6,920 sentences 0.8 % (with pools of 100 batches 0.8 and 1.8 %, and the
same dev scores over three seeds). The rows of a batch still change every epoch. T is not rounded up to get fewer
shapes: a new shape costs a tenth of a step once, and memory while oneDNN caches it (`cli.main`)."""


def epoch_batches(lengths: Int64, batch_size: int, batch_tokens: int, seed: int, epoch: int) -> list[Int64]:
    """The batches of an epoch as arrays of row indices, with every row once.

    A batch has at most `batch_size` rows and `batch_tokens` padded positions. A longer row is a batch of its own.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    pool = batch_size * _BATCHES_PER_POOL
    batches = [
        batch
        for start in range(0, len(order), pool)
        for batch in _cut(order[start : start + pool], lengths, batch_size, batch_tokens)
    ]
    return [batches[i] for i in rng.permutation(len(batches))]


def length_batches(lengths: Int64, batch_size: int, batch_tokens: int) -> list[Int64]:
    """Batches for scoring as arrays of row indices, the longest rows first, so that memory peaks early."""
    return _cut(np.arange(len(lengths)), lengths, batch_size, batch_tokens)[::-1]


def _cut(rows: Int64, lengths: Int64, batch_size: int, batch_tokens: int) -> list[Int64]:
    rows = rows[np.argsort(lengths[rows], kind="stable")]
    sizes = lengths[rows]
    batches: list[Int64] = []
    start = 0
    for i in range(1, len(rows) + 1):
        full = i - start == batch_size
        if i == len(rows) or full or (i - start + 1) * sizes[i] > batch_tokens:
            batches.append(rows[start:i])
            start = i
    return batches


def collate(store: Store, rows: Int64) -> Batch:
    """The rows with these indices as one padded batch; T is the length of the longest one."""
    inputs, lengths = _padded(store.inputs, rows, PAD_ID)
    targets, target_lengths = _targets(store, rows)
    return Batch(
        inputs=torch.from_numpy(inputs),
        lengths=torch.from_numpy(lengths),
        targets=targets,
        target_lengths=target_lengths,
        extras={name: torch.from_numpy(values[rows]) for name, values in store.extras.items()},
    )


def _targets(store: Store, rows: Int64) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Targets and their lengths: (B, …) and None for one target per row; (B, T) or (B, S) and (B,) for ragged ones."""
    match store.targets:
        case None:
            return None, None
        case Ragged():
            targets, lengths = _padded(store.targets, rows, IGNORED)
            return torch.from_numpy(targets), torch.from_numpy(lengths)
        case _:
            return torch.from_numpy(store.targets[rows].astype(_wide(store.targets.dtype))), None


def _padded(ragged: Ragged, rows: Int64, fill: int) -> tuple[AnyArray, Int64]:
    """The rows with these indices, padded with `fill`: (B, T) or (B, T, F), and their lengths (B,)."""
    starts = ragged.offsets[rows]
    lengths = ragged.offsets[rows + 1] - starts
    steps = np.arange(int(lengths.max()))
    real = steps < lengths[:, None]  # (B, T)
    values = ragged.values[(starts[:, None] + steps)[real]]
    padded = np.full((*real.shape, *values.shape[1:]), fill, _wide(values.dtype))
    padded[real] = values
    return padded, lengths


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type for torch: integers become int64, floats keep their type."""
    return np.dtype(np.int64) if dtype.kind == "i" else dtype


def batches_from(store: Store, device: torch.device) -> Callable[[Int64], Batch]:
    """A function from row indices of the store to a batch on `device`.

    If a CUDA GPU has enough free memory, all inputs are copied to it once. Each batch then sends only the positions of
    its rows, its targets and its extras, and the host does not wait for these copies.
    """
    if device.type == "cpu":
        return partial(collate, store)
    values = store.inputs.values
    if device.type == "cuda" and 4 * values.nbytes < torch.cuda.mem_get_info(device)[0]:
        return partial(collate_on_device, store, torch.tensor(values).to(device))
    return lambda rows: collate(store, rows).to(device)


def collate_on_device(store: Store, values: torch.Tensor, rows: Int64) -> Batch:
    """`collate` on a device that already holds the store's inputs, `values` (sum T,) or (sum T, F)."""
    starts = store.inputs.offsets[rows]
    lengths = torch.from_numpy(store.inputs.offsets[rows + 1] - starts)
    start, length = _sent(torch.stack((torch.from_numpy(starts), lengths)), values.device)
    steps = torch.arange(int(lengths.max()), device=values.device)
    inputs = values[(start[:, None] + steps).clamp_max(len(values) - 1)]
    if not inputs.is_floating_point():
        inputs = inputs.long()
    padding = steps >= length[:, None]
    targets, target_lengths = _targets(store, rows)
    return Batch(
        inputs=inputs.masked_fill_(padding if inputs.ndim == 2 else padding.unsqueeze(-1), PAD_ID),
        lengths=lengths,
        targets=None if targets is None else _sent(targets, values.device),
        target_lengths=target_lengths,
        extras={
            name: _sent(torch.from_numpy(extra[rows]), values.device) for name, extra in store.extras.items()
        },
    )


def _sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on `device`. The host does not wait for the copy."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)
