"""Which rows make up which batch: rows of near-equal length together, in an order that (seed, epoch) alone decide.

A position inside an epoch is an integer, so there is nothing about the order to save or to restore.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from lstm_cli.arrays import Int64
from lstm_cli.batch import PAD_ID, Batch
from lstm_cli.data.store import TokenStore

_BATCHES_PER_POOL = 400
"""Rows are shuffled, then sorted by length inside pools of this many batches: on 25,000 film reviews of up to 400
tokens the padding is 0.2 % of all positions, on 6,920 sentences 0.8 % (with pools of 100 batches 0.8 and 1.8 %, and the
same dev scores over three seeds). What meets in a batch still changes every epoch. T is not rounded up to make fewer
shapes: a new shape costs a tenth of a step once, no time after, and memory as long as oneDNN keeps it (`cli.main`)."""


def epoch_batches(lengths: Int64, batch_size: int, batch_tokens: int, seed: int, epoch: int) -> list[Int64]:
    """Every row once: arrays of row numbers, each ≤ `batch_size` rows and ≤ `batch_tokens` padded positions.

    A row longer than `batch_tokens` is a batch of its own.
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
    """Every row once, longest batches first: for scoring, where the order is free and memory should peak early."""
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


def collate(store: TokenStore, rows: Int64) -> Batch:
    """These rows of the store as one padded batch: (B, T) with T the longest of them."""
    starts = store.offsets[rows]
    lengths = store.offsets[rows + 1] - starts
    steps = np.arange(int(lengths.max()))
    real = steps < lengths[:, None]  # (B, T)
    inputs = np.full(real.shape, PAD_ID, np.int64)
    inputs[real] = store.tokens[(starts[:, None] + steps)[real]]
    return Batch(
        inputs=torch.from_numpy(inputs),
        lengths=torch.from_numpy(lengths),
        targets=torch.from_numpy(store.targets[rows].astype(np.int64)),
        side_logits=torch.from_numpy(store.side_logits[rows]),
    )


def batches_from(store: TokenStore, device: torch.device) -> Callable[[Int64], Batch]:
    """What turns row numbers of the store into a batch on `device`.

    For a GPU with room for them the tokens go over once; a batch is then cut out there, and only its rows' places
    travel. The host never waits.
    """
    if device.type == "cpu":
        return partial(collate, store)
    if device.type == "cuda" and 4 * store.tokens.nbytes < torch.cuda.mem_get_info(device)[0]:
        return partial(collate_on_device, store, torch.tensor(store.tokens).to(device))
    return lambda rows: collate(store, rows).to(device)


def collate_on_device(store: TokenStore, tokens: torch.Tensor, rows: Int64) -> Batch:
    """`collate`, from the store's tokens (N,) on a device, in its memory."""
    starts = store.offsets[rows]
    lengths = torch.from_numpy(store.offsets[rows + 1] - starts)
    places = torch.stack(
        (torch.from_numpy(starts), lengths, torch.from_numpy(store.targets[rows].astype(np.int64)))
    )
    if tokens.is_cuda:
        places = places.pin_memory().to(tokens.device, non_blocking=True)
    start, length, targets = places
    steps = torch.arange(int(lengths.max()), device=tokens.device)
    inputs = tokens[(start[:, None] + steps).clamp_max(len(tokens) - 1)].long()
    side_logits = torch.from_numpy(store.side_logits[rows]).to(tokens.device, non_blocking=True)
    return Batch(inputs.masked_fill_(steps >= length[:, None], PAD_ID), lengths, targets, side_logits)
