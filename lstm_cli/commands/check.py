"""`lstmcls check`: read config and data as a training would, and report what is wrong with them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lstm_cli.config.guess import NOTHING_GIVEN, Given, config_for
from lstm_cli.config.load import RunConfig
from lstm_cli.console import Screen
from lstm_cli.data.corpus import load_corpus, open_unlabelled
from lstm_cli.data.rows import Content
from lstm_cli.data.sources import DataConfig, Rows, Splits, load_splits, open_rows
from lstm_cli.data.store import Store
from lstm_cli.errors import DataError
from lstm_cli.lint.copies import copies
from lstm_cli.lint.damage import damage, refusal
from lstm_cli.lint.findings import in_order
from lstm_cli.lint.fix import check_target, fix, log_path
from lstm_cli.lint.labels import labels
from lstm_cli.lint.report import CheckReport
from lstm_cli.lint.scan import masks_of, scan
from lstm_cli.lint.survey import coverage, survey
from lstm_cli.lint.suspects import suspects
from lstm_cli.lint.text import check_is_text
from lstm_cli.lint.worth import worth
from lstm_cli.runs.origin import Origin, named_origin
from lstm_cli.runtime import start
from lstm_cli.tasks.text import learn_tokenizer


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """The arguments of `lstmcls check`."""

    source: str
    overrides: tuple[str, ...] = ()
    as_json: bool = False
    fix_to: Path | None = None
    with_suspects: bool = False
    given: Given = NOTHING_GIVEN


def check(request: CheckRequest, screen: Screen) -> None:
    """Print splits, labels, model and every finding. Raises DataError (exit code 3) if a finding is an error."""
    config = config_for(request.source, request.given, screen.say, request.overrides, trains=True)
    if request.fix_to is not None:
        check_target(request.fix_to, config.data, config.task.content)
    if request.with_suspects:
        check_is_text(config.task.content, "--suspects")
    runtime = start(config.run)
    reader = config.task.text_reader()
    origin = named_origin(config.task, config.run.seed)
    sources, splits = _open(config, origin.dev_seed)
    scanned = scan(sources, config.data, config.task.content, masks_of(splits))
    findings = [
        *damage(scanned, config.data, bool(reader and reader.tokenizer.strip_markup)),
        *labels(scanned, config.data),
        *copies(scanned),
        *worth(scanned),
    ]
    missing = _unlabelled(config.data)
    stores: dict[str, Store] = {}
    fault = None
    if not scanned.faults:  # faults are findings already, and a row that cannot be read cannot be encoded
        stores, fault = _encode(config, splits, origin, bool(missing), screen)
    if fault is not None:
        findings += refusal(fault, findings)
    surveys = survey(scanned, stores)
    if reader:
        findings += coverage(surveys, reader.max_tokens)
    train = sources["train"]
    suspected = None
    if request.with_suspects and isinstance(train, Rows):
        suspected = suspects(scanned, train, config.run.seed)
    report = CheckReport(surveys, in_order(findings), suspected)
    if request.as_json:
        json.dump(report.to_json(), sys.stdout, indent=2)
        sys.stdout.write("\n")
    unreadable, errors = report.errors()
    errors += missing
    if scanned.is_empty:
        raise DataError("\n".join(unreadable + errors))
    if unreadable:  # first, because all numbers below leave these rows out
        screen.error(DataError("\n".join(unreadable)))
        errors.insert(0, "rows that cannot be read: see the first message")
    _show(report, screen)
    screen.say(f"a training would run on {runtime.why}")
    if request.fix_to is not None:
        errors += _fix(config.data, config.task.content, request.fix_to, screen)
    if errors:
        raise DataError("\n".join(errors))
    screen.say("config and data are usable")


def _show(report: CheckReport, screen: Screen) -> None:
    """Print the tables and all findings but the errors, which the panel at the end shows."""
    for title, columns, rows in report.tables():
        screen.table(title, columns, rows)
    screen.findings(
        [(one.severity, one.headline(), one.lines()) for one in report.findings if one.severity != "error"]
    )


def _open(
    config: RunConfig, dev_seed: int
) -> tuple[dict[str, Rows[Any] | DataError], Splits[Any] | DataError]:
    """Every source with its rows, unreadable ones included, and the splits that a training would make of them."""
    sources: dict[str, Rows[Any] | DataError] = {}
    for role, paths in config.data.sources().items():
        try:
            sources[role] = open_rows(
                paths, config.data, role, labelled=True, on_error="row", content=config.task.content
            )
        except DataError as fault:
            sources[role] = fault
    try:
        return sources, load_splits(config.data, dev_seed, on_error="row", content=config.task.content)
    except DataError as fault:
        return sources, fault


def _encode(
    config: RunConfig,
    splits: Splits[Any] | DataError,
    origin: Origin,
    unlabelled_is_missing: bool,
    screen: Screen,
) -> tuple[dict[str, Store], DataError | None]:
    """Fit the task, print the model and encode every split; or return the error that would stop a training."""
    if isinstance(splits, DataError):
        return {}, splits
    test = {} if splits.test is None else {"test": splits.test}
    reader = config.task.text_reader()
    try:
        if reader and config.task.pretrains_first and not unlabelled_is_missing:
            corpus = load_corpus(config.data, splits, config.run.seed)
            origin = replace(origin, tokenizer=learn_tokenizer(reader.tokenizer, corpus.whole))
        task = config.task.quick().fit(splits.train, origin)
        stores = {
            name: task.encode(rows)
            for name, rows in {"train": splits.train, "dev": splits.dev, **test}.items()
        }
    except DataError as fault:
        return {}, fault
    screen.stages(task.build_model().stages())
    return stores, None


def _unlabelled(config: DataConfig) -> list[str]:
    """A message if the text for `lstmcls pretrain` cannot be found, else no message."""
    try:
        if config.unlabelled is not None:
            open_unlabelled(config, config.unlabelled)
    except DataError as fault:
        return [str(fault)]
    return []


def _fix(config: DataConfig, content: type[Content], out: Path, screen: Screen) -> list[str]:
    """Write the cleaned copy and print what changed. Returns the reason if it could not be written."""
    try:
        fixed = fix(config, out, content)
    except DataError as fault:
        return [f"--fix wrote nothing: {fault}"]
    changes = ", ".join(f"{change} {count:,}" for change, count in fixed.changes.items()) or "no changes"
    screen.say(f"wrote {out}: {fixed.written:,} of {fixed.read:,} rows ({changes}); log: {log_path(out)}")
    by_name = "" if config.format in ("auto", out.suffix[1:]) else " --set data.format=auto"
    screen.say(f"next: the same command with --set data.train={out}{by_name} instead of --fix")
    return []
