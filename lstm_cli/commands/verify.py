"""`lstmcls verify`: check that a run's files are intact and that its model still gives the same predictions."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lstm_cli.config.load import RunConfig, load_config
from lstm_cli.console import Screen
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows, load_splits, open_rows
from lstm_cli.errors import CheckpointError, DataError, LstmclsError
from lstm_cli.runs.checkpoint import Checkpoint, exists, load_checkpoint
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runs.swap import read_together, settled
from lstm_cli.runtime import Runtime, start
from lstm_cli.scoring.abilities import verifiable
from lstm_cli.scoring.verification import TOLERANCE, Check, checks, compare, predicted
from lstm_cli.tasks.base import Outputs, Task

_SAMPLE_ROWS = 48
_MAX_METRICS_BYTES = 2**28  # a confusion matrix of 5,000 classes takes 100 MB
_MAX_BYTES, _MAX_ROW_BYTES = 2**16, 2**16
"""Limits on predictions.jsonl: for itself and for each row. A probability takes up to 30 bytes, and its label."""


def verify(source: str, overrides: Sequence[str], screen: Screen, *, as_json: bool) -> None:
    """Check a run's files and the predictions of its best model.

    Raises LstmclsError if a check fails, CheckpointError if there is no model to check.
    """
    config = load_config(source, overrides)
    run = RunFolder.open(Path(config.run.dir))
    runtime = start(config.run, trains=False)
    best = load_checkpoint(run.best)
    task, model = best.load(runtime.device)
    samples = [_sample(run, config, split) for split in ("test", "dev")]
    own = next((sample.rows for sample in samples if sample.rows), ())
    synthetic = _synthetic_rows(task)
    rows = [*synthetic[:1], *own] if own else synthetic  # the first one is as short as a row can be
    results = [_check_files(best), _check_last(run, runtime)]
    if rows:
        results += checks(task, model, rows, runtime)
    results += [
        _check_stored(run, best, sample, task, lambda rows: predicted(task, model, rows, runtime))
        for sample in samples
    ]
    note = "" if own else "; the run's own rows cannot be read, so synthetic rows are used"
    screen.say(f"{run.path}: {best.name}, on {runtime.why}{note}")
    _report(results, run, best, screen, as_json=as_json)


def _report(
    results: Sequence[Check], run: RunFolder, best: Checkpoint, screen: Screen, *, as_json: bool
) -> None:
    lines = [
        [
            check.name,
            check.compared,
            "" if check.difference is None else f"{check.difference:.1e}",
            check.result,
        ]
        for check in results
    ]
    title = f"no output may differ by more than {TOLERANCE:.0e}"
    screen.table(title, ["check", "compared", "difference", ""], lines)
    for check in results:
        if check.result == "skipped":
            screen.say(f"skipped: {check.name}: {check.note}")
    failed = [check for check in results if check.result == "FAILED"]
    if as_json:
        content = {
            "run": str(run.path),
            "checkpoint": best.name,
            "tolerance": TOLERANCE,
            "ok": not failed,
            "checks": [dataclasses.asdict(check) for check in results],
        }
        json.dump(content, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    if failed:
        raise LstmclsError("\n".join(f"FAILED: {check.name}: {check.note}" for check in failed))


def _check_files(saved: Checkpoint, name: str = "best") -> Check:
    """The check of a checkpoint's files. A checkpoint that was loaded has the saved SHA-256 for each file."""
    compared = f"{len(saved.files)} files with their SHA-256"
    if saved.newer_fault:
        return Check(
            f"files of {name}",
            compared,
            "FAILED",
            note=f"{saved.newer_fault}; {saved.folder} is used instead",
        )
    return Check(f"files of {name}", compared, "ok")


def _check_last(run: RunFolder, runtime: Runtime) -> Check:
    if not exists(run.last):
        return Check("files of last", "", "skipped", note="none was saved")
    try:
        last = load_checkpoint(run.last)
        last.load(runtime.device)
    except CheckpointError as fault:
        return Check("files of last", "", "FAILED", note=str(fault))
    return _check_files(last, "last")


@dataclass(frozen=True, slots=True)
class _Sample:
    """Rows taken at regular intervals from a split, or the reason why there are none."""

    split: str
    why_not: str | None = None
    digest: str = ""
    num_rows: int = 0
    indices: Sequence[int] = ()
    rows: Sequence[Row[Any]] = ()


def _sample(run: RunFolder, config: RunConfig, split: str) -> _Sample:
    try:
        rows = _rows(run, config, split)
        if rows is None:
            return _Sample(split, "the config has no such rows")
        indices = dict.fromkeys(np.linspace(0, len(rows) - 1, _SAMPLE_ROWS).astype(int).tolist())
        chosen = [row for i, row in enumerate(rows) if i in indices]
        return _Sample(split, None, rows.digest(), len(rows), list(indices), chosen)
    except DataError as fault:
        return _Sample(split, f"its rows cannot be read ({fault})")


def _rows(run: RunFolder, config: RunConfig, split: str) -> Rows[Any] | None:
    data = config.data
    # dev needs no test rows, and test needs no other rows
    if (test := data.sources().get("test")) is not None:
        if split == "test":
            return open_rows(test, data, "test", labelled=True, content=config.task.content)
        data = data.model_copy(update={"test": None})
    splits = load_splits(data, run.dev_seed(config.run.seed), content=config.task.content)
    return splits.test if split == "test" else splits.dev


def _synthetic_rows(task: Task) -> list[Row[Any]]:
    ability = verifiable(task)
    return ability.synthetic_rows(np.random.default_rng(0)) if ability else []


def _check_stored(
    run: RunFolder,
    best: Checkpoint,
    sample: _Sample,
    task: Task,
    predict: Callable[[Sequence[Row[Any]]], Outputs],
) -> Check:
    """Check that the rows of an evaluation still get the stored predictions."""
    name, folder = f"stored answers of {sample.split}", settled(run.evaluation(sample.split))
    if not (folder / "predictions.jsonl").exists():
        return Check(name, "", "skipped", note="this split was never scored")
    if sample.why_not:
        return Check(name, "", "skipped", note=sample.why_not)
    ability = verifiable(task)
    if ability is None:
        return Check(name, "", "skipped", note="this kind of task cannot read its stored predictions")
    known = run.read_environment().get("data", {}).get(sample.split, {}).get("sha256")
    if known != sample.digest:
        return Check(name, "", "skipped", note="its rows have changed since the run began")
    try:
        metrics, predictions = read_together(
            folder,
            {
                "metrics.json": _MAX_METRICS_BYTES,
                "predictions.jsonl": _MAX_BYTES + _MAX_ROW_BYTES * sample.num_rows,
            },
        )
        scored = str(json.loads(metrics)["checkpoint"])
        if _without_digest(scored) != _without_digest(best.name):
            return Check(name, "", "skipped", note=f"the predictions are from another checkpoint ({scored})")
        lines = predictions.removesuffix(b"\n").split(b"\n")
        if len(lines) != sample.num_rows:
            raise ValueError(f"{len(lines)} lines for {sample.num_rows} rows")
        stored = ability.stored_outputs([json.loads(lines[i]) for i in sample.indices])
        given = predict(sample.rows)
        check = compare(name, f"{len(stored)} of {sample.num_rows:,} rows", [stored], [given])
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as fault:
        return Check(name, "", "FAILED", note=f"{folder}: its files are not those of an evaluation ({fault})")
    if check.result == "ok" and scored != best.name:
        return dataclasses.replace(
            check, result="FAILED", note=f"the scored model was {scored}, this one is {best.name}"
        )
    return check


def _without_digest(name: str) -> str:
    return name.rpartition(", sha256 ")[0]
