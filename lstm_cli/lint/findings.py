"""What a finding is, and the one place where all of them come from.

Severities, and why:

- **error**: a training refuses the data (rows that cannot be read, labels that train lacks, one class), or a score
  from it is a lie: rows of the split that is scored (test; dev where there is no test) stand in train letter by letter,
  or one class is spelled in two ways, so that right answers count as wrong. One such row is enough: `--fix` mends it.
- **warning**: it trains and scores, but rows teach nothing or something wrong: copies, one text under two labels,
  damaged text, near copies across splits (which may also be honest: short texts recur, templates resemble each other).
- **note**: a fact to know before reading the scores: near copies within a split, markup, imbalance, an order.
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
    """A row, `file:line`, and what is to be said of it, if anything."""

    where: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}" if self.detail else self.where


@dataclass(frozen=True, slots=True)
class Finding:
    """`count` of `what` in `split`, up to three examples, and what to do. `code` is the name that programs rely on."""

    code: str
    severity: Severity
    split: str
    count: int
    what: str
    examples: tuple[Example, ...]
    advice: str

    def headline(self) -> str:
        return f"{self.split}: {self.what}: {self.count:,}"

    def lines(self) -> list[str]:
        """The examples, and what to do."""
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
    """A finding about these rows of the table, by number; none where there are none."""
    if len(rows):
        examples = tuple(Example(scan.where(int(row)), detail(int(row))) for row in rows[:SHOWN])
        yield Finding(code, severity, split, len(rows), what, examples, advice)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes; otherwise as they come."""
    return tuple(sorted(findings, key=lambda finding: _RANK.index(finding.severity)))
