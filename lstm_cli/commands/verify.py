"""`lstmcls verify`: check that a run's files are intact and that its model still gives the same predictions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lstm_cli.commands.checks import print_json, show_checks
from lstm_cli.config.load import RunConfig, load_config
from lstm_cli.console import Screen
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows, load_splits, open_rows
from lstm_cli.errors import CheckpointError, ConfigError, DataError, LstmclsError
from lstm_cli.runs.checkpoint import Checkpoint, exists, load_checkpoint
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runs.group import RunGroup
from lstm_cli.runs.models import Models, open_models
from lstm_cli.runs.swap import read_together, settled
from lstm_cli.runtime import Runtime, start
from lstm_cli.scoring.abilities import verifiable
from lstm_cli.scoring.comparison import TOLERANCE, Check, compare
from lstm_cli.scoring.verification import checks, predicted
from lstm_cli.tasks.base import Outputs, Task

_SAMPLE_ROWS = 48
_MAX_METRICS_BYTES = 2**28  # a confusion matrix of 5,000 classes takes 100 MB
_MAX_BYTES, _MAX_ROW_BYTES = 2**16, 2**16
"""Limits on predictions.jsonl: for itself and for each row. A probability takes up to 30 bytes, and its label."""


def verify(source: str, overrides: Sequence[str], screen: Screen, *, as_json: bool) -> None:
    """Check a run's files and the predictions of its best model; of a group, those of every run.

    Raises LstmclsError if a check fails, CheckpointError if there is no model to check.
    """
    config = load_config(source, overrides)
    runtime = start(config.run, trains=False)
    path = Path(config.run.dir)
    if group := RunGroup.read(path):
        content = _verify_group(group, config, overrides, runtime, screen)
    else:
        content = _verify_run(config, runtime, screen)
    if as_json:
        print_json(content)
    if not content["ok"]:
        reports = content.get("runs", [content])
        failed = [(one, check) for one in reports for check in one["checks"] if check["result"] == "FAILED"]
        lines = [
            f"FAILED: {one['run'] + ': ' if group else ''}{check['name']}: {check['note']}"
            for one, check in failed
        ]
        raise LstmclsError("\n".join(lines))


def _verify_group(
    group: RunGroup, config: RunConfig, overrides: Sequence[str], runtime: Runtime, screen: Screen
) -> dict[str, Any]:
    """Verify every run of the group, one after another, and the average of their models. Returns what --json prints."""
    reports: list[dict[str, Any]] = []
    paths = [*group.paths, *([group.refit] if exists(RunFolder(group.refit).best) else [])]
    for path in paths:
        try:
            reports.append(_verify_run(load_config(str(path), overrides, str(path)), runtime, screen))
        except (CheckpointError, ConfigError) as fault:
            screen.say(f"{path}: {fault}")
            unusable = Check("files of best", "", "FAILED", note=str(fault))
            reports.append(_content(RunFolder(path), None, [unusable]))
    num_ok = sum(one["ok"] for one in reports)
    if num_ok == len(paths) and group.summary.exists():
        reports.append(_verify_average(config, runtime, screen))
    screen.say(f"{group.path}: {num_ok} of {len(paths)} runs are as they were")
    return {"group": str(group.path), "ok": all(one["ok"] for one in reports), "runs": reports}


def _verify_average(config: RunConfig, runtime: Runtime, screen: Screen) -> dict[str, Any]:
    """Verify the stored evaluations of a group's average. Returns its part of what --json prints."""
    models = open_models(Path(config.run.dir), "best", runtime.device)
    group, ensemble = models.group, models.ensemble
    assert group is not None
    results = []
    for split in ("test", "dev"):
        sample = _sample(split, partial(_common_rows, models, config, split))
        known = _known_digest(RunFolder(group.paths[0]), split)
        results.append(
            _check_stored(
                models.run,
                models.name,
                known,
                sample,
                ensemble.task,
                lambda rows: ensemble.outputs(ensemble.encode(rows), runtime)[0],
            )
        )
    screen.say(f"{group.path}: {models.name}")
    show_checks(results, screen)
    return _content(models.run, models.name, results)


def _verify_run(config: RunConfig, runtime: Runtime, screen: Screen) -> dict[str, Any]:
    """Verify one run and print the table of its checks. Returns what --json prints.

    Raises CheckpointError if there is no model to check.
    """
    run = RunFolder.open(Path(config.run.dir))
    best = load_checkpoint(run.best)
    task, model = best.load(runtime.device)
    samples = [_sample(split, partial(_rows, run, config, split)) for split in ("test", "dev")]
    own = next((sample.rows for sample in samples if sample.rows), ())
    synthetic = _synthetic_rows(task)
    rows = [*synthetic[:1], *own] if own else synthetic  # the first one is as short as a row can be
    results = [_check_files(best), _check_last(run, runtime)]
    if rows:
        results += checks(task, model, rows, runtime)
    results += [
        _check_stored(
            run,
            best.name,
            _known_digest(run, sample.split),
            sample,
            task,
            lambda rows: predicted(task, model, rows, runtime),
        )
        for sample in samples
    ]
    note = "" if own else "; the run's own rows cannot be read, so synthetic rows are used"
    screen.say(f"{run.path}: {best.name}, on {runtime.why}{note}")
    show_checks(results, screen)
    return _content(run, best.name, results)


def _content(run: RunFolder, checkpoint: str | None, results: Sequence[Check]) -> dict[str, Any]:
    """The content of a run in --json."""
    return {
        "run": str(run.path),
        "checkpoint": checkpoint,
        "tolerance": TOLERANCE,
        "ok": all(check.result != "FAILED" for check in results),
        "checks": [dataclasses.asdict(check) for check in results],
    }


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


def _sample(split: str, read: Callable[[], Rows[Any] | None]) -> _Sample:
    try:
        rows = read()
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


def _common_rows(models: Models, config: RunConfig, split: str) -> Rows[Any] | None:
    return models.splits(config.data, config.run.seed, config.task.content).get(split)


def _known_digest(run: RunFolder, split: str) -> str | None:
    """The SHA-256 of the split's rows when the run began."""
    known: str | None = run.read_environment().get("data", {}).get(split, {}).get("sha256")
    return known


def _synthetic_rows(task: Task) -> list[Row[Any]]:
    ability = verifiable(task)
    return ability.synthetic_rows(np.random.default_rng(0)) if ability else []


def _check_stored(
    run: RunFolder,
    best: str,
    known: str | None,
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
        if _without_digest(scored) != _without_digest(best):
            return Check(name, "", "skipped", note=f"the predictions are from another checkpoint ({scored})")
        lines = predictions.removesuffix(b"\n").split(b"\n")
        if len(lines) != sample.num_rows:
            raise ValueError(f"{len(lines)} lines for {sample.num_rows} rows")
        stored = ability.stored_outputs([json.loads(lines[i]) for i in sample.indices])
        given = predict(sample.rows)
        check = compare(name, f"{len(stored)} of {sample.num_rows:,} rows", [stored], [given])
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as fault:
        return Check(name, "", "FAILED", note=f"{folder}: its files are not those of an evaluation ({fault})")
    if check.result == "ok" and scored != best:
        return dataclasses.replace(
            check, result="FAILED", note=f"the scored model was {scored}, this one is {best}"
        )
    return check


def _without_digest(name: str) -> str:
    return name.rpartition(", sha256 ")[0]
