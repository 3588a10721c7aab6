"""Labels that a training rejects, that have two spellings, that are several in one or too rare, or that are sorted."""

from __future__ import annotations

import re
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
_IMBALANCE = 10
"""If one class has at least this many times the rows of another, accuracy says little about the smaller class."""
_LIST_OF_ONE = re.compile(r"""\[\s*(["']?)([^"'\[\],]*)\1\s*\]""")
_LIST = re.compile(r"""\s*\[(?:\s*(["']).*\1\s*)?\]\s*""", re.DOTALL)
_WHOLE_NUMBER = re.compile(r"([+-]?[0-9]+)\.0*")  # pandas writes 1 as 1.0 in a column with an empty cell
_MIN_ROWS = 50
"""Fewer rows than this can be in the order of their labels by chance."""


def labels(scan: Scan, config: DataConfig) -> Iterator[Finding]:
    """Every finding about labels. Rows without labels have none."""
    if scan.sources[0] == "train" and len(scan.splits["train"]):
        for source in scan.sources[1:]:
            yield from _unknown(scan, source)
    yield from _spellings(scan)
    yield from _several(scan)
    if (scan.table["label"][scan.readable("train")] >= 0).sum() >= 2:
        yield from _rare(scan, config)
        yield from _ordered(scan)


def fold(label: str) -> str:
    """Equal for two spellings of one label: they differ in case, in spaces, as 1 and 1.0, or as x and ['x'] do."""
    label = " ".join(label.split()).casefold()
    if (found := _LIST_OF_ONE.fullmatch(label)) and found[2].strip():
        label = found[2].strip()
    found = _WHOLE_NUMBER.fullmatch(label)
    return found[1] if found else label


def counts(scan: Scan, split: str) -> Int64:
    """(C,): the number of rows of each label in a split."""
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
    _, first = np.unique(scan.table["label"][lacking], return_index=True)  # one example of each such label
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
        "correct the labels, or add rows with them to train",
    )


def _spellings(scan: Scan) -> Iterator[Finding]:
    """Labels that are equal but for their spelling. The finding counts the rows with the rarer spellings."""
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
            f"rows whose label has a more frequent spelling: {spelled}",
            "each spelling counts as a class; "
            + ("--fix OUT gives" if scan.holds_text else "give")
            + " train one spelling",
            scan.label,
        )


def _several(scan: Scan) -> Iterator[Finding]:
    """Labels that are a list written as text, and labels of other labels joined by #, as doccano writes them."""
    lists = [code for code, name in enumerate(scan.labels) if _LIST.fullmatch(name)]
    parts = {name for name in scan.labels if "#" not in name}
    joined = [
        code for code, name in enumerate(scan.labels) if "#" in name and parts.issuperset(name.split("#"))
    ]
    for code, codes, what, advice in (
        (
            "labels-are-lists",
            lists,
            "rows whose label is a list written as text",
            "each such text counts as a class of its own: write a list of one label as the label; in JSON, a real list "
            "of one label is read as that label",
        ),
        (
            "labels-are-joined",
            joined,
            "rows whose label is several other labels joined by #",
            "each combination counts as a class of its own: give each text one label; several are not supported yet",
        ),
    ):
        rows = np.flatnonzero(np.isin(scan.table["label"], codes))
        yield from of_rows(scan, code, "warning", "all", rows, what, advice, scan.label)


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
            f"labels for {train.sum():,} rows, which look like texts or numbers and not like classes",
            f"data.label_column is {config.label_column}: is this the right column?",
        )
        return
    few = [code for code in present if train[code] < _FEW_ROWS]
    yield from classes(
        "rare-classes",
        few,
        f"classes with fewer than {_FEW_ROWS} training rows",
        "add rows or merge classes",
    )
    if "dev" in scan.splits and len(scan.splits["dev"]):
        dev = counts(scan, "dev")
        yield from classes(
            "classes-without-dev",
            [code for code in present if not dev[code]],
            "classes without a row in dev: they have no influence on the choice of the best epoch",
            "increase data.dev, or give dev a file of its own"
            if isinstance(config.dev, float)
            else "add rows to dev",
        )
    rare = [code for code in present if train[code] * _IMBALANCE <= train[present[-1]]]
    yield from classes(
        "imbalance",
        rare,
        f"classes with at least {_IMBALANCE} times fewer rows than the largest class",
        "look at macro F1 rather than accuracy; try task.class_weights: balanced",
        warn=False,
    )


def _ordered(scan: Scan) -> Iterator[Finding]:
    """A finding if the label changes from row to row far less often than in a shuffled file."""
    rows = scan.readable("train")
    rows = rows[scan.table["label"][rows] >= 0]
    found = scan.table["label"][rows]
    priors = np.bincount(found, minlength=1) / max(len(found), 1)
    expected = (1 - float((priors**2).sum())) * (len(found) - 1)
    changes = np.flatnonzero(found[1:] != found[:-1]) + 1
    if len(found) >= _MIN_ROWS and len(changes) < 0.2 * expected:
        examples = tuple(
            Example(scan.where(row), f"{scan.label(row)} begins here") for row in rows[changes[:3]]
        )
        yield Finding(
            "sorted-by-label",
            "note",
            "train",
            len(changes),
            f"changes of the label from row to row (a shuffled file has about {expected:,.0f})",
            examples,
            "harmless here, as epochs are shuffled and dev is drawn from all rows; other programs cut dev off the end",
        )
