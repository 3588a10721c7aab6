"""Batches: every row once, near-equal lengths, an order that (seed, epoch) alone decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lstm_cli.arrays import Ragged
from lstm_cli.batch import IGNORED, PAD_ID, Batch
from lstm_cli.data.batching import batches_from, collate, collate_on_device, epoch_batches, length_batches
from lstm_cli.data.store import Store

lengths_of_rows = st.lists(st.integers(1, 60), min_size=1, max_size=300).map(np.array)


def store_of(lengths: list[int]) -> Store:
    tokens = [np.arange(2, 2 + length, dtype=np.int32) * (i + 1) for i, length in enumerate(lengths)]
    targets = np.arange(len(lengths), dtype=np.int32)
    return Store(Ragged.pack(tokens), np.zeros(len(lengths), np.bool_), targets)


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


@pytest.mark.parametrize("num_rows", [3_000, 30_000])
def test_the_order_of_batches_in_an_epoch_has_nothing_to_do_with_their_lengths(num_rows: int) -> None:
    """A model that read the short rows of every epoch first would end each on long ones alone."""
    lengths = np.random.default_rng(0).lognormal(3, 0.6, num_rows).astype(np.int64).clip(1, 100)
    found = []
    orders = set()
    for seed in range(4):
        for epoch in range(3):
            batches = epoch_batches(lengths, 16, 32_768, seed, epoch)
            longest = np.array([int(lengths[rows].max()) for rows in batches])
            found.append(float(spearmanr(longest, np.arange(len(longest))).statistic))
            assert abs(found[-1]) < 5 / np.sqrt(len(longest))  # five standard errors of unrelated orders
            orders.add(tuple(longest.tolist()))
    assert abs(np.mean(found)) < 5 / np.sqrt(len(found) * len(longest))
    assert len(orders) == len(found)


def test_the_first_and_the_last_batch_of_an_epoch_are_of_any_length() -> None:
    lengths = np.random.default_rng(0).lognormal(3, 0.6, 800).astype(np.int64).clip(1, 100)
    ranks = []
    for epoch in range(100):
        batches = epoch_batches(lengths, 16, 32_768, 0, epoch)
        longest = np.array([int(lengths[rows].max()) for rows in batches])
        ranks.append([(longest < longest[at]).mean() for at in (0, -1)])
    # five standard errors of the mean of 100 uniform ranks
    assert np.abs(np.mean(ranks, axis=0) - 0.5).max() < 5 * np.sqrt(1 / 12 / 100)


def test_rows_of_near_equal_length_meet() -> None:
    lengths = np.random.default_rng(0).lognormal(5, 0.6, 20_000).astype(np.int64).clip(1, 400)
    batches = epoch_batches(lengths, 64, 32_768, 0, 0)
    computed = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    assert 1 - lengths.sum() / computed < 0.02


def test_two_small_batches_do_not_hold_the_rows_of_one_large_batch() -> None:
    """So half of `train.batch_size` with twice `train.accumulate` is another training, as the docs say."""
    lengths = np.random.default_rng(0).lognormal(3, 0.6, 640).astype(np.int64).clip(1, 100)
    small = epoch_batches(lengths, 8, 32_768, 0, 0)
    steps = {frozenset(map(int, np.concatenate(small[at : at + 2]))) for at in range(0, len(small), 2)}
    large = {frozenset(map(int, rows)) for rows in epoch_batches(lengths, 16, 32_768, 0, 0)}
    assert len(steps) == len(large) == 40
    assert len(steps & large) < 5  # by chance


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
    assert batch.num_rows == len(lengths)
    assert batch.known_targets.tolist() == rows.tolist()
    for i, row in enumerate(rows):
        length = int(batch.lengths[i])
        assert length == lengths[row]
        assert batch.inputs[i, :length].tolist() == store.inputs[row].tolist()
        assert (batch.inputs[i, length:] == PAD_ID).all()


# --- every kind of inputs and targets ----------------------------------------------------------------------------


def inputs_of(lengths: list[int], width: int | None, rng: np.random.Generator) -> Ragged:
    """Token ids, or vectors of a width; none of them is what a batch is padded with."""
    if width is None:
        return Ragged.pack([rng.integers(1, 99, length, np.int32) for length in lengths])
    return Ragged.pack([rng.random((length, width), np.float32) + 1 for length in lengths])


def targets_of(lengths: list[int], kind: str, rng: np.random.Generator) -> np.ndarray | Ragged | None:
    match kind:
        case "none":
            return None
        case "class":
            return rng.integers(0, 3, len(lengths), np.int32)
        case "number":
            return rng.random(len(lengths), np.float32)
        case "numbers":
            return rng.random((len(lengths), 2), np.float32)
        case "classes a step":
            return Ragged.pack([rng.integers(0, 9, length, np.int32) for length in lengths])
        case _:
            return Ragged.pack([rng.integers(0, 9, 1 + length // 3, np.int32) for length in lengths])


TARGETS = ["none", "class", "number", "numbers", "classes a step", "classes of their own length"]


def store_of_kind(lengths: list[int], width: int | None, kind: str, seed: int = 0) -> Store:
    rng = np.random.default_rng(seed)
    return Store(
        inputs_of(lengths, width, rng),
        np.zeros(len(lengths), np.bool_),
        targets_of(lengths, kind, rng),
        {"logits": rng.random((len(lengths), 2), np.float32), "weight": rng.random(len(lengths), np.float32)},
    )


@pytest.mark.parametrize("width", [None, 1, 3])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_batch_of_any_kind_holds_the_rows_that_it_is_of(width: int | None, kind: str) -> None:
    lengths = [3, 7, 1, 7, 4]
    store = store_of_kind(lengths, width, kind)
    rows = np.array([4, 2, 0])
    batch = collate(store, rows)
    assert batch.inputs.dtype == (torch.int64 if width is None else torch.float32)
    assert batch.inputs.shape == ((3, 4) if width is None else (3, 4, width))
    assert (batch.lengths.dtype, batch.lengths.tolist()) == (torch.int64, [4, 1, 3])
    assert batch.extras.keys() == store.extras.keys()
    for i, row in enumerate(rows):
        length = lengths[row]
        assert batch.inputs[i, :length].tolist() == store.inputs[row].tolist()
        assert (batch.inputs[i, length:] == 0).all()
        for name, values in store.extras.items():
            assert batch.extras[name][i].tolist() == values[row].tolist()


@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize(
    ("kind", "dtype", "shape"),
    [
        ("class", torch.int64, (3,)),
        ("number", torch.float32, (3,)),
        ("numbers", torch.float32, (3, 2)),
    ],
)
def test_a_batchs_targets_a_row_are_those_of_its_rows(
    width: int | None, kind: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    store = store_of_kind([3, 7, 1, 7, 4], width, kind)
    rows = np.array([4, 2, 0])
    batch = collate(store, rows)
    assert (batch.known_targets.dtype, tuple(batch.known_targets.shape)) == (dtype, shape)
    assert batch.target_lengths is None
    assert batch.known_targets.tolist() == [store.known_targets[row].tolist() for row in rows]


@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize(
    ("kind", "target_lengths"), [("classes a step", [4, 1, 3]), ("classes of their own length", [2, 1, 2])]
)
def test_padded_steps_of_targets_are_ignored_by_the_loss(
    width: int | None, kind: str, target_lengths: list[int]
) -> None:
    store = store_of_kind([3, 7, 1, 7, 4], width, kind)
    rows = np.array([4, 2, 0])
    batch = collate(store, rows)
    targets = batch.known_targets
    assert (targets.dtype, tuple(targets.shape)) == (torch.int64, (3, max(target_lengths)))
    assert batch.target_lengths is not None
    assert batch.target_lengths.tolist() == target_lengths
    for i, row in enumerate(rows):
        assert targets[i, : target_lengths[i]].tolist() == store.known_targets[row].tolist()
        assert (targets[i, target_lengths[i] :] == IGNORED).all()
    flat = targets.flatten()
    losses = torch.nn.functional.cross_entropy(torch.zeros(len(flat), 9), flat, reduction="none")
    assert torch.equal(losses == 0, flat == IGNORED)  # torch's own default


def test_a_batch_to_predict_has_no_targets() -> None:
    batch = collate(store_of_kind([2, 1], None, "none"), np.array([0, 1]))
    assert batch.targets is None
    assert batch.target_lengths is None
    with pytest.raises(ValueError, match="no targets"):
        _ = batch.known_targets


def assert_equal(ours: Batch, theirs: Batch) -> None:
    for name in ("inputs", "lengths", "targets", "target_lengths"):
        one, other = getattr(ours, name), getattr(theirs, name)
        if other is None:
            assert one is None, name
            continue
        assert one.dtype == other.dtype, name
        assert torch.equal(one, other), name
    assert ours.extras.keys() == theirs.extras.keys()
    for name, value in theirs.extras.items():
        assert torch.equal(ours.extras[name], value), name


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=20),
    st.sampled_from([None, 1, 3]),
    st.sampled_from(TARGETS),
    st.integers(0, 9),
    st.data(),
)
def test_a_batch_cut_on_a_device_is_the_one_cut_in_memory(
    lengths: list[int], width: int | None, kind: str, seed: int, data: st.DataObject
) -> None:
    store = store_of_kind(lengths, width, kind, seed)
    rows = np.array(data.draw(st.permutations(range(len(lengths)))))[
        : data.draw(st.integers(1, len(lengths)))
    ]
    ours = collate_on_device(store, torch.from_numpy(store.inputs.values), rows)
    assert_equal(ours, collate(store, rows))
    assert_equal(batches_from(store, torch.device("cpu"))(rows), ours)


def test_a_batch_that_moves_leaves_its_lengths_on_the_cpu() -> None:
    batch = collate(store_of_kind([2, 1], 3, "classes a step"), np.array([0, 1]))
    moved = batch.to(torch.device("meta"))
    assert moved.lengths is batch.lengths
    assert moved.target_lengths is batch.target_lengths
    assert moved.inputs.device.type == moved.known_targets.device.type == "meta"
    assert {value.device.type for value in moved.extras.values()} == {"meta"}
    assert batch.to(torch.device("cpu")) is batch
