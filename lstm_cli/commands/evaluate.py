"""`lstmcls eval`: score the best (or last) model on labelled rows and compare it with baselines."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lstm_cli.commands.evaluate_inside import inside
from lstm_cli.config.load import load_config
from lstm_cli.console import Screen
from lstm_cli.data.files import PACKED
from lstm_cli.data.find import names_rows
from lstm_cli.data.sources import DataConfig, Rows, open_rows
from lstm_cli.errors import ConfigError, DataError, GateMissed, did_you_mean
from lstm_cli.metrics.metric import Metric
from lstm_cli.reports.evaluation import write_evaluation
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runs.models import Models, open_models
from lstm_cli.runs.swap import replaced_folder
from lstm_cli.runtime import Runtime, start
from lstm_cli.scoring import baselines
from lstm_cli.scoring.evaluation import count_seen
from lstm_cli.tasks.base import Evaluation, Seen, Task

_UNKNOWN_TRAIN = "no baselines, and no count of rows that the model has seen"


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """The arguments of `lstmcls eval`."""

    source: str
    overrides: tuple[str, ...] = ()
    run_dir: str | None = None
    split: Literal["test", "dev"] | None = None
    data: str | None = None
    checkpoint: Literal["best", "last"] = "best"
    fail_under: tuple[str, ...] = ()
    baselines: bool = True
    as_json: bool = False
    quote_formulas: bool = False


def run_eval(request: EvalRequest, screen: Screen) -> None:
    """Score a checkpoint, write the report, and check the scores against `--fail-under`."""
    config = load_config(request.source, request.overrides, request.run_dir)
    gates = _gates(request.fail_under, config.task.metrics)
    runtime = start(config.run, trains=False)
    content = config.task.content
    models = open_models(Path(config.run.dir), request.checkpoint, runtime.device)
    splits: Mapping[str, Rows[Any]] | None = None
    if request.data is not None:
        name = _name_of(request.data)
        rows: Rows[Any] = open_rows(request.data, config.data, "test", labelled=True, content=content)
        rows.refuse_empty()
        try:
            splits = models.splits(config.data, config.run.seed, content)
        except DataError as fault:
            screen.warn(f"{_UNKNOWN_TRAIN}: the training rows cannot be read ({fault})")
    else:
        splits = models.splits(config.data, config.run.seed, content)
        name = _split(models, config.data, request.split, splits)
        rows = splits[name]
        if _changed(models, name, rows):
            raise ConfigError(
                f"{models.run.path}: the rows of {name} have changed since the training, or an earlier version cut "
                f"others; try the old files, or --data FILE for other rows"
            )
    # the runs of a group need not have learned from the same rows, and a refit has no dev rows
    learned = [] if splits is None or models.group else [one for one in ("train", "dev") if one in splits]
    if splits is not None and any(_changed(models, one, splits[one]) for one in learned):
        screen.warn(f"{_UNKNOWN_TRAIN}: the rows of train or dev have changed since the training")
        splits = None
    metrics = evaluate_split(
        models,
        rows,
        name,
        splits,
        runtime,
        screen,
        with_baselines=request.baselines,
        quote_formulas=request.quote_formulas,
    )
    if request.as_json:
        json.dump(metrics, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    _check_gates(gates, metrics)


def _split(models: Models, data: DataConfig, asked: str | None, splits: Mapping[str, Rows[Any]]) -> str:
    """The split to score: the one that was asked for, else test, else dev. Raises ConfigError if there is none."""
    group = models.group
    has_test = data.test is not None or (group is not None and group.by == "folds")
    split = asked or ("test" if has_test else "dev")
    if split in splits:
        return split
    if models.run.is_refit:
        raise ConfigError(
            f"{models.run.path}: the model of --refit learned from all rows of data.train, so there are no {split} "
            f"rows; try --data FILE, or the average of the folds: {models.run.path.parent}"
        )
    if group is None:
        raise ConfigError("--split test: the config has no data.test; try --split dev, or --data FILE")
    if group.by == "folds" and split == "test":
        why = f"each run was tested on rows that the others learned from (the scores are in {group.page})"
    else:
        why = f"each run cut its own {split} rows from train, and the others learned from them"
    raise ConfigError(
        f"{group.path}: the runs of {group.option} have no {split} rows in common: {why}; try --data FILE, or name one "
        f"run: {group.choices()}"
    )


def _changed(models: Models, name: str, rows: Rows[Any]) -> bool:
    """Whether the rows of a split differ from those of the training, as far as its record tells."""
    run = RunFolder(models.group.paths[0]) if models.group else models.run
    match run.read_environment():
        case {"data": {**splits}}:
            match splits.get(name):
                case {"sha256": str(known)}:
                    return known != rows.digest()
    return False


def evaluate_split(
    models: Models,
    rows: Rows[Any],
    split: str,
    splits: Mapping[str, Rows[Any]] | None,
    runtime: Runtime,
    screen: Screen,
    *,
    with_baselines: bool,
    quote_formulas: bool = False,
) -> dict[str, Any]:
    """Score the models on `rows` and write the report to `eval/SPLIT/`.

    The report of the last checkpoint is in `eval/SPLIT-last/`. With the `splits` of its training, count the rows that
    it has seen, and fit the baselines too. Returns the content of metrics.json.
    """
    run, task = models.run, models.ensemble.task
    evaluation = models.ensemble.evaluate(rows, split, models.name, runtime)
    if split == "dev":
        evaluation = replace(evaluation, seen=Seen(in_train=0, in_dev=len(rows)))
    elif splits is not None:
        evaluation = replace(evaluation, seen=count_seen(rows, splits))
    if evaluation.too_good:
        screen.warn(f"{evaluation.too_good}, so the scores are too good")
    if splits is not None and with_baselines:
        train = splits["train"]
        inputs = [baselines.FORMAT, train.digest(), rows.digest()]
        path = run.baseline(hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16])
        evaluation = baselines.with_baselines(evaluation, task, train, rows, path, screen.say)
    folder = run.evaluation(split if models.checkpoint == "best" else f"{split}-last")
    with replaced_folder(folder, screen.say) as new:
        metrics = write_evaluation(
            new, task, evaluation, quote_formulas=quote_formulas, inside=inside(models, rows, runtime)
        )
    _show(task, evaluation, metrics, screen)
    screen.say(f"the report is {folder / 'report.md'}")
    return metrics


def _name_of(data: str) -> str:
    """The name of the evaluation of these rows, which no other path has, such as `reviews-1f0c82d9` for reviews.csv."""
    is_path = not names_rows(data)
    whole = str(Path(data).expanduser().absolute()) if is_path else data
    digest = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    name = Path(data).name
    stem = Path(name.removesuffix(next((end for end in PACKED if name.endswith(end)), ""))).stem
    readable = re.sub(r"[^\w.]+", "-", stem).strip("-.")[:40]
    return f"{readable}-{digest}" if readable else digest


def _show(task: Task, evaluation: Evaluation, metrics: Mapping[str, Any], screen: Screen) -> None:
    shown = [("this model", metrics), *_components(metrics["parts"]), *metrics["baselines"].items()]
    lines = [[name, *(f"{scores[metric.name]:.4f}" for metric in task.compared_by)] for name, scores in shown]
    screen.table(evaluation.title, ["", *(metric.label for metric in task.compared_by)], lines)
    for note in metrics["notes"]:
        screen.say(note)
    first = task.compared_by[0]
    interval = ""
    if evaluation.too_good:
        screen.say(
            f"{first.label} {first.show(metrics[first.name])}, without a verdict: {evaluation.too_good}"
        )
        return
    if bounds := metrics["ci95"].get(first.name):
        interval = f", 95 % interval {first.show(bounds[0])} to {first.show(bounds[1])}"
    verdict = f"; it {metrics['verdict']} the best baseline" if metrics["verdict"] else ""
    screen.say(f"{first.label} {first.show(metrics[first.name])}{interval}{verdict}")


def _components(components: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The scores of a model's components, if it has more than one."""
    if len(components) < 2:
        return []
    return [(f"  {name.partition(',')[0]}", scores) for name, scores in components.items()]


def _gates(fail_under: Sequence[str], metrics: Sequence[Metric]) -> dict[Metric, float]:
    """The bounds in `--fail-under` by metric. Raises ConfigError that lists every bound that cannot be read."""
    by_name = {metric.name: metric for metric in metrics}
    gates: dict[Metric, float] = {}
    faults = []
    for text in fail_under:
        name, equals, value = text.partition("=")
        try:
            if not equals or name not in by_name:
                raise ValueError
            gates[by_name[name]] = float(value)
        except ValueError:
            faults.append(
                f"--fail-under {text}: must be METRIC=NUMBER, where METRIC is one of {', '.join(by_name)}."
                f"{did_you_mean(name, by_name)}"
            )
    if faults:
        raise ConfigError(faults)
    return gates


def _check_gates(gates: Mapping[Metric, float], metrics: Mapping[str, Any]) -> None:
    """Raise GateMissed that lists every metric that is worse than its bound or cannot be computed."""
    missed = []
    for metric, bound in gates.items():
        value = metrics.get(metric.name)
        if value is None:
            is_withheld = metric.name in metrics
            why = (
                f"not given: {metrics['verdict_reason']}"
                if is_withheld
                else "cannot be computed on these rows"
            )
            missed.append(f"--fail-under {metric.name}: {why}")
        elif metric.is_better(bound, value):
            missed.append(f"--fail-under {metric.name}: {value:.4f} is worse than {bound:g}")
    if missed:
        raise GateMissed("\n".join(missed))
