"""Rows whose content occurs more than once: within a source, across splits, and under different labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lstm_cli.arrays import Int64, UInt64
from lstm_cli.data.duplicates import first_of, near_groups
from lstm_cli.lint.findings import SHOWN, Finding, Severity, of_rows
from lstm_cli.lint.scan import Scan

_Keys = dict[str, UInt64 | Int64]
_ALIKE = {
    "exact": ", letter by letter",
    "normalised": ", except for case, space and punctuation",
    "near": ", except for a few words",
}


def copies(scan: Scan) -> Iterator[Finding]:
    """Every finding about copies. Each level leaves out the copies that a stricter level has already counted.

    Texts are compared at three levels. Other contents are compared by their key only.
    """
    keys: _Keys = {"exact": scan.table["exact"]}
    if scan.holds_text:
        keys["normalised"] = scan.table["folded"]
        keys["near"] = near_groups(scan.table["folded"], scan.signatures)
    for source in scan.sources:
        yield from _within(scan, keys, source)
        yield from _conflicts(scan, keys, source)
    scored = "test" if "test" in scan.splits else "dev"
    for learned, held_out in (("train", "dev"), ("train", "test"), ("dev", "test")):
        if learned in scan.splits and held_out in scan.splits:
            yield from _across(scan, keys, learned, held_out, scored)


def _content(scan: Scan) -> str:
    return "text" if scan.holds_text else "content"


def _alike(scan: Scan, level: str) -> str:
    return _ALIKE[level] if scan.holds_text else ""


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
        advice = "compare the examples; if two are the same text, keep one of them"
        if level == "exact":
            advice = "each copy counts once more in training; "
            advice += "--fix OUT keeps one of each text and label" if scan.holds_text else "keep one of each"
        yield from of_rows(
            scan,
            f"{level}-duplicates",
            severity,
            source,
            rows[found],
            f"rows that repeat the {_content(scan)} of an earlier row{_alike(scan, level)}",
            advice,
            lambda row, original=original: f"as {scan.where_seen_from(row, original[row])}",  # type: ignore[misc]
        )


def _conflicts(scan: Scan, keys: _Keys, source: str) -> Iterator[Finding]:
    rows = scan.readable(source)
    rows = rows[scan.table["label"][rows] >= 0]
    labels = scan.table["label"][rows]
    known = np.zeros(len(rows), np.bool_)
    for level in (name for name in keys if name != "near"):  # near copies can have different labels
        first, other = _contradicting(keys[level][rows], labels)
        in_conflict = other >= 0
        chosen = np.flatnonzero(in_conflict & ~known)
        chosen = chosen[np.argsort(chosen != first[chosen], kind="stable")]  # one example of each content
        other_of = dict(zip(rows[chosen[:SHOWN]], rows[other[chosen[:SHOWN]]], strict=True))
        fix = ", or --fix OUT drops all of these rows" if level == "exact" and scan.holds_text else ""
        yield from of_rows(
            scan,
            f"conflicting-labels-{level}",
            "warning",
            source,
            rows[chosen],
            f"rows whose {_content(scan)} has another label elsewhere{_alike(scan, level)}",
            f"the labels contradict each other: choose one{fix}",
            lambda row, other_of=other_of: (  # type: ignore[misc]
                f"{scan.label(row)}, but {scan.label(other_of[row])} in {scan.where_seen_from(row, other_of[row])}"
            ),
        )
        known |= in_conflict


def _contradicting(keys: UInt64 | Int64, labels: Int64) -> tuple[Int64, Int64]:
    """(N,), (N,) -> (N,) the first row with the key, (N,) a row with the key and another label, or -1."""
    first = first_of(keys)
    differs = np.flatnonzero(labels != labels[first])
    another = np.full(len(keys), -1)  # at each first row: the first row that differs from it
    another[first[differs][::-1]] = differs[::-1]
    other = another[first]
    return first, np.where((other >= 0) & (labels != labels[first]), first, other)


def _across(scan: Scan, keys: _Keys, learned: str, held_out: str, scored: str) -> Iterator[Finding]:
    """Rows of `held_out` whose content is also in `learned`; `scored` is the split of the final score."""
    readable = scan.is_readable()
    rows, others = (scan.splits[name][readable[scan.splits[name]]] for name in (held_out, learned))
    known = np.zeros(len(rows), np.bool_)
    for level, key in keys.items():
        values, first = np.unique(key[others], return_index=True)
        copied = np.isin(key[rows], values)
        found = rows[copied & ~known]
        known |= copied
        exact_in_train = level == "exact" and learned == "train"
        advice = "a score on these rows is not a score on new data; "
        if exact_in_train:
            advice += "--fix OUT takes" if scan.holds_text else "take"
            advice += " them out of train"
        else:
            advice += f"compare the examples, and take the copies out of {learned}"
        yield from of_rows(
            scan,
            f"{level}-leak",
            "error" if exact_in_train and held_out == scored else "warning",
            f"{learned} → {held_out}",
            found,
            f"rows of {held_out} that are also in {learned}{_alike(scan, level)}",
            advice,
            lambda row, key=key, values=values, first=first: (  # type: ignore[misc]
                f"as {scan.where_seen_from(row, others[first[np.searchsorted(values, key[row])]])}"
            ),
        )
