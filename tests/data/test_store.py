"""Encoded rows: written once, mapped after, checked when opened."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_cli.arrays import AnyArray, Ragged
from lstm_cli.data.cache import cache_folder, cached
from lstm_cli.data.store import Store


def tokens(*rows: list[int]) -> Ragged:
    return Ragged.pack([np.array(row, np.int32) for row in rows])


def flags(*values: bool) -> AnyArray:
    return np.array(values, np.bool_)


CHUNKS = [
    Store(tokens([2, 3], [1]), flags(True, False), np.array([0, 1], np.int32)),
    Store(tokens([4, 5, 6]), flags(False), np.array([1], np.int32)),
]


def contents(store: Store) -> list[list[int]]:
    arrays = (store.inputs.values, store.inputs.offsets, store.known_targets, store.truncated)
    return [np.asarray(array).tolist() for array in arrays]


def stored(chunks: Iterable[Store]) -> Store:
    return cached("key", lambda: chunks)


def never() -> Iterator[Store]:
    raise AssertionError("the rows were encoded again")
    yield


def test_what_is_cached_is_what_was_encoded_in_however_many_chunks() -> None:
    store = stored(CHUNKS)
    assert contents(store) == [[2, 3, 1, 4, 5, 6], [0, 2, 3, 6], [0, 1, 1], [1, 0, 0]]
    assert store.lengths.tolist() == [2, 1, 3]
    assert store.unknown_fraction == pytest.approx(1 / 6)
    assert (len(store), store.num_steps, store.median_length) == (3, 6, 2)


def test_the_second_time_nothing_is_encoded() -> None:
    first = stored(CHUNKS)
    assert contents(stored(never())) == contents(first)


def test_a_store_lies_mapped_on_disk_and_not_in_memory() -> None:
    assert isinstance(stored(CHUNKS).inputs.values, np.memmap)


# --- rows of unequal length --------------------------------------------------------------------------------------


rows_of_numbers = st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=8)


@given(rows_of_numbers)
def test_ragged_rows_are_the_rows_that_were_packed(rows: list[list[int]]) -> None:
    ragged = tokens(*rows)
    assert len(ragged) == len(rows)
    assert [row.tolist() for row in ragged] == rows
    assert [ragged[i].tolist() for i in range(len(rows))] == rows
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    assert len(ragged.values) == ragged.offsets[-1] == sum(map(len, rows))


@given(rows_of_numbers, st.data())
def test_rows_are_selected_in_the_order_and_as_often_as_they_are_named(
    rows: list[list[int]], data: st.DataObject
) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    selected = tokens(*rows).select(np.array(numbers, np.int64))
    assert [row.tolist() for row in selected] == [rows[number] for number in numbers]


def test_rows_of_vectors_keep_their_width() -> None:
    rows = [np.arange(length * 3, dtype=np.float32).reshape(length, 3) for length in (2, 1, 4)]
    ragged = Ragged.pack(rows)
    assert ragged.values.shape == (7, 3)
    assert ragged.values.dtype == np.float32
    assert all((one == other).all() for one, other in zip(ragged, rows, strict=True))
    assert ragged.select(np.array([2, 0])).values.shape == (6, 3)


# --- every kind of inputs and targets ----------------------------------------------------------------------------


def dense(rng: np.random.Generator, lengths: list[int]) -> Ragged:
    return Ragged.pack([rng.standard_normal((length, 3), np.float32) for length in lengths])


def of_lengths(rng: np.random.Generator, lengths: list[int]) -> Ragged:
    return Ragged.pack([rng.integers(1, 9, length, np.int32) for length in lengths])


def kinds(rng: np.random.Generator, lengths: list[int]) -> dict[str, Store]:
    """A store of each kind, with these lengths."""
    num_rows, truncated = len(lengths), rng.random(len(lengths)) < 0.5
    return {
        "tokens, no targets": Store(of_lengths(rng, lengths), truncated),
        "tokens, a class a row": Store(
            of_lengths(rng, lengths), truncated, rng.integers(0, 3, num_rows, np.int32)
        ),
        "vectors, a number a row": Store(dense(rng, lengths), truncated, rng.standard_normal(num_rows)),
        "vectors, two numbers a row": Store(
            dense(rng, lengths), truncated, rng.standard_normal((num_rows, 2), np.float32)
        ),
        "tokens, a class a step": Store(of_lengths(rng, lengths), truncated, of_lengths(rng, lengths)),
        "vectors, targets of their own length": Store(
            dense(rng, lengths), truncated, of_lengths(rng, [length // 2 for length in lengths])
        ),
        "tokens, extras": Store(
            of_lengths(rng, lengths),
            truncated,
            rng.integers(0, 3, num_rows, np.int32),
            {"logits": rng.standard_normal((num_rows, 4), np.float32), "weight": rng.random(num_rows)},
        ),
    }


KINDS = list(kinds(np.random.default_rng(0), [1]))
LENGTHS = [[3, 1], [5], [2, 2, 4]]


def arrays(store: Store) -> dict[str, AnyArray]:
    found = {"inputs": store.inputs.values, "offsets": store.inputs.offsets, "truncated": store.truncated}
    if isinstance(store.targets, Ragged):
        found |= {"targets": store.targets.values, "targets' offsets": store.targets.offsets}
    elif store.targets is not None:
        found["targets"] = store.targets
    return found | dict(store.extras)


def assert_equal(ours: Store, theirs: Store) -> None:
    mine, other = arrays(ours), arrays(theirs)
    assert mine.keys() == other.keys()
    for name, array in mine.items():
        assert (array.dtype, array.shape) == (other[name].dtype, other[name].shape), name
        assert (array == other[name]).all(), name


def in_chunks_and_whole(kind: str) -> tuple[list[Store], Store]:
    """Chunks of a store, and the same rows packed at once."""
    rng = np.random.default_rng(1)
    chunks = [kinds(rng, lengths)[kind] for lengths in LENGTHS]

    def together(parts: list[Ragged]) -> Ragged:
        return Ragged.pack([row for part in parts for row in part])

    found = [chunk.targets for chunk in chunks]
    ragged = [one for one in found if isinstance(one, Ragged)]
    flat = [one for one in found if one is not None and not isinstance(one, Ragged)]
    whole = Store(
        together([chunk.inputs for chunk in chunks]),
        np.concatenate([chunk.truncated for chunk in chunks]),
        together(ragged) if ragged else np.concatenate(flat) if flat else None,
        {name: np.concatenate([chunk.extras[name] for chunk in chunks]) for name in chunks[0].extras},
    )
    return chunks, whole


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_store_is_cached_across_chunks_and_mapped(kind: str) -> None:
    chunks, whole = in_chunks_and_whole(kind)
    assert_equal(stored(chunks), whole)
    again = stored(never())
    assert_equal(again, whole)
    for name, array in arrays(again).items():
        assert isinstance(array, np.memmap), name
        assert not array.flags.writeable, name


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_every_kind_of_store_are_selected(kind: str) -> None:
    chunks, whole = in_chunks_and_whole(kind)
    store = stored(chunks)
    numbers = np.array([4, 0, 5])
    selected = store.select(numbers)
    assert len(selected) == 3
    for i, number in enumerate(numbers):
        assert (selected.inputs[i] == whole.inputs[number]).all()
        assert selected.truncated[i] == whole.truncated[number]
        for name, values in whole.extras.items():
            assert (selected.extras[name][i] == values[number]).all()
        if whole.targets is None:
            assert selected.targets is None
        else:
            assert np.array_equal(selected.known_targets[i], whole.known_targets[number])


def test_only_token_ids_have_a_fraction_that_is_unknown() -> None:
    rng = np.random.default_rng(0)
    assert Store(dense(rng, [2, 3]), flags(False, False)).unknown_fraction is None
    assert Store(tokens([1, 1], [2, 1]), flags(False, False)).unknown_fraction == 0.75


def test_targets_that_are_not_known_cannot_be_had() -> None:
    with pytest.raises(ValueError, match="no targets"):
        _ = Store(tokens([1]), flags(False)).known_targets


def test_a_store_without_a_row_is_cached_as_well() -> None:
    for _ in range(2):
        store = stored(())
        assert len(store) == store.num_steps == 0
        assert (store.lengths.tolist(), store.targets, dict(store.extras)) == ([], None, {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_without_a_row_changes_nothing(kind: str) -> None:
    chunks, whole = in_chunks_and_whole(kind)
    empty = chunks[0].select(np.zeros(0, np.int64))
    assert len(empty) == 0
    assert_equal(stored([*chunks, empty]), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_no_array_of_a_store_is_opened_cut_short(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    chunks, whole = in_chunks_and_whole(kind)
    stored(chunks)
    names = sorted(path.name for path in (cache_folder() / "key").iterdir())
    assert len(names) == len(arrays(whole)) + 1
    for name in names:
        path = cache_folder() / "key" / name
        content = path.read_bytes()
        for kept in (content[:-1], content[: len(content) // 2], b""):
            path.write_bytes(kept)
            encoded: list[Store] = []

            def encode(into: list[Store] = encoded) -> Iterator[Store]:
                into.extend(chunks)
                yield from chunks

            assert_equal(stored(encode()), whole)
            assert "damaged" in caplog.text
            caplog.clear()
            assert encoded, (name, len(kept))


@pytest.mark.parametrize(
    "arrays",
    [[], 7, None, {"inputs": 7}, {"inputs": {"type": "object", "entry": [], "bytes": 0, "crc32": 0}}],
)
def test_a_layout_that_no_store_has_is_not_read(arrays: object, caplog: pytest.LogCaptureFixture) -> None:
    stored(CHUNKS)
    path = cache_folder() / "key" / "arrays.json"
    described = json.loads(path.read_text("utf-8"))[0]
    described.pop("truncated")
    for layout in (arrays, described, {**described, "truncated": described["inputs"]}):
        for content in ([layout, zlib.crc32(json.dumps(layout).encode())], layout):
            path.write_text(json.dumps(content), encoding="utf-8")
            assert len(stored(CHUNKS)) == 3
            assert "damaged" in caplog.text
            caplog.clear()
    assert len(stored(never())) == 3
