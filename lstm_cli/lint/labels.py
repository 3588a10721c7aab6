"""Labels that a training refuses, that are spelled in two ways, that are too rare, or that come in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from lstm_cli.arrays import Int64
from lstm_cli.data.sources import DataConfig
from lstm_cli.errors import did_you_mean
from lstm_cli.lint.findings import Example, Finding, of_rows
from lstm_cli.lint.scan import Scan

_SHOWN_LABELS = 20
_FEW_ROWS = 10
_UNEVEN = 10
"""Times as many rows as the rarest class has, from which on accuracy says little."""
_MIN_ROWS = 50
"""Fewer rows than this may lie in order by chance."""


def labels(scan: Scan, config: DataConfig) -> Iterator[Finding]:
    """Every finding about labels."""
    if scan.sources[0] == "train" and len(scan.splits["train"]):
        for source in scan.sources[1:]:
            yield from _unknown(scan, source)
    yield from _spellings(scan)
    if len(scan.readable("train")) >= 2:
        yield from _rare(scan, config)
        yield from _ordered(scan)


def fold(label: str) -> str:
    """The label without what two spellings of it may differ by."""
    return " ".join(label.split()).casefold()


def counts(scan: Scan, split: str) -> Int64:
    """(C,) rows of each label in a split."""
    found = scan.table["label"][scan.splits[split]]
    return np.bincount(found[found >= 0], minlength=len(scan.labels))


def _unknown(scan: Scan, source: str) -> Iterator[Finding]:
    known = counts(scan, "train") > 0
    rows = scan.splits[source]
    found = scan.table["label"][rows]
    lacking = rows[(found >= 0) & ~np.append(known, True)[found]]
    if not len(lacking):
        return
    names = sorted(name for name, is_known in zip(scan.labels, known, strict=True) if is_known)
    more = f", … and {len(names) - _SHOWN_LABELS} more" if len(names) > _SHOWN_LABELS else ""
    _, first = np.unique(scan.table["label"][lacking], return_index=True)  # an example of each such label
    examples = []
    for row in lacking[np.sort(first)][:3]:
        label = scan.labels[scan.table["label"][row]]
        examples.append(Example(scan.where(row), f'label "{label}".{did_you_mean(label, names)}'))
    yield Finding(
        "unknown-labels",
        "error",
        source,
        len(lacking),
        f"rows with a label that is not in the training data (have: {', '.join(names[:_SHOWN_LABELS])}{more})",
        tuple(examples),
        "mend the labels, or put rows with them into train",
    )


def _spellings(scan: Scan) -> Iterator[Finding]:
    """Labels that differ by case or space only. Counted are the rows of all spellings but the commonest."""
    groups = defaultdict(list)
    number = np.bincount(scan.table["label"][scan.table["label"] >= 0], minlength=len(scan.labels))
    for code, name in enumerate(scan.labels):
        groups[fold(name)].append(code)
    for codes in groups.values():
        codes.sort(key=lambda code: (-number[code], scan.labels[code]))
        rows = np.flatnonzero(np.isin(scan.table["label"], codes[1:]))
        spelled = ", ".join(f'"{scan.labels[code]}" ({number[code]:,})' for code in codes)
        yield from of_rows(
            scan,
            "label-spellings",
            "error",
            "all",
            rows,
            f"rows whose label has a commoner spelling: {spelled}",
            "each spelling is a class of its own; --fix OUT spells train's labels in one way",
            scan.label,
        )


def _rare(scan: Scan, config: DataConfig) -> Iterator[Finding]:
    train, first = counts(scan, "train"), {}
    rows = scan.splits["train"]
    for code, position in zip(*np.unique(scan.table["label"][rows], return_index=True), strict=True):
        first[int(code)] = int(rows[position])
    present = [code for code in np.argsort(train, kind="stable").tolist() if train[code]]

    def classes(code: str, chosen: list[int], what: str, advice: str, warn: bool = True) -> Iterator[Finding]:
        if chosen:
            examples = tuple(
                Example(scan.where(first[one]), f'"{scan.labels[one]}", {train[one]:,} rows')
                for one in chosen[:3]
            )
            yield Finding(code, "warning" if warn else "note", "train", len(chosen), what, examples, advice)

    if len(present) > max(_MIN_ROWS // 2, train.sum() / 2):
        yield from classes(
            "many-labels",
            present,
            f"labels for {train.sum():,} rows: more texts or numbers than classes",
            f"data.label_column is {config.label_column}: is it the right column?",
        )
        return
    few = [code for code in present if train[code] < _FEW_ROWS]
    yield from classes(
        "rare-classes",
        few,
        f"classes with fewer than {_FEW_ROWS} rows to learn from",
        "add rows or merge classes",
    )
    if "dev" in scan.splits and len(scan.splits["dev"]):
        dev = counts(scan, "dev")
        yield from classes(
            "classes-without-dev",
            [code for code in present if not dev[code]],
            "classes without a row in dev: no epoch is chosen by them",
            "raise data.dev, or give dev a file of its own"
            if isinstance(config.dev, float)
            else "add rows to dev",
        )
    uneven = [code for code in present if train[code] * _UNEVEN <= train[present[-1]]]
    yield from classes(
        "imbalance",
        uneven,
        f"classes at least {_UNEVEN} times rarer than the commonest",
        "look at macro F1 rather than accuracy; try task.class_weights: balanced",
        warn=False,
    )


def _ordered(scan: Scan) -> Iterator[Finding]:
    """Far fewer changes of label from row to row than a shuffled file has."""
    rows = np.sort(scan.readable("train"))
    found = scan.table["label"][rows]
    shares = np.bincount(found, minlength=1) / max(len(found), 1)
    expected = (1 - float((shares**2).sum())) * (len(found) - 1)
    changes = np.flatnonzero(found[1:] != found[:-1]) + 1
    if len(found) >= _MIN_ROWS and len(changes) < 0.2 * expected:
        examples = tuple(
            Example(scan.where(row), f"here {scan.label(row)} begins") for row in rows[changes[:3]]
        )
        yield Finding(
            "sorted-by-label",
            "note",
            "train",
            len(changes),
            f"changes of label from row to row, where a shuffled file has about {expected:,.0f}",
            examples,
            "harmless here, every epoch is shuffled and dev drawn from all rows; other programs cut off the end",
        )
