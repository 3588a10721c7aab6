"""Dev rows cut from train: disjoint, stratified, seeded, copies together."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_cli.data.rows import Row
from lstm_cli.data.split import dev_mask


def rows_of(pairs: list[tuple[str, str]]) -> list[Row]:
    return [Row(text, label, "a.csv", line) for line, (text, label) in enumerate(pairs, 2)]


def same_text(text: str) -> str:
    return " ".join(text.split()).casefold()


few_texts = st.builds(str.format, st.sampled_from(["Text {}", "  TEXT\t{} ", "text {}"]), st.integers(0, 20))
any_pairs = st.lists(st.tuples(few_texts, st.sampled_from("abc")), max_size=60)
any_share = st.floats(0.01, 0.99)


@given(pairs=any_pairs, share=any_share, seed=st.integers(0, 5))
def test_copies_of_a_text_are_on_one_side_and_every_label_stays_in_train(
    pairs: list[tuple[str, str]], share: float, seed: int
) -> None:
    mask = dev_mask(rows_of(pairs), share, seed)
    assert mask.shape == (len(pairs),)
    in_dev = {same_text(text) for (text, _), dev in zip(pairs, mask, strict=True) if dev}
    in_train = {same_text(text) for (text, _), dev in zip(pairs, mask, strict=True) if not dev}
    assert not in_dev & in_train
    assert {label for (_, label), dev in zip(pairs, mask, strict=True) if not dev} == {
        label for _, label in pairs
    }


@given(counts=st.lists(st.integers(1, 80), min_size=1, max_size=4), share=any_share, seed=st.integers(0, 5))
def test_every_label_gives_its_share_where_no_text_is_a_copy(
    counts: list[int], share: float, seed: int
) -> None:
    pairs = [(f"{label} {i}", str(label)) for label, count in enumerate(counts) for i in range(count)]
    mask = dev_mask(rows_of(pairs), share, seed)
    taken = Counter(label for (_, label), dev in zip(pairs, mask, strict=True) if dev)
    assert {str(k): taken[str(k)] for k in range(len(counts))} == {
        str(k): min(round(share * count), count - 1) for k, count in enumerate(counts)
    }


@given(pairs=any_pairs, order=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_decide_the_side(pairs: list[tuple[str, str]], order: object) -> None:
    def side(mask: np.ndarray, rows: list[tuple[str, str]]) -> dict[str, bool]:
        return {same_text(text): bool(dev) for (text, _), dev in zip(rows, mask, strict=True)}

    shuffled = list(pairs)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert side(dev_mask(rows_of(pairs), 0.3, 1), pairs) == side(
        dev_mask(rows_of(shuffled), 0.3, 1), shuffled
    )


def test_the_share_is_close_where_many_texts_are_copies() -> None:
    pairs = [(f"text {i // (1 + i % 5)}", "ab"[i % 7 == 0]) for i in range(4000)]
    mask = dev_mask(rows_of(pairs), 0.1, 0)
    for label in "ab":
        of_label = np.array([name == label for _, name in pairs])
        assert mask[of_label].mean() == pytest.approx(0.1, abs=0.02)


def test_the_seed_decides_the_rows_and_a_larger_share_adds_to_a_smaller() -> None:
    rows = rows_of([(f"text {i}", "ab"[i % 2]) for i in range(400)])
    masks = [dev_mask(rows, 0.25, seed) for seed in range(3)]
    assert np.array_equal(masks[0], dev_mask(rows, 0.25, 0))
    shared = (masks[0] & masks[1]).sum(), (masks[0] & masks[2]).sum(), (masks[1] & masks[2]).sum()
    assert max(shared) < 45  # 25 of 100 by chance
    assert not (dev_mask(rows, 0.1, 0) & ~masks[0]).any()


def test_a_group_too_large_for_dev_does_not_keep_the_smaller_ones_out() -> None:
    pairs = [("copy", "a")] * 50 + [(f"text {i}", "a") for i in range(50)]
    for seed in range(40):
        mask = dev_mask(rows_of(pairs), 0.1, seed)
        assert (int(mask.sum()), bool(mask[:50].any())) == (10, False)


def test_a_text_under_two_labels_counts_with_the_rarer() -> None:
    pairs = [(f"text {i}", "common") for i in range(80)] + [(f"text {i}", "rare") for i in range(20)]
    for seed in range(10):
        mask = dev_mask(rows_of(pairs), 0.25, seed)
        assert (int(mask[:80].sum()), int(mask[80:].sum())) == (20, 5)


def test_a_label_whose_texts_all_bear_a_rarer_label_too_stays_in_train() -> None:
    pairs = [(f"text {i}", label) for i in range(4) for label in ("often", "rare")]
    pairs += [(f"text {i}", "often") for i in range(4)]
    for seed in range(10):
        mask = dev_mask(rows_of(pairs), 0.7, seed)
        assert mask.any()
        assert {label for (_, label), dev in zip(pairs, mask, strict=True) if not dev} == {"often", "rare"}
