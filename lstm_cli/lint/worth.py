"""What the scores of a training will be worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lstm_cli.data.rows import Content
from lstm_cli.data.sources import DataConfig, Splits, open_rows
from lstm_cli.lint.copies import copies
from lstm_cli.lint.findings import Finding, in_order
from lstm_cli.lint.labels import labels
from lstm_cli.lint.scan import Scan, masks_of, scan

_FEW_ROWS = 500
_MATTERS = {
    *("rare-classes", "classes-without-dev", "many-labels", "label-spellings"),
    *("exact-leak", "normalised-leak", "near-leak"),
    *("few-rows", "no-test"),
}


def worth(scan: Scan) -> Iterator[Finding]:
    """Findings about the number of training rows, and about a split that nothing was chosen on."""
    rows = len(scan.splits.get("train", ()))
    if scan.holds_text and 0 < rows < _FEW_ROWS:
        yield Finding(
            "few-rows",
            "note",
            "train",
            rows,
            "few rows",
            (),
            f"with fewer than {_FEW_ROWS} expect no gain over a bag of words; --folds 10 scores every row",
        )
    if "test" not in scan.splits and len(scan.splits.get("dev", ())):
        yield Finding(
            "no-test",
            "note",
            "dev",
            len(scan.splits["dev"]),
            "rows that are scored and on which the best epoch is chosen, because there is no data.test",
            (),
            "such scores are too good; try --set data.test=0.1",
        )


def before_training(config: DataConfig, splits: Splits[Content], content: type[Content]) -> list[Finding]:
    """Those findings of `lstmcls check` without which the scores of a training would be misread.

    It takes 3 s for 25,000 film reviews. Raises DataError.
    """
    sources = {
        role: open_rows(paths, config, role, labelled=True, content=content)
        for role, paths in config.sources().items()
    }
    scanned = scan(sources, config, content, masks_of(splits))
    found = in_order([*labels(scanned, config), *copies(scanned), *worth(scanned)])
    return [replace(one, severity="warning") for one in found if one.code in _MATTERS]
