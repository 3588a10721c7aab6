"""Dev and test rows that are cut from train: stratified, repeatable, and all copies of a content on one side.

If rows have groups, all rows of a group are on one side too. A content that several groups share, such as "thank you",
would connect them all. So where its groups are on different sides, all of its copies stay in train.
"""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lstm_cli.arrays import Int32, Int64, Mask, UInt64
from lstm_cli.data.rows import Content, Row


def held_out_mask(
    rows: Iterable[Row[Content]], fraction: float, seed: int, *, stratified: bool = True, leave: int = 1
) -> Mask:
    """(N,) True for the rows to hold out: `fraction` of every stratum (for texts, of every label), rounded.

    At least `leave` contents of every stratum stay, or all if there are fewer; of a stratum with more, at least one is
    held out. All copies of a content are held out, or none. If rows have groups, all of this is about whole groups; if
    they are large, the fraction is met roughly. Without `stratified`, labels and groups are ignored, and it is
    `fraction` of all rows. The choice depends on the seed and on the rows, not on their order. It takes 20 bytes per
    row while reading and at most 60 afterwards.
    """
    read = _read(rows, str(seed).encode(), stratified)
    held_out = _choose(read.together, read.labels, fraction, leave)
    if read.has_groups:
        held_out &= ~_divided(read.contents, held_out.astype(np.int32))
    return held_out


def folds(rows: Iterable[Row[Content]], count: int) -> Int32:
    """(N,) the fold of each row, from 1 to `count`; every stratum (for texts, every label) is distributed evenly.

    All copies of a content are in one fold. The fold depends on the rows alone, not on their order. If all rows of a
    stratum were in one fold, the training that is scored on that fold would never see that stratum. So one content of
    such a stratum is in no fold (0), and every training learns from it. If rows have groups, all of this is about whole
    groups, and a content of groups in several folds is in no fold.
    """
    read = _read(rows, b"", True)
    labels = read.labels
    group_of, sizes, stratum = _strata(read.together, labels)
    fold_of = np.zeros(len(sizes), np.int32)
    count = min(count, len(sizes))  # with more folds than contents the last ones stay empty
    rows_in = [0] * (count + 1)
    for label in range(int(labels.max(initial=-1)) + 1):
        groups = np.flatnonzero(stratum == label)
        # the largest groups first, so that small ones can balance the folds; each goes to the smallest fold
        emptiest = [(0, rows_in[number], number) for number in range(1, count + 1)]
        heapq.heapify(emptiest)
        for group in groups[np.argsort(-sizes[groups], kind="stable")].tolist():
            of_label, in_all, number = emptiest[0]
            size = int(sizes[group])
            heapq.heapreplace(emptiest, (of_label + size, in_all + size, number))
            fold_of[group] = number
            rows_in[number] = in_all + size
    for label in range(int(labels.max(initial=-1)) + 1):
        groups = np.unique(group_of[labels == label])
        if (fold_of[groups] == fold_of[groups[0]]).all():
            fold_of[groups[0]] = 0
    of_rows: Int32 = fold_of[group_of]
    if read.has_groups:
        of_rows[_divided(read.contents, of_rows)] = 0
    return of_rows


@dataclass(frozen=True, slots=True)
class _Read:
    """(N,) a hash of each content, (N,) one of what must stay together, and (N,) the number of each row's stratum."""

    contents: UInt64
    together: UInt64
    labels: Int32

    @property
    def has_groups(self) -> bool:
        return self.together is not self.contents


def _read(rows: Iterable[Row[Content]], key: bytes, stratified: bool) -> _Read:
    """Read the rows and hash them with `key`. If not `stratified`, every stratum is 0, and there are no groups."""
    hashes, groups = bytearray(), bytearray()
    codes = array("i")
    code_of: dict[str | None, int] = {}
    for row in rows:
        content = _hash(row.content.key(), key)
        hashes += content
        has_group = stratified and row.group is not None
        groups += _hash(f"group {row.group}".encode(), key) if has_group else content
        stratum = row.content.stratum() if stratified else None
        codes.append(code_of.setdefault(stratum, len(code_of)))
    # numbered by frequency, the rarest first, then by name, so that the order of the rows has no influence
    known = np.bincount(np.frombuffer(codes, np.int32), minlength=len(code_of))
    in_order = sorted(code_of, key=lambda label: (known[code_of[label]], str(label)))
    rank = np.zeros(len(code_of), np.int32)
    rank[[code_of[label] for label in in_order]] = np.arange(len(code_of))
    contents = np.frombuffer(hashes, np.uint64)
    together = contents if groups == hashes else np.frombuffer(groups, np.uint64)
    return _Read(contents, together, rank[np.frombuffer(codes, np.int32)])


def _divided(contents: UInt64, side_of: Int32) -> Mask:
    """(N,) True for the rows whose content has copies on several sides."""
    content_of, copies = _groups(contents)
    lowest = np.full(len(copies), side_of.max(initial=0), np.int32)
    highest = np.zeros(len(copies), np.int32)
    np.minimum.at(lowest, content_of, side_of)
    np.maximum.at(highest, content_of, side_of)
    divided: Mask = (lowest != highest)[content_of]
    return divided


def content_hashes(rows: Iterable[Row[Content]]) -> UInt64:
    """(N,) hashes, equal for copies of one content.

    Two different contents have the same hash with probability 2**-64.
    """
    hashes = bytearray()
    for row in rows:
        hashes += _hash(row.content.key(), b"")
    return np.frombuffer(hashes, np.uint64)


def _hash(content: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8, key=key).digest()


def _choose(hashes: UInt64, labels: Int32, fraction: float, leave: int) -> Mask:
    """Choose groups of rows with equal hashes until every label has its fraction.

    The seed is the key of the hash, so it decides the order of the groups.
    """
    num_labels = int(labels.max(initial=-1)) + 1
    group_of, sizes, stratum = _strata(hashes, labels)
    chosen = np.zeros(len(sizes), np.bool_)
    for label in range(num_labels):
        groups = np.flatnonzero(stratum == label)
        chosen[groups[_fill(sizes[groups], fraction)]] = True
    by_label = _groups_by_label(group_of, len(sizes), labels, num_labels)
    for groups in by_label:  # a label with few texts can have none held out: it gives its smallest one
        if len(groups) > leave and not chosen[groups].any():
            chosen[groups[sizes[groups].argmin()]] = True
    for groups in by_label:  # or too many: it gets some back
        missing = min(leave, len(groups)) - int((~chosen[groups]).sum())
        chosen[groups[chosen[groups]][: max(missing, 0)]] = False
    mask: Mask = chosen[group_of]
    return mask


def _groups_by_label(group_of: Int32, num_groups: int, labels: Int32, num_labels: int) -> list[Int64]:
    """For each label, the numbers of the groups that have a row with it, in order."""
    pairs = np.unique(labels.astype(np.int64) * num_groups + group_of)
    return np.split(pairs % num_groups, np.searchsorted(pairs, np.arange(1, num_labels) * num_groups))


def _strata(hashes: UInt64, labels: Int32) -> tuple[Int32, Int32, Int32]:
    """The result of `_groups`, and (G,) the label of each group. If a group has several labels, it is the rarest."""
    group_of, sizes = _groups(hashes)
    stratum = np.full(len(sizes), labels.max(initial=0), np.int32)
    np.minimum.at(stratum, group_of, labels)
    return group_of, sizes, stratum


def _groups(hashes: UInt64) -> tuple[Int32, Int32]:
    """(N,) -> (N,) the group of each row, (G,) the number of rows of each group.

    As np.unique, with half of its memory.
    """
    order = np.argsort(hashes).astype(np.int32)
    in_order = hashes[order]
    begins = np.zeros(len(hashes), np.bool_)
    begins[1:] = in_order[1:] != in_order[:-1]
    group_of = np.empty(len(hashes), np.int32)
    group_of[order] = np.cumsum(begins, dtype=np.int32)
    return group_of, np.bincount(group_of).astype(np.int32)


def _fill(sizes: Int32, fraction: float) -> Mask:
    """(G,) -> (G,) the groups to take, from the first on: as many as fit into `fraction` of all rows."""
    wanted = round(fraction * int(sizes.sum()))
    taken: Mask = np.cumsum(sizes) <= wanted
    missing = wanted - int(sizes[taken].sum())
    for at in np.flatnonzero(~taken):  # skip groups that are too large
        if missing <= 0:
            break
        if sizes[at] <= missing:
            taken[at] = True
            missing -= int(sizes[at])
    return taken
