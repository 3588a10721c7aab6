"""Batches: every row once, near-equal lengths, an order that (seed, epoch) alone decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lstm_cli.batch import PAD_ID
from lstm_cli.data.batching import collate, collate_on_device, epoch_batches, length_batches
from lstm_cli.data.store import EncodedRows, TokenStore, pack

lengths_of_rows = st.lists(st.integers(1, 60), min_size=1, max_size=300).map(np.array)


def store_of(lengths: list[int]) -> TokenStore:
    tokens = [np.arange(2, 2 + length, dtype=np.int32) * (i + 1) for i, length in enumerate(lengths)]
    return pack(EncodedRows(tokens, list(range(len(lengths))), [False] * len(lengths)))


@given(lengths_of_rows, st.integers(1, 16), st.integers(1, 200), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_has_every_row_once_within_both_budgets(
    lengths: np.ndarray, batch_size: int, batch_tokens: int, seed: int, epoch: int
) -> None:
    batches = epoch_batches(lengths, batch_size, batch_tokens, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) <= batch_size
        assert len(rows) * lengths[rows].max() <= batch_tokens or len(rows) == 1


@given(lengths_of_rows, st.integers(1, 16), st.integers(1, 200))
def test_scoring_has_every_row_once_and_the_longest_first(
    lengths: np.ndarray, batch_size: int, batch_tokens: int
) -> None:
    batches = length_batches(lengths, batch_size, batch_tokens)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    longest = [int(lengths[rows].max()) for rows in batches]
    assert longest == sorted(longest, reverse=True)


def test_seed_and_epoch_alone_decide_the_order() -> None:
    lengths = np.random.default_rng(0).integers(1, 50, 500)

    def order(seed: int, epoch: int) -> list[list[int]]:
        np.random.seed(seed + epoch)
        return [rows.tolist() for rows in epoch_batches(lengths, 8, 400, seed, epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_rows_of_near_equal_length_meet() -> None:
    lengths = np.random.default_rng(0).lognormal(5, 0.6, 20_000).astype(np.int64).clip(1, 400)
    batches = epoch_batches(lengths, 64, 32_768, 0, 0)
    computed = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    assert 1 - lengths.sum() / computed < 0.02


def test_the_company_of_a_row_changes_from_epoch_to_epoch() -> None:
    lengths = np.full(1_000, 10)
    company = [
        next(set(rows) for rows in epoch_batches(lengths, 10, 1_000, 0, epoch) if 7 in rows)
        for epoch in (0, 1)
    ]
    assert company[0] != company[1]


@pytest.mark.parametrize("lengths", [[1], [3, 1, 5], [4, 4, 4]])
def test_a_batch_holds_its_rows_and_padding_and_nothing_else(lengths: list[int]) -> None:
    store = store_of(lengths)
    rows = np.arange(len(lengths))[::-1].copy()
    batch = collate(store, rows)
    assert batch.inputs.shape == (len(lengths), max(lengths))
    assert batch.targets.tolist() == rows.tolist()
    for i, row in enumerate(rows):
        length = int(batch.lengths[i])
        assert length == lengths[row]
        assert (
            batch.inputs[i, :length].tolist()
            == store.tokens[store.offsets[row] : store.offsets[row + 1]].tolist()
        )
        assert (batch.inputs[i, length:] == PAD_ID).all()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.data())
def test_a_batch_cut_on_a_device_is_the_one_cut_in_memory(lengths: list[int], data: st.DataObject) -> None:
    store = store_of(lengths)
    rows = np.array(data.draw(st.permutations(range(len(lengths)))))[
        : data.draw(st.integers(1, len(lengths)))
    ]
    ours = collate_on_device(store, torch.from_numpy(store.tokens), rows)
    theirs = collate(store, rows)
    assert torch.equal(ours.inputs, theirs.inputs)
    assert torch.equal(ours.lengths, theirs.lengths)
    assert torch.equal(ours.targets, theirs.targets)
    assert ours.inputs.dtype == theirs.inputs.dtype
