"""Findings about rows that a test spells out; line numbers count from 1 in each split."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from lstm_cli.data.sources import DataConfig
from lstm_cli.data.text import Text, text_row
from lstm_cli.lint.copies import copies
from lstm_cli.lint.damage import damage
from lstm_cli.lint.findings import Finding, in_order
from lstm_cli.lint.labels import labels
from lstm_cli.lint.scan import Scan, scan

Pairs = Iterable[tuple[str, str]]
Found = Callable[..., dict[str, Finding]]


def scanned(train: Pairs, dev: Pairs = (), test: Pairs = (), config: DataConfig | None = None) -> Scan:
    splits = {"train": train, "dev": dev, "test": test}
    rows = {
        name: [text_row(text, label, f"{name}.csv", line) for line, (text, label) in enumerate(pairs, 1)]
        for name, pairs in splits.items()
    }
    config = config or DataConfig(train="train.csv", dev="dev.csv")
    return scan({name: of for name, of in rows.items() if of}, config, Text)


def found_in(
    train: Pairs, dev: Pairs = (), test: Pairs = (), strips_markup: bool = False
) -> dict[str, Finding]:
    """Every finding by its code and split, such as `exact-leak train → test`."""
    config = DataConfig(train="train.csv", dev="dev.csv")
    table = scanned(train, dev, test, config)
    everything = in_order([*damage(table, config, strips_markup), *labels(table, config), *copies(table)])
    return {f"{finding.code} {finding.split}": finding for finding in everything}


@pytest.fixture
def found() -> Found:
    return found_in
