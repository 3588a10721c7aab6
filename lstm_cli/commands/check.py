"""`lstmcls check`: reads config and data as a training would, says what is wrong with them, and trains nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from pathlib import Path

import numpy as np

from lstm_cli.baselines import out_of_sample
from lstm_cli.config import RunConfig, load_config
from lstm_cli.console import Screen
from lstm_cli.data.sources import DataConfig, Rows, Splits, load_splits, open_rows
from lstm_cli.data.store import TokenStore
from lstm_cli.errors import DataError
from lstm_cli.lint.copies import copies
from lstm_cli.lint.damage import damage
from lstm_cli.lint.findings import Example, Finding, in_order
from lstm_cli.lint.fix import check_target, fix, log_path
from lstm_cli.lint.labels import labels
from lstm_cli.lint.scan import Scan, scan
from lstm_cli.lint.survey import Survey, coverage, survey
from lstm_cli.lint.suspects import Suspect, rank
from lstm_cli.runtime import start
from lstm_cli.tasks import Classify

_SHOWN_CLASSES, _SHOWN_SUSPECTS = 20, 20


def check(
    source: str,
    overrides: Sequence[str],
    screen: Screen,
    *,
    as_json: bool,
    fix_to: Path | None,
    suspects: bool,
) -> None:
    """Show splits, labels, model and every finding. Raises DataError, which is exit code 3, where one is an error."""
    config = load_config(source, overrides)
    runtime = start(config.run)
    if fix_to is not None:
        check_target(fix_to, config.data)
    sources, splits = _open(config)
    cut = splits.dev.selected if isinstance(splits, Splits) and isinstance(config.data.dev, float) else None
    scanned = scan(sources, config.data, cut)
    strips_markup = config.task.tokenizer.strip_markup
    found = [*damage(scanned, config.data, strips_markup), *labels(scanned, config.data), *copies(scanned)]
    learned = _learn(config, splits)
    stores: dict[str, TokenStore] = {}
    if isinstance(learned, DataError):
        found += _refusal(learned, found)
    else:
        task, stores = learned
        screen.stages(task.build_model().stages())
    surveys = survey(scanned, stores)
    found += coverage(surveys, config.task.max_tokens)
    ordered = in_order(found)
    suspected = _suspects(scanned, sources["train"], config.run.seed) if suspects else []
    _show(screen, surveys, ordered, scanned, suspected)
    screen.say(f"would run on {runtime.why}")
    if as_json:
        _print_json(scanned, surveys, ordered, suspected if suspects else None)
    errors = ["\n  ".join([one.headline(), *one.lines()]) for one in ordered if one.severity == "error"]
    if fix_to is not None:
        errors += _fix(config.data, fix_to, screen)
    if errors:
        raise DataError("\n".join(errors))
    screen.say("config and data are usable")


def _open(config: RunConfig) -> tuple[dict[str, Rows | DataError], Splits | DataError]:
    """Every source with its rows, those that cannot be read too, and the splits that a training would make of them."""
    sources: dict[str, Rows | DataError] = {}
    for role, paths in (("train", config.data.train), ("dev", config.data.dev), ("test", config.data.test)):
        if isinstance(paths, str | list):
            try:
                sources[role] = open_rows(paths, config.data, role, labelled=True, on_error="row")
            except DataError as fault:
                sources[role] = fault
    try:
        return sources, load_splits(config.data, config.run.seed, on_error="row")
    except DataError as fault:
        return sources, fault


def _learn(
    config: RunConfig, splits: Splits | DataError
) -> tuple[Classify, dict[str, TokenStore]] | DataError:
    """The task with every split encoded, or what a training would stop at."""
    if isinstance(splits, DataError):
        return splits
    rows = {"train": splits.train, "dev": splits.dev} | (
        {"test": splits.test} if splits.test is not None else {}
    )
    try:
        task = config.task.fit(splits.train)
        return task, {name: task.encode(split) for name, split in rows.items()}
    except DataError as fault:
        return fault


def _refusal(fault: DataError, found: Sequence[Finding]) -> Iterator[Finding]:
    """A finding for what a training stops at, unless it is one already."""
    if not any(finding.code in ("unreadable", "unknown-labels") for finding in found):
        where, _, what = str(fault).partition(": ")
        advice = "mend this first: no training starts"
        yield Finding(
            "refused", "error", "train", 1, "fault in the data as a whole", (Example(where, what),), advice
        )


def _suspects(scanned: Scan, rows: Rows | DataError, seed: int) -> list[tuple[int, Suspect]]:
    """The suspicious rows of data.train by their number, the most suspicious first."""
    readable = scanned.readable("train")
    if isinstance(rows, DataError) or len(readable) < 2:
        return []
    chosen = np.zeros(len(scanned.table), np.bool_)
    chosen[readable] = True
    texts = [row.text for row in compress(rows, chosen)]
    targets = scanned.table["label"][readable].astype(np.int64)
    scored = out_of_sample(texts, targets, len(scanned.labels), seed)
    if scored is None:
        return []
    ranked = rank(scored.probs, targets[scored.rows])
    return [(int(readable[scored.rows[one.row]]), one) for one in ranked]


def _fix(config: DataConfig, out: Path, screen: Screen) -> list[str]:
    """Write the cleaned copy and say what changed. Returns why it could not be written, if so."""
    try:
        fixed = fix(config, out)
    except DataError as fault:
        return [f"--fix wrote nothing: {fault}"]
    changes = ", ".join(f"{what} {count:,}" for what, count in fixed.changes.items()) or "nothing to change"
    screen.say(f"wrote {out}: {fixed.written:,} of {fixed.read:,} rows ({changes}); log: {log_path(out)}")
    by_name = "" if config.format in ("auto", out.suffix[1:]) else " --set data.format=auto"
    screen.say(f"next: the same command with --set data.train={out}{by_name} in place of --fix")
    return []


def _show(
    screen: Screen,
    surveys: Mapping[str, Survey],
    found: Sequence[Finding],
    scanned: Scan,
    suspected: Sequence[tuple[int, Suspect]],
) -> None:
    """Tables of splits and labels, every finding that is no error (those end the command), the first suspects."""
    shares = [
        ["–" if share is None else f"{share:.1%}" for share in (one.truncated, one.unknown)]
        for one in surveys.values()
    ]
    rows = [
        [name, *(f"{n:,}" for n in (one.rows, one.median, one.p95, one.longest)), *share]
        for (name, one), share in zip(surveys.items(), shares, strict=True)
    ]
    screen.table("data", ["split", "rows", "median words", "95 %", "max", "cut", "unknown"], rows)
    names = list(dict.fromkeys(name for one in surveys.values() for name in one.classes))
    screen.table(
        f"labels{f' (the first {_SHOWN_CLASSES} of {len(names):,})' if len(names) > _SHOWN_CLASSES else ''}",
        ["label", *(f"{split} rows" for split in surveys), "of train"],
        [
            [
                name,
                *(f"{one.classes.get(name, 0):,}" for one in surveys.values()),
                f"{surveys['train'].classes.get(name, 0) / max(surveys['train'].rows, 1):.1%}",
            ]
            for name in names[:_SHOWN_CLASSES]
        ],
    )
    screen.findings([(one.severity, one.headline(), one.lines()) for one in found if one.severity != "error"])
    if suspected:
        screen.table(
            f"{len(suspected):,} suspicious labels (all with --json)",
            ["row", "given", "suggested", "confidence"],
            [
                [
                    scanned.where(row),
                    scanned.labels[one.given],
                    scanned.labels[one.suggested],
                    f"{one.confidence:.2f}",
                ]
                for row, one in suspected[:_SHOWN_SUSPECTS]
            ],
        )


def _print_json(
    scanned: Scan,
    surveys: Mapping[str, Survey],
    found: Sequence[Finding],
    suspected: Sequence[tuple[int, Suspect]] | None,
) -> None:
    report = {
        "splits": {name: one.to_json() for name, one in surveys.items()},
        "findings": [finding.to_json() for finding in found],
    }
    if suspected is not None:
        report["suspects"] = [
            {
                "where": scanned.where(row),
                "given": scanned.labels[one.given],
                "suggested": scanned.labels[one.suggested],
                "confidence": round(one.confidence, 4),
            }
            for row, one in suspected
        ]
    json.dump(report, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
