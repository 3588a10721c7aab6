"""Dev and test rows cut from train: disjoint, stratified, seeded, copies together; folds that make up train."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_cli.data.rows import Row
from lstm_cli.data.split import folds, held_out_mask
from lstm_cli.data.text import Text, text_row


def rows_of(pairs: list[tuple[str, str]]) -> list[Row[Text]]:
    return [text_row(text, label, "a.csv", line) for line, (text, label) in enumerate(pairs, 2)]


def same_text(text: str) -> str:
    return " ".join(text.split()).casefold()


few_texts = st.builds(str.format, st.sampled_from(["Text {}", "  TEXT\t{} ", "text {}"]), st.integers(0, 20))
any_pairs = st.lists(st.tuples(few_texts, st.sampled_from("abc")), max_size=60)
any_share = st.floats(0.01, 0.99)


@given(pairs=any_pairs, share=any_share, seed=st.integers(0, 5))
def test_copies_of_a_text_are_on_one_side_and_every_label_stays_in_train(
    pairs: list[tuple[str, str]], share: float, seed: int
) -> None:
    mask = held_out_mask(rows_of(pairs), share, seed)
    assert mask.shape == (len(pairs),)
    in_dev = {same_text(text) for (text, _), dev in zip(pairs, mask, strict=True) if dev}
    in_train = {same_text(text) for (text, _), dev in zip(pairs, mask, strict=True) if not dev}
    assert not in_dev & in_train
    assert {label for (_, label), dev in zip(pairs, mask, strict=True) if not dev} == {
        label for _, label in pairs
    }


@given(counts=st.lists(st.integers(1, 80), min_size=1, max_size=4), share=any_share, seed=st.integers(0, 5))
def test_every_label_gives_the_same_fraction_where_no_text_is_a_copy(
    counts: list[int], share: float, seed: int
) -> None:
    pairs = [(f"{label} {i}", str(label)) for label, count in enumerate(counts) for i in range(count)]
    mask = held_out_mask(rows_of(pairs), share, seed)
    taken = Counter(label for (_, label), dev in zip(pairs, mask, strict=True) if dev)
    assert {str(k): taken[str(k)] for k in range(len(counts))} == {
        str(k): min(max(round(share * count), 1), count - 1) for k, count in enumerate(counts)
    }


@given(pairs=any_pairs, share=any_share, seed=st.integers(0, 5), leave=st.integers(1, 3))
def test_every_label_with_enough_texts_has_a_row_on_both_sides(
    pairs: list[tuple[str, str]], share: float, seed: int, leave: int
) -> None:
    pairs = [(f"{label} {text}", label) for text, label in pairs]  # no text has two labels
    mask = held_out_mask(rows_of(pairs), share, seed, leave=leave)
    for label in {label for _, label in pairs}:
        texts = [
            {
                same_text(text)
                for (text, own), dev in zip(pairs, mask, strict=True)
                if own == label and dev == side
            }
            for side in (False, True)
        ]
        stays, held_out = map(len, texts)
        assert stays >= min(leave, stays + held_out)
        assert (held_out > 0) == (stays + held_out > leave)


def test_dev_rows_of_a_label_that_had_some_are_those_of_every_version() -> None:
    """A run that is resumed must cut the dev rows that it was trained with."""
    mask = held_out_mask(rows_of([(f"text {i}", "ab"[i % 3 == 0]) for i in range(30)]), 0.2, 0)
    assert np.flatnonzero(mask).tolist() == [1, 6, 11, 12, 19, 29]


@given(pairs=any_pairs, order=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_decide_the_side(pairs: list[tuple[str, str]], order: object) -> None:
    def side(mask: np.ndarray, rows: list[tuple[str, str]]) -> dict[str, bool]:
        return {same_text(text): bool(dev) for (text, _), dev in zip(rows, mask, strict=True)}

    shuffled = list(pairs)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert side(held_out_mask(rows_of(pairs), 0.3, 1), pairs) == side(
        held_out_mask(rows_of(shuffled), 0.3, 1), shuffled
    )


def test_the_fraction_is_close_where_many_texts_are_copies() -> None:
    pairs = [(f"text {i // (1 + i % 5)}", "ab"[i % 7 == 0]) for i in range(4000)]
    mask = held_out_mask(rows_of(pairs), 0.1, 0)
    for label in "ab":
        of_label = np.array([name == label for _, name in pairs])
        assert mask[of_label].mean() == pytest.approx(0.1, abs=0.02)


def test_the_seed_decides_the_rows_and_a_larger_fraction_adds_to_a_smaller() -> None:
    rows = rows_of([(f"text {i}", "ab"[i % 2]) for i in range(400)])
    masks = [held_out_mask(rows, 0.25, seed) for seed in range(3)]
    assert np.array_equal(masks[0], held_out_mask(rows, 0.25, 0))
    shared = (masks[0] & masks[1]).sum(), (masks[0] & masks[2]).sum(), (masks[1] & masks[2]).sum()
    assert max(shared) < 45  # 25 of 100 by chance
    assert not (held_out_mask(rows, 0.1, 0) & ~masks[0]).any()


def test_a_group_too_large_for_dev_does_not_exclude_smaller_ones() -> None:
    pairs = [("copy", "a")] * 50 + [(f"text {i}", "a") for i in range(50)]
    for seed in range(40):
        mask = held_out_mask(rows_of(pairs), 0.1, seed)
        assert (int(mask.sum()), bool(mask[:50].any())) == (10, False)


def test_a_text_with_two_labels_counts_for_the_rarer() -> None:
    pairs = [(f"text {i}", "common") for i in range(80)] + [(f"text {i}", "rare") for i in range(20)]
    for seed in range(10):
        mask = held_out_mask(rows_of(pairs), 0.25, seed)
        assert (int(mask[:80].sum()), int(mask[80:].sum())) == (20, 5)


def test_a_label_whose_texts_all_have_a_rarer_label_too_stays_in_train() -> None:
    pairs = [(f"text {i}", label) for i in range(4) for label in ("often", "rare")]
    pairs += [(f"text {i}", "often") for i in range(4)]
    for seed in range(10):
        mask = held_out_mask(rows_of(pairs), 0.7, seed)
        assert mask.any()
        assert {label for (_, label), dev in zip(pairs, mask, strict=True) if not dev} == {"often", "rare"}


@given(pairs=any_pairs, count=st.integers(2, 12))
def test_copies_are_in_one_fold_and_a_training_without_a_fold_still_knows_every_label(
    pairs: list[tuple[str, str]], count: int
) -> None:
    part = folds(rows_of(pairs), count)
    assert part.shape == (len(pairs),)
    assert set(part.tolist()) <= set(range(count + 1))
    fold_of: dict[str, int] = {}
    for (text, _), number in zip(pairs, part.tolist(), strict=True):
        assert fold_of.setdefault(same_text(text), number) == number
    for held_out in range(1, count + 1):
        left = {label for (_, label), number in zip(pairs, part, strict=True) if number != held_out}
        assert left == {label for _, label in pairs}


@given(pairs=any_pairs, count=st.integers(2, 12))
def test_only_a_label_that_would_be_lost_keeps_a_text_out_of_every_fold(
    pairs: list[tuple[str, str]], count: int
) -> None:
    part = folds(rows_of(pairs), count)
    outside = {same_text(text) for (text, _), number in zip(pairs, part, strict=True) if number == 0}
    for text in outside:
        labels = {label for other, label in pairs if same_text(other) == text}
        assert any(
            len({number for (_, label), number in zip(pairs, part, strict=True) if label == lost} - {0}) <= 1
            for lost in labels
        )


@given(counts=st.lists(st.integers(2, 60), min_size=1, max_size=4), count=st.integers(2, 12))
def test_every_fold_has_the_same_fraction_of_every_label_and_of_all_rows(
    counts: list[int], count: int
) -> None:
    pairs = [(f"{label} {i}", str(label)) for label, rows in enumerate(counts) for i in range(rows)]
    part = folds(rows_of(pairs), count)
    of_label = np.array([int(label) for _, label in pairs])
    assert part.min() > 0  # no copies, two rows a label: none has to stay in train
    for rows in (part, *(part[of_label == label] for label in range(len(counts)))):
        sizes = np.bincount(rows, minlength=count + 1)[1:]
        assert sizes.max() - sizes.min() <= 1


@given(pairs=any_pairs, order=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_decide_the_fold(pairs: list[tuple[str, str]], order: object) -> None:
    def fold_of(rows: list[tuple[str, str]]) -> dict[str, int]:
        return {
            same_text(text): number
            for (text, _), number in zip(rows, folds(rows_of(rows), 3).tolist(), strict=True)
        }

    shuffled = list(pairs)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fold_of(shuffled) == fold_of(pairs)


def test_folds_stay_as_they_are_across_versions() -> None:
    """A fold of a run that was scored last year must hold the same rows today."""
    part = folds(rows_of([(f"text {i}", "ab"[i % 3 == 0]) for i in range(12)]), 3)
    assert part.tolist() == [3, 2, 3, 1, 2, 1, 2, 3, 2, 1, 3, 1]


def test_a_label_of_one_text_is_in_no_fold() -> None:
    pairs = [(f"text {i}", "a") for i in range(9)] + [("alone", "b"), ("Alone ", "b")]
    part = folds(rows_of(pairs), 3)
    assert part[9:].tolist() == [0, 0]
    assert np.bincount(part).tolist() == [2, 3, 3, 3]


def test_a_label_whose_texts_are_all_in_one_fold_keeps_one_of_them_out() -> None:
    pairs = [
        ("x", "b"),
        *[("x", "common")] * 5,
        ("only b", "b"),
        *[("only a", "a")] * 3,
        ("y", "a"),
        ("y", "common"),
    ]
    part = dict(zip((text for text, _ in pairs), folds(rows_of(pairs), 2).tolist(), strict=True))
    assert sorted((part["x"], part["y"])) == [0, 1]
    assert {part["only a"], part["only b"]} == {2}


any_groups = st.lists(
    st.tuples(few_texts, st.sampled_from("abc"), st.sampled_from([None, "x", "y", "z", "u"])), max_size=60
)


def grouped_rows(triples: list[tuple[str, str, str | None]]) -> list[Row[Text]]:
    return [
        replace(row, group=group)
        for row, (*_, group) in zip(rows_of([(a, b) for a, b, _ in triples]), triples, strict=True)
    ]


def shared(rows: list[Row[Text]]) -> set[bytes]:
    """The texts that stand in several groups, or without a group and in another."""
    groups_of: dict[bytes, set[str | None]] = {}
    for row in rows:
        groups_of.setdefault(row.content.key(), set()).add(row.group)
    return {text for text, groups in groups_of.items() if len(groups) > 1}


@given(triples=any_groups, share=any_share, seed=st.integers(0, 5))
def test_a_group_is_on_one_side_but_for_texts_that_it_shares_and_copies_always_are(
    triples: list[tuple[str, str, str | None]], share: float, seed: int
) -> None:
    rows = grouped_rows(triples)
    for sides in (held_out_mask(rows, share, seed), folds(rows, 3)):
        sides_of: dict[object, set[int]] = {}
        for row, side in zip(rows, sides.tolist(), strict=True):
            sides_of.setdefault(row.content.key(), set()).add(side)
            if row.group is not None and row.content.key() not in shared(rows):
                sides_of.setdefault(row.group, set()).add(side)
        assert all(len(found) == 1 for found in sides_of.values())


def test_a_text_of_several_groups_stays_in_train_and_connects_them_not() -> None:
    rows = grouped_rows(
        [(f"{g} {i}" if i else "thank you", "ab"[i % 2], f"g{g}") for g in range(20) for i in range(10)]
    )
    mask = held_out_mask(rows, 0.2, seed=0)
    held_out = {row.group for row, out in zip(rows, mask, strict=True) if out}
    assert len(held_out) == 4
    assert mask.sum() == 4 * 9
    fold_of = folds(rows, 5)
    assert {
        fold for row, fold in zip(rows, fold_of.tolist(), strict=True) if row.content.text == "thank you"
    } == {0}
    assert np.bincount(fold_of).tolist() == [20, *[4 * 9] * 5]


def test_rows_without_a_group_are_cut_as_ever_and_another_seed_holds_out_other_groups() -> None:
    rows = grouped_rows([(f"text {i}", "ab"[i % 2], f"g{i // 10}" if i < 500 else None) for i in range(1000)])
    masks = [held_out_mask(rows, 0.1, seed) for seed in range(2)]
    assert all(90 <= mask.sum() <= 100 for mask in masks)
    assert all(0 < mask[500:].sum() < mask.sum() for mask in masks)
    assert (masks[0] != masks[1]).any()
    assert not held_out_mask(rows, 0.1, 0, stratified=False).reshape(100, 10)[:50].all(axis=1).any()


def test_one_large_group_cannot_be_held_out() -> None:
    rows = grouped_rows([(f"text {i}", "ab"[i % 2], "only") for i in range(100)])
    assert not held_out_mask(rows, 0.1, 0).any()
