"""What a finding is, and the severities.

- **error**: a training refuses the data (rows that cannot be read, labels that train lacks, fewer than two labels), or
  a score on it would be misleading: an exact copy of a training row is in the split that is scored (test, or dev if
  there is no test), or one class has two spellings, so that right predictions count as wrong. One such row is enough
  for an error, because `--fix` can repair it.
- **warning**: the data trains and scores, but some rows teach the model nothing, or something wrong: copies, one text
  under two labels, damaged text, near copies across splits (which can be legitimate: short texts recur, and so do
  templates).
- **note**: good to know before reading the scores: near copies within a split, markup, imbalance, sorted rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lstm_cli.lint.scan import Scan

Severity = Literal["error", "warning", "note"]
_RANK = ("error", "warning", "note")
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Example:
    """One row, given as `file:line`, and a detail about it, which may be empty."""

    where: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}" if self.detail else self.where


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of fault in one split: how many (`count`) of `what`, up to three examples, and advice.

    Programs rely on `code`.
    """

    code: str
    severity: Severity
    split: str
    count: int
    what: str
    examples: tuple[Example, ...]
    advice: str

    def headline(self) -> str:
        """The split, what was found and how often, as one line."""
        return f"{self.split}: {self.what}: {self.count:,}"

    def lines(self) -> list[str]:
        """The examples, then the advice."""
        return [*map(str, self.examples), f"→ {self.advice}"]


def of_rows(
    scan: Scan,
    code: str,
    severity: Severity,
    split: str,
    rows: Sequence[int] | Any,
    what: str,
    advice: str,
    detail: Callable[[int], str] = lambda _: "",
) -> Iterator[Finding]:
    """One finding about the rows of the table with these indices; no finding if there are none."""
    if len(rows):
        examples = tuple(Example(scan.where(int(row)), detail(int(row))) for row in rows[:SHOWN])
        yield Finding(code, severity, split, len(rows), what, examples, advice)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes; within each severity in the given order."""
    return tuple(sorted(findings, key=lambda finding: _RANK.index(finding.severity)))
