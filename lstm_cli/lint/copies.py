"""Copies of texts: within a source, across splits, and under different labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lstm_cli.lint.duplicates import Int64, Mask, UInt64, first_of, near_groups
from lstm_cli.lint.findings import Finding, Severity, of_rows
from lstm_cli.lint.scan import Scan

_Keys = dict[str, UInt64 | Int64]
_ALIKE = {
    "exact": "letter by letter",
    "normalised": "but for case, space and punctuation",
    "near": "but for a few words",
}


def copies(scan: Scan) -> Iterator[Finding]:
    """Every finding about texts that stand more than once. Each level leaves out what the stricter one has counted."""
    keys: _Keys = {
        "exact": scan.table["exact"],
        "normalised": scan.table["folded"],
        "near": near_groups(scan.table["folded"], scan.signatures),
    }
    for source in scan.sources:
        yield from _within(scan, keys, source)
        yield from _conflicts(scan, keys, source)
    scored = "test" if "test" in scan.splits else "dev"
    for learned, held_out in (("train", "dev"), ("train", "test"), ("dev", "test")):
        if learned in scan.splits and held_out in scan.splits:
            yield from _across(scan, keys, learned, held_out, scored)


def _within(scan: Scan, keys: _Keys, source: str) -> Iterator[Finding]:
    rows = scan.readable(source)
    known = np.zeros(len(rows), np.bool_)
    for level, key in keys.items():
        first = first_of(key[rows])
        extra = first != np.arange(len(rows))
        found, original = rows[extra & ~known], dict(zip(rows[extra], rows[first[extra]], strict=True))
        known |= extra
        severity: Severity = "warning" if level == "exact" else "note"
        advice = "each teaches its label once more; --fix OUT keeps one of each text and label"
        if level != "exact":
            advice = "look at the examples: where they are one text, keep one of them"
        yield from of_rows(
            scan,
            f"{level}-duplicates",
            severity,
            source,
            found,
            f"rows repeat another row's text {_ALIKE[level]}",
            advice,
            lambda row, original=original: f"as {scan.where(int(original[row]))}",  # type: ignore[misc]
        )


def _conflicts(scan: Scan, keys: _Keys, source: str) -> Iterator[Finding]:
    rows = scan.readable(source)
    labels = scan.table["label"][rows]
    known = np.zeros(len(rows), np.bool_)
    for level in ("exact", "normalised"):
        in_conflict = _several_labels(keys[level][rows], labels)
        advice = "the labels contradict each other: choose one"
        yield from of_rows(
            scan,
            f"conflicting-labels-{level}",
            "warning",
            source,
            rows[_by_key(keys[level][rows], in_conflict & ~known)],
            f"rows have texts that also stand under another label, alike {_ALIKE[level]}",
            f"{advice}, or --fix OUT drops them all" if level == "exact" else advice,
            lambda row: f'"{scan.labels[scan.table["label"][row]]}"',
        )
        known |= in_conflict


def _several_labels(keys: UInt64 | Int64, labels: Int64) -> Mask:
    """(N,), (N,) -> (N,) True for the rows whose key stands under more than one label."""
    group = first_of(keys)
    several: Mask = np.bincount(group, labels != labels[group], len(keys))[group] > 0
    return several


def _by_key(keys: UInt64 | Int64, chosen: Mask) -> Int64:
    """Positions of the chosen rows, the copies of one text beside each other, in the order of the first of each."""
    positions = np.flatnonzero(chosen)
    return positions[np.argsort(first_of(keys)[positions], kind="stable")]


def _across(scan: Scan, keys: _Keys, learned: str, held_out: str, scored: str) -> Iterator[Finding]:
    """Rows of one split whose text stands in the other; `scored` is the split that the final score comes from."""
    here = np.isin(scan.splits[held_out], np.concatenate([scan.readable(name) for name in scan.sources]))
    rows = scan.splits[held_out][here]
    others = scan.splits[learned]
    known = np.zeros(len(rows), np.bool_)
    for level, key in keys.items():
        values, first = np.unique(key[others], return_index=True)
        stands = np.isin(key[rows], values)
        found = rows[stands & ~known]
        known |= stands
        lie = level == "exact" and learned == "train" and held_out == scored
        advice = "a score on them is no score on new text; "
        if level == "exact" and learned == "train":
            advice += "--fix OUT takes them out of train"
        else:
            advice += f"look at the examples, and take what is one text out of {learned}"
        yield from of_rows(
            scan,
            f"{level}-leak",
            "error" if lie else "warning",
            f"{learned} → {held_out}",
            found,
            f"rows of {held_out} stand in {learned} too, alike {_ALIKE[level]}",
            advice,
            lambda row, key=key, values=values, first=first: (  # type: ignore[misc]
                f"as {scan.where(int(others[first[np.searchsorted(values, key[row])]]))}"
            ),
        )
