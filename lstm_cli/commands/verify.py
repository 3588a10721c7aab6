"""`lstmcls verify`: whether a run is still what it was, and answers as it must."""

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
from lstm_cli.data.sources import Rows, load_splits, open_rows
from lstm_cli.errors import CheckpointError, DataError, LstmclsError
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.runs.checkpoint import Checkpoint, exists, load_checkpoint
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runtime import Runtime, start
from lstm_cli.scoring.verification import TOLERANCE, Check, checks, compare, predicted
from lstm_cli.tasks import Classify, Outputs

_SAMPLE_ROWS = 48
_MADE_UP_TEXTS, _MADE_UP_WORDS = 24, 60


def verify(source: str, overrides: Sequence[str], screen: Screen, *, as_json: bool) -> None:
    """Check a run's files and its best model's answers.

    Raises LstmclsError where a check fails, CheckpointError where there is no model to check.
    """
    config = load_config(source, overrides)
    run = RunFolder.open(Path(config.run.dir))
    runtime = start(config.run, trains=False)
    best = load_checkpoint(run.best)
    task, model = best.load(runtime.device)
    assert isinstance(model, TextClassifier)
    samples = [_sample(run, config, split) for split in ("test", "dev")]
    readable = next((sample for sample in samples if sample.texts), None)
    texts = ["", *(readable.texts if readable else _made_up(task))]  # "": the shortest there is
    found = [
        _whole(best),
        _whole_last(run, runtime),
        *checks(task, model, texts, runtime),
        *(
            _stored(run, best, sample, task, lambda texts: predicted(task, model, texts, runtime))
            for sample in samples
        ),
    ]
    made_up = (
        ""
        if readable
        else "; no rows of the run's own can be read, so the texts are made up of its vocabulary"
    )
    screen.say(f"{run.path}: {best.name}, on {runtime.why}{made_up}")
    _report(found, run, best, screen, as_json=as_json)


def _report(
    found: Sequence[Check], run: RunFolder, best: Checkpoint, screen: Screen, *, as_json: bool
) -> None:
    lines = [
        [
            check.name,
            check.compared,
            "" if check.difference is None else f"{check.difference:.1e}",
            check.result,
        ]
        for check in found
    ]
    title = f"no probability may differ by more than {TOLERANCE:.0e}"
    screen.table(title, ["check", "compared", "difference", ""], lines)
    for check in found:
        if check.result == "skipped":
            screen.say(f"skipped: {check.name}: {check.note}")
    failed = [check for check in found if check.result == "FAILED"]
    if as_json:
        content = {
            "run": str(run.path),
            "checkpoint": best.name,
            "tolerance": TOLERANCE,
            "ok": not failed,
            "checks": [dataclasses.asdict(check) for check in found],
        }
        json.dump(content, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    if failed:
        raise LstmclsError("\n".join(f"FAILED: {check.name}: {check.note}" for check in failed))


def _whole(saved: Checkpoint, name: str = "best") -> Check:
    """Whether every file has the SHA-256 that it was saved with: they are read only if so."""
    compared = f"{len(saved.files)} files with their SHA-256"
    if saved.passed_over:
        return Check(
            f"files of {name}", compared, "FAILED", note=f"{saved.passed_over}; used is {saved.folder}"
        )
    return Check(f"files of {name}", compared, "ok")


def _whole_last(run: RunFolder, runtime: Runtime) -> Check:
    if not exists(run.last):
        return Check("files of last", "", "skipped", note="none was saved")
    try:
        last = load_checkpoint(run.last)
        last.load(runtime.device)
    except CheckpointError as fault:
        return Check("files of last", "", "FAILED", note=str(fault))
    return _whole(last, "last")


@dataclass(frozen=True, slots=True)
class _Sample:
    """Some rows of a split, spread over it, or why there are none."""

    split: str
    why_not: str | None = None
    digest: str = ""
    num_rows: int = 0
    indices: Sequence[int] = ()
    texts: Sequence[str] = ()


def _sample(run: RunFolder, config: RunConfig, split: str) -> _Sample:
    try:
        rows = _rows(run, config, split)
        if rows is None:
            return _Sample(split, "the config names none")
        indices = dict.fromkeys(np.linspace(0, len(rows) - 1, _SAMPLE_ROWS).astype(int).tolist())
        texts = [row.content.text for i, row in enumerate(rows) if i in indices]
        return _Sample(split, None, rows.digest(), len(rows), list(indices), texts)
    except DataError as fault:
        return _Sample(split, f"its rows cannot be read ({fault})")


def _rows(run: RunFolder, config: RunConfig, split: str) -> Rows[Any] | None:
    data = config.data
    if (test := data.sources().get("test")) is not None:  # dev does not need it, nor it the others
        if split == "test":
            return open_rows(test, data, "test", labelled=True, content=config.task.content)
        data = data.model_copy(update={"test": None})
    splits = load_splits(data, run.dev_seed(config.run.seed), content=config.task.content)
    return splits.test if split == "test" else splits.dev


def _made_up(task: Classify) -> list[str]:
    rng = np.random.default_rng(0)
    words = np.array(sorted(task.tokenizer.tokenizer.get_vocab()))
    return [" ".join(rng.choice(words, rng.integers(1, _MADE_UP_WORDS + 1))) for _ in range(_MADE_UP_TEXTS)]


def _stored(
    run: RunFolder,
    best: Checkpoint,
    sample: _Sample,
    task: Classify,
    predict: Callable[[Sequence[str]], Outputs],
) -> Check:
    """Whether the rows of an evaluation are answered as they were then."""
    name, folder = f"stored answers of {sample.split}", run.evaluation(sample.split)
    if not (folder / "predictions.jsonl").exists():
        return Check(name, "", "skipped", note="it was never scored")
    if sample.why_not:
        return Check(name, "", "skipped", note=sample.why_not)
    known = run.read_environment().get("data", {}).get(sample.split, {}).get("sha256")
    if known != sample.digest:
        return Check(name, "", "skipped", note="its rows are not those that the run began with")
    try:
        scored = str(json.loads((folder / "metrics.json").read_bytes())["checkpoint"])
        if _without_digest(scored) != _without_digest(best.name):
            return Check(name, "", "skipped", note=f"they are those of another checkpoint ({scored})")
        with (folder / "predictions.jsonl").open(encoding="utf-8") as file:
            lines = list(file)
        stored = np.array([list(json.loads(lines[i])["probs"].values()) for i in sample.indices])
        expected_shape = (len(sample.indices), len(task.labels.names))
        if stored.shape != expected_shape or len(lines) != sample.num_rows:
            raise ValueError(f"not {sample.num_rows} rows of {expected_shape[1]} probabilities")
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as fault:
        return Check(name, "", "FAILED", note=f"{folder}: not what an evaluation leaves ({fault})")
    check = compare(name, f"{len(stored)} of {sample.num_rows:,} rows", [stored], [predict(sample.texts)])
    if check.result == "ok" and scored != best.name:
        return dataclasses.replace(
            check, result="FAILED", note=f"scored was {scored}, the model is {best.name}"
        )
    return check


def _without_digest(name: str) -> str:
    return name.rpartition(", sha256 ")[0]
