"""The dev and test rows that are cut from train: stratified, repeatable, and never a text on both sides."""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections.abc import Iterable

import numpy as np

from lstm_cli.arrays import Int32, Mask, UInt64
from lstm_cli.data.rows import Content, Row


def held_out_mask(
    rows: Iterable[Row[Content]], fraction: float, seed: int, *, stratified: bool = True
) -> Mask:
    """(N,) True for the rows to hold out: `fraction` of every stratum (of a text: its label), rounded, and never the
    last row of one. Not `stratified`: `fraction` of them all.

    Copies of one content are held out together or not at all. Which rows are held out depends on the seed and on the
    rows, not on their order. Costs 12 bytes a row while reading and at most 50 after it.
    """
    return _choose(*_read(rows, str(seed).encode(), stratified), fraction)


def folds(rows: Iterable[Row[Content]], count: int) -> Int32:
    """(N,) the part that each row is in, from 1 to `count`: every stratum (of a text: its label) is spread evenly.

    Copies of one content are in one part. Which one depends on the rows alone, not on their order. A stratum that lies
    in one part whole would be lost to the training that is scored on that part: one of its contents is in no part (0),
    so that every training learns from it.
    """
    hashes, labels = _read(rows, b"", True)
    group_of, sizes, stratum = _strata(hashes, labels)
    part = np.zeros(len(sizes), np.int32)
    count = min(count, len(sizes))  # more parts than texts: those above stay empty
    rows_in = [0] * (count + 1)
    for label in range(int(labels.max(initial=-1)) + 1):
        groups = np.flatnonzero(stratum == label)
        # the largest first, so that single rows even out what they leave; what is left over goes to the smallest part
        emptiest = [(0, rows_in[number], number) for number in range(1, count + 1)]
        heapq.heapify(emptiest)
        for group in groups[np.argsort(-sizes[groups], kind="stable")].tolist():
            of_label, in_all, number = emptiest[0]
            size = int(sizes[group])
            heapq.heapreplace(emptiest, (of_label + size, in_all + size, number))
            part[group] = number
            rows_in[number] = in_all + size
    for label in range(int(labels.max(initial=-1)) + 1):
        groups = np.unique(group_of[labels == label])
        if (part[groups] == part[groups[0]]).all():
            part[groups[0]] = 0
    return part[group_of]


def _read(rows: Iterable[Row[Content]], key: bytes, stratified: bool) -> tuple[UInt64, Int32]:
    """(N,) a hash of each row's content under `key`, (N,) the number of its stratum, 0 for all if not `stratified`."""
    hashes = bytearray()
    codes = array("i")
    code_of: dict[str | None, int] = {}
    for row in rows:
        hashes += _hash(row.content.key(), key)
        stratum = row.content.stratum() if stratified else None
        codes.append(code_of.setdefault(stratum, len(code_of)))
    # numbered from the rarest on, then by name, so that the order of the rows decides nothing
    known = np.bincount(np.frombuffer(codes, np.int32), minlength=len(code_of))
    in_order = sorted(code_of, key=lambda label: (known[code_of[label]], str(label)))
    rank = np.zeros(len(code_of), np.int32)
    rank[[code_of[label] for label in in_order]] = np.arange(len(code_of))
    return np.frombuffer(hashes, np.uint64), rank[np.frombuffer(codes, np.int32)]


def content_hashes(rows: Iterable[Row[Content]]) -> UInt64:
    """(N,) equal for copies of one content; two that differ are equal once in 2**64 pairs."""
    hashes = bytearray()
    for row in rows:
        hashes += _hash(row.content.key(), b"")
    return np.frombuffer(hashes, np.uint64)


def _hash(content: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8, key=key).digest()


def _choose(hashes: UInt64, labels: Int32, fraction: float) -> Mask:
    """Groups of equal hash, in the order of the hash (the seed has keyed it), until each label is full."""
    num_labels = int(labels.max(initial=-1)) + 1
    group_of, sizes, stratum = _strata(hashes, labels)
    chosen = np.zeros(len(sizes), np.bool_)
    for label in range(num_labels):
        groups = np.flatnonzero(stratum == label)
        chosen[groups[_fill(sizes[groups], fraction)]] = True
    mask: Mask = chosen[group_of]
    for absent in np.flatnonzero(np.bincount(labels[~mask], minlength=num_labels) == 0):
        given_back = group_of[labels == absent].min()  # all its texts went to dev: one comes back
        mask[group_of == given_back] = False
    return mask


def _strata(hashes: UInt64, labels: Int32) -> tuple[Int32, Int32, Int32]:
    """As `_groups`, and (G,) each group's label: of a text under several labels it is the rarest of them."""
    group_of, sizes = _groups(hashes)
    stratum = np.full(len(sizes), labels.max(initial=0), np.int32)
    np.minimum.at(stratum, group_of, labels)
    return group_of, sizes, stratum


def _groups(hashes: UInt64) -> tuple[Int32, Int32]:
    """(N,) -> (N,) the rank of each row's hash, (G,) the rows of each: np.unique in half of its memory."""
    order = np.argsort(hashes).astype(np.int32)
    in_order = hashes[order]
    begins = np.zeros(len(hashes), np.bool_)
    begins[1:] = in_order[1:] != in_order[:-1]
    group_of = np.empty(len(hashes), np.int32)
    group_of[order] = np.cumsum(begins, dtype=np.int32)
    return group_of, np.bincount(group_of).astype(np.int32)


def _fill(sizes: Int32, fraction: float) -> Mask:
    """Which groups to take, from the first on, so that they sum to `fraction` of all rows and not to more."""
    wanted = round(fraction * int(sizes.sum()))
    taken: Mask = np.cumsum(sizes) <= wanted
    missing = wanted - int(sizes[taken].sum())
    for at in np.flatnonzero(~taken):  # past a group that was too large; without one nothing is missing
        if missing <= 0:
            break
        if sizes[at] <= missing:
            taken[at] = True
            missing -= int(sizes[at])
    return taken
