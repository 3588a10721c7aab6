"""Copies of texts: within a source, across splits, and under different labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lstm_cli.arrays import Int64, UInt64
from lstm_cli.lint.duplicates import first_of, near_groups
from lstm_cli.lint.findings import SHOWN, Finding, Severity, of_rows
from lstm_cli.lint.scan import Scan

_Keys = dict[str, UInt64 | Int64]
_ALIKE = {
    "exact": "letter by letter",
    "normalised": "except for case, space and punctuation",
    "near": "except for a few words",
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
        found = np.flatnonzero(extra & ~known)
        original = dict(zip(rows[found[:SHOWN]], rows[first[found[:SHOWN]]], strict=True))
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
            rows[found],
            f"rows that repeat the text of another, {_ALIKE[level]}",
            advice,
            lambda row, original=original: f"as {scan.beside(row, original[row])}",  # type: ignore[misc]
        )


def _conflicts(scan: Scan, keys: _Keys, source: str) -> Iterator[Finding]:
    rows = scan.readable(source)
    labels = scan.table["label"][rows]
    known = np.zeros(len(rows), np.bool_)
    for level in ("exact", "normalised"):
        first, other = _contradicting(keys[level][rows], labels)
        in_conflict = other >= 0
        chosen = np.flatnonzero(in_conflict & ~known)
        chosen = chosen[np.argsort(chosen != first[chosen], kind="stable")]  # one example of each text
        other_of = dict(zip(rows[chosen[:SHOWN]], rows[other[chosen[:SHOWN]]], strict=True))
        advice = "the labels contradict each other: choose one"
        yield from of_rows(
            scan,
            f"conflicting-labels-{level}",
            "warning",
            source,
            rows[chosen],
            f"rows whose text also stands under another label, {_ALIKE[level]}",
            f"{advice}, or --fix OUT drops them all" if level == "exact" else advice,
            lambda row, other_of=other_of: (  # type: ignore[misc]
                f"{scan.label(row)}, but {scan.label(other_of[row])} in {scan.beside(row, other_of[row])}"
            ),
        )
        known |= in_conflict


def _contradicting(keys: UInt64 | Int64, labels: Int64) -> tuple[Int64, Int64]:
    """(N,), (N,) -> (N,) the first row with the key, (N,) a row with the key and another label, or -1."""
    first = first_of(keys)
    differs = np.flatnonzero(labels != labels[first])
    another = np.full(len(keys), -1)  # by first row: the first that differs from it
    another[first[differs][::-1]] = differs[::-1]
    other = another[first]
    return first, np.where((other >= 0) & (labels != labels[first]), first, other)


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
            f"rows of {held_out} that stand in {learned} too, {_ALIKE[level]}",
            advice,
            lambda row, key=key, values=values, first=first: (  # type: ignore[misc]
                f"as {scan.beside(row, others[first[np.searchsorted(values, key[row])]])}"
            ),
        )
