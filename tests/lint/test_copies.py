"""Copies and near copies are found in every split, and texts that differ are not."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_cli.data.duplicates import NUM_HASHES, near_groups
from tests.lint.conftest import Found, found_in, scanned

LABELS = ("a", "b")


def prose(seed: int, count: int = 60) -> list[str]:
    rng = random.Random(seed)
    return [f"w{rng.randrange(5_000)}" for _ in range(count)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 239), st.integers(0, 30))
def test_a_planted_near_copy_is_found_among_other_texts(seed: int, at: int, between: int) -> None:
    text = prose(seed, 240)  # of 60 words, one of 1,000 near copies has an estimate below 0.8
    changed = [*text[:at], "another", *text[at + 1 :]]
    others = [" ".join(prose(seed + 1 + i)) for i in range(between)]
    table = scanned(
        (text, LABELS[i % 2]) for i, text in enumerate([" ".join(text), *others, " ".join(changed)])
    )
    group = near_groups(table.table["folded"], table.signatures)
    assert group[0] == group[-1]
    assert len(set(group.tolist())) == 1 + between


PIECES = [" ".join(prose(i, 25)) for i in range(3)]
TEXTS = st.sampled_from(
    [
        *PIECES,
        PIECES[0].upper(),
        f"{PIECES[0]}!",
        f"{PIECES[1]} more",
        "short",
        "Short.",
        ":)",
        ":(",
        "",
        "it’s",
    ]
)
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["a", "b", "A "])), min_size=2, max_size=14)


@settings(max_examples=40, deadline=None)
@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_no_finding(
    train: list[tuple[str, str]], test: list[tuple[str, str]], rng: random.Random
) -> None:
    def counted() -> dict[str, tuple[int, str]]:
        return {name: (one.count, one.severity) for name, one in found_in(train, test=test).items()}

    before = counted()
    rng.shuffle(train)
    rng.shuffle(test)
    assert counted() == before


def test_signatures_that_agree_in_four_of_five_hashes_are_compared_in_some_band() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(1, 2**16, (1_000, NUM_HASHES), np.uint16)
    second = first.copy()
    for row in range(1_000):  # 52 of 64 are equal; half of the pairs differ in as many bands as possible
        bands = rng.permutation(16)[:12]
        at = bands * 4 + rng.integers(0, 4, 12) if row % 2 else rng.permutation(NUM_HASHES)[:12]
        second[row, at] ^= 1
    group = near_groups(rng.permutation(2_000).astype(np.uint64), np.concatenate([first, second]))
    assert (group[:1_000] == group[1_000:]).all()
    assert len(np.unique(group)) == 1_000


def test_chains_of_near_copies_are_linked_alike_in_any_order() -> None:
    long = prose(5, 400)
    windows = [(" ".join(long[start : start + 60]), "a") for start in range(0, 200, 3)]
    counts = set()
    for seed in range(8):
        random.Random(seed).shuffle(windows)
        table = scanned(windows)
        counts.add(len(set(near_groups(table.table["folded"], table.signatures).tolist())))
    assert len(counts) == 1


def test_each_level_leaves_out_what_a_stricter_one_counted(found: Found) -> None:
    text = " ".join(prose(1))
    rows = [
        (text, "a"),
        (text, "a"),
        (text, "a"),
        (text.upper(), "a"),
        (f"{text} more", "a"),
        ("other words", "b"),
    ]
    names = found(rows)
    assert {level: names[f"{level}-duplicates train"].count for level in ("exact", "normalised", "near")} == {
        "exact": 2,
        "normalised": 1,
        "near": 1,
    }
    assert str(names["exact-duplicates train"].examples[0]) == "train.csv:2: as line 1"


def test_texts_without_words_are_copies_only_letter_by_letter(found: Found) -> None:
    names = found([(":)", "a"), (":(", "b"), (":)", "a"), ("…", "b")])
    assert names["exact-duplicates train"].count == 1
    assert "normalised-duplicates train" not in names
    assert "near-duplicates train" not in names


def test_a_text_with_two_labels_is_shown_with_the_other_label(found: Found) -> None:
    names = found(
        [("same words here", "a"), ("other", "a"), ("same words here", "b"), ("Same words, here!", "a")]
    )
    assert names["conflicting-labels-exact train"].count == 2
    assert str(names["conflicting-labels-exact train"].examples[0]) == 'train.csv:1: "a", but "b" in line 3'
    assert names["conflicting-labels-normalised train"].count == 1


@pytest.mark.parametrize(
    ("splits", "severities"),
    [
        ({"test": True}, {"train → test": "error"}),
        ({"dev": True}, {"train → dev": "error"}),
        (
            {"dev": True, "test": True},
            {"train → dev": "warning", "train → test": "error", "dev → test": "warning"},
        ),
    ],
)
def test_train_rows_in_the_split_that_is_scored_are_an_error(
    splits: dict[str, bool], severities: dict[str, str], found: Found
) -> None:
    rows = [("some words of train", "a"), ("and others too", "b")]
    names = found(rows, **dict.fromkeys(splits, rows[:1]))
    assert {one.split: one.severity for one in names.values() if one.code == "exact-leak"} == severities


def test_a_copy_across_splits_is_named_in_both_files(found: Found) -> None:
    text = " ".join(prose(3))
    names = found(
        [("x y", "b"), (text, "a")], test=[("z", "a"), (f"{text}!", "a"), (f"{text} more", "a"), ("", "b")]
    )
    assert str(names["normalised-leak train → test"].examples[0]) == "test.csv:2: as train.csv:2"
    assert names["near-leak train → test"].count == 1
    assert "exact-leak train → test" not in names


def test_the_fraction_of_equal_hashes_estimates_the_resemblance() -> None:
    rng = np.random.default_rng(0)
    base = prose(9, 400)
    for cut in (20, 60, 150):
        other = base[cut:] + prose(int(rng.integers(10**6)), cut)
        table = scanned([(" ".join(base), "a"), (" ".join(other), "b")])
        agree = float((table.signatures[0] == table.signatures[1]).mean())
        assert agree == pytest.approx((400 - cut) / (400 + cut), abs=0.15)
