"""`lstmcls eval`: the best (or last) model against labelled rows, beside honest baselines."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lstm_cli.config.load import load_config
from lstm_cli.console import Screen
from lstm_cli.data.durable import write_file
from lstm_cli.data.sources import Rows, load_splits, open_rows
from lstm_cli.errors import ConfigError, DataError, GateMissed, did_you_mean
from lstm_cli.features.tfidf import Baseline, majority, tfidf_logreg
from lstm_cli.metrics.classification import HIGHER_IS_BETTER, Classification
from lstm_cli.reports.evaluation import Evaluation, write_evaluation
from lstm_cli.runs.checkpoint import load_checkpoint
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runtime import Runtime, start
from lstm_cli.scoring.evaluation import evaluate
from lstm_cli.tasks import Classify

_BASELINE_FORMAT = 2
"""Counted up whenever a baseline would predict otherwise, so that no old cache is read."""


def run_eval(
    source: str,
    overrides: Sequence[str],
    run_dir: str | None,
    screen: Screen,
    *,
    split: Literal["test", "dev"] | None,
    data: str | None,
    checkpoint: Literal["best", "last"],
    fail_under: Sequence[str],
    baselines: bool,
    as_json: bool,
) -> None:
    """Score a checkpoint, write the report, and hold it against `--fail-under`."""
    gates = _gates(fail_under)
    config = load_config(source, overrides, run_dir)
    run = RunFolder.open(Path(config.run.dir))
    runtime = start(config.run, trains=False)
    train: Rows[Any] | None = None
    if data is not None:
        name, rows = (
            f"file-{Path(data).name.split('.')[0]}",
            open_rows(data, config.data, "test", labelled=True, content=config.task.content),
        )
        try:
            train = (
                load_splits(config.data, run.dev_seed(config.run.seed), content=config.task.content).train
                if baselines
                else None
            )
        except DataError as fault:
            screen.warn(f"no baselines: the training rows cannot be read ({fault})")
    else:
        splits = load_splits(config.data, run.dev_seed(config.run.seed), content=config.task.content)
        if split == "test" and splits.test is None:
            raise ConfigError("--split test: the config names no data.test; try --split dev, or --data FILE")
        name, rows = ("dev", splits.dev) if split == "dev" or splits.test is None else ("test", splits.test)
        train = splits.train if baselines else None
    metrics = evaluate_split(run, checkpoint, rows, name, train, runtime, screen)
    if as_json:
        json.dump(metrics, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    _hold(gates, metrics)


def evaluate_split(
    run: RunFolder,
    checkpoint: Literal["best", "last"],
    rows: Rows[Any],
    split: str,
    train: Rows[Any] | None,
    runtime: Runtime,
    screen: Screen,
) -> dict[str, Any]:
    """Score the checkpoint on `rows`, beside baselines fitted on `train` where it is given; write `eval/SPLIT/`.

    Returns what metrics.json says.
    """
    saved = load_checkpoint(run.checkpoint(checkpoint))
    if saved.passed_over:
        screen.warn(f"{saved.passed_over}; scoring {saved.folder}")
    task, model = saved.load(runtime.device)
    store = task.encode(rows)
    report = evaluate(model, task, store, runtime)
    assert isinstance(report.scores, Classification)
    rivals = _baselines(run, task, train, rows, store.targets, screen) if train is not None else []
    evaluation = Evaluation(
        split=split,
        checkpoint=saved.name,
        label_names=task.labels.names,
        scores=report.scores,
        targets=np.asarray(store.targets, np.int64),
        probs=report.outputs,
        rows=rows,
        num_truncated=int(store.truncated.sum()),
        baselines=rivals,
        parts=task.parts(model, report.outputs, store),
    )
    folder = run.evaluation(split)
    metrics = write_evaluation(folder, evaluation)
    _show(screen, split, metrics)
    screen.say(f"the report is {folder / 'report.md'}")
    return metrics


def _baselines(
    run: RunFolder, task: Classify, train: Rows[Any], rows: Rows[Any], targets: np.ndarray, screen: Screen
) -> list[Baseline]:
    """The baselines' predictions of `rows`, fitted on `train`; kept in the run, since fitting takes its time."""
    made_from = [_BASELINE_FORMAT, train.digest(), rows.digest(), task.labels.names]
    path = run.baseline(hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16])
    if (kept := _kept_baselines(path, len(targets), len(task.labels.names))) is not None:
        return kept
    screen.say("fitting the baselines on the same training rows (--no-baselines skips this) …")
    train_targets = np.array([task.labels.index(row) for row in train])
    fitted = [
        majority(train_targets, len(targets), len(task.labels.names)),
        tfidf_logreg(
            [row.content.text for row in train],
            train_targets,
            [row.content.text for row in rows],
            len(task.labels.names),
            seed=0,
        ),
    ]
    lines = [{"name": one.name, "predicted": one.predicted.tolist(), "note": one.note} for one in fitted]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(lines).encode())
    return fitted


def _kept_baselines(path: Path, num_rows: int, num_classes: int) -> list[Baseline] | None:
    """What is kept at `path`, or None where it is nothing that `_baselines` wrote for these rows."""
    try:
        kept = [
            Baseline(str(one["name"]), np.array(one["predicted"], np.int64), str(one["note"]))
            for one in json.loads(path.read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    fits = all(
        one.predicted.shape == (num_rows,) and one.predicted.min() >= 0 and one.predicted.max() < num_classes
        for one in kept
    )
    return kept if kept and fits else None


def _show(screen: Screen, split: str, metrics: Mapping[str, Any]) -> None:
    low, high = metrics["ci95"]["accuracy"]
    lines = [["this model", f"{metrics['accuracy']:.4f}", f"{metrics['macro_f1']:.4f}"]]
    lines += [
        [name, f"{scores['accuracy']:.4f}", f"{scores['macro_f1']:.4f}"]
        for name, scores in [*_several(metrics["parts"]), *metrics["baselines"].items()]
    ]
    screen.table(f"{split}: {metrics['n']:,} rows", ["", "accuracy", "macro F1"], lines)
    verdict = f"; it {metrics['verdict']} the best baseline" if metrics["verdict"] else ""
    screen.say(f"accuracy {metrics['accuracy']:.2%}, 95 % interval {low:.2%} to {high:.2%}{verdict}")


def _several(parts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The parts of a model that has more than its network."""
    return [(f"  {name.partition(',')[0]}", part) for name, part in parts.items()] if len(parts) > 1 else []


def _gates(fail_under: Sequence[str]) -> dict[str, float]:
    """`--fail-under` as numbers. Raises ConfigError with every one that cannot be read."""
    gates: dict[str, float] = {}
    faults = []
    for text in fail_under:
        name, equals, value = text.partition("=")
        try:
            if not equals or name not in HIGHER_IS_BETTER:
                raise ValueError
            gates[name] = float(value)
        except ValueError:
            faults.append(
                f"--fail-under {text}: must read METRIC=NUMBER with a metric of {', '.join(HIGHER_IS_BETTER)}."
                f"{did_you_mean(name, HIGHER_IS_BETTER)}"
            )
    if faults:
        raise ConfigError(faults)
    return gates


def _hold(gates: Mapping[str, float], metrics: Mapping[str, Any]) -> None:
    """Raise GateMissed with every gate that the scores miss."""
    missed = []
    for name, bound in gates.items():
        value = metrics.get(name)
        if value is None:
            missed.append(f"--fail-under {name}: cannot be computed on these rows")
        elif (value < bound) if HIGHER_IS_BETTER[name] else (value > bound):
            missed.append(f"--fail-under {name}: {value:.4f} is worse than {bound:g}")
    if missed:
        raise GateMissed("\n".join(missed))
