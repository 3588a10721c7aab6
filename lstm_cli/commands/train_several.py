"""`lstmcls train --seeds N` and `--folds K`: several runs of one config, and a summary of their scores."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from lstm_cli.commands.refit import refit, refuse_refit
from lstm_cli.commands.train import TrainRequest, configured, train_run
from lstm_cli.commands.training_loop import keep_config, refuse_changes
from lstm_cli.config.load import RunConfig
from lstm_cli.console import Screen
from lstm_cli.data.cache import dropped_afterwards
from lstm_cli.data.config import Paths
from lstm_cli.data.durable import atomic_writer, write_file
from lstm_cli.data.sources import open_rows
from lstm_cli.data.split import folds
from lstm_cli.errors import ConfigError, Interrupted
from lstm_cli.nn.distributed import num_processes
from lstm_cli.runs.folder import RunFolder, holds_a_run
from lstm_cli.runs.group import RunGroup
from lstm_cli.runs.lock import locked
from lstm_cli.runs.summary import conclusions, page, summarize, table, title
from lstm_cli.runs.swap import settled


def train_several(request: TrainRequest, screen: Screen) -> None:
    """Train every run as `train` would alone, one after another in this process, then summarise their scores."""
    by, count = request.by, request.count
    assert by is not None
    if num_processes() > 1:
        raise ConfigError(
            f"--{by}: cannot be combined with several processes; train the runs one after another, each in several "
            f"processes, or start one command per GPU with CUDA_VISIBLE_DEVICES"
        )
    config = configured(request, screen)
    if request.dry_run:
        sys.stdout.write(config.to_yaml())
        return
    if by == "folds" and isinstance(config.data.test, float):  # as in the presets: the folds take its place
        screen.say(f"the folds are the test rows, so data.test: {config.data.test:g} is not cut")
        config = config.model_copy(update={"data": config.data.model_copy(update={"test": None})})
    members = _members(config, by, count)
    if request.refit:
        refuse_refit(config)
    group = RunGroup(Path(config.run.dir), by, tuple(members), request.refit)
    with locked(group.path):
        group = _open(group, config, resume=request.resume, overwrite=request.overwrite)
        try:
            scored = []
            for number, (name, member) in enumerate(members.items(), 1):
                screen.say(f"{name}: {number} of {count}")
                # a finished run is not trained again; to check its rows and score it takes seconds
                resume = request.resume and holds_a_run(Path(member.run.dir))
                with dropped_afterwards() if by == "folds" else nullcontext():
                    one = replace(request, resume=resume, overwrite=False, warns=number == 1)
                    scored.append(train_run(member, one, screen))
            keep_config(RunFolder(group.path), config)
            _write_summary(group, config, scored, screen)
            if group.refits:
                refit(group, config, members, screen)
        except Interrupted as stopped:
            raise Interrupted(stopped.signal_number, f"saved; to resume: {group.resume}") from None
    _say_what_to_use(group, screen)


def _say_what_to_use(group: RunGroup, screen: Screen) -> None:
    """Name the models that can predict, with their sizes and the next command."""
    size = sum(_megabytes(path) for path in group.paths)
    screen.say(
        f"the average of the {len(group.names)} models ({size:.1f} MB): lstmcls predict {group.path} FILE"
    )
    if group.refits:
        screen.say(
            f"the one model of all rows ({_megabytes(group.refit):.1f} MB): lstmcls predict {group.refit} FILE"
        )


def _megabytes(run: Path) -> float:
    return sum(file.stat().st_size for file in RunFolder(run).best.iterdir()) / 1e6


def _members(config: RunConfig, by: Literal["seeds", "folds"], count: int) -> dict[str, RunConfig]:
    """The config of each run by the name of its folder. Raises ConfigError if folds are combined with data.test."""
    if by == "folds" and config.data.test is not None:
        raise ConfigError(
            "data.test is given, but --folds scores on parts of train; try --set data.test=null"
        )
    seed, test = config.run.seed, config.data.test
    if by == "folds":
        return {
            f"fold-{i}": _member(config, f"fold-{i}", seed, f"fold:{i}/{count}") for i in range(1, count + 1)
        }
    return {f"seed-{n}": _member(config, f"seed-{n}", n, test) for n in range(seed, seed + count)}


def _member(config: RunConfig, name: str, seed: int, test: Paths | float | None) -> RunConfig:
    run = {"dir": str(Path(config.run.dir) / name), "seed": seed}
    return config.model_copy(
        update={
            "run": config.run.model_copy(update=run),
            "data": config.data.model_copy(update={"test": test}),
        }
    )


def _open(group: RunGroup, config: RunConfig, *, resume: bool, overwrite: bool) -> RunGroup:
    """Create the group's folder, or check the existing one if it is resumed.

    Returns the group; a resumed one has a --refit if it was begun with it or gets it now.
    """
    if resume and holds_a_run(group.path):
        begun = RunGroup.read(group.path)
        if begun is None:
            raise ConfigError(
                f"{group.path}: holds a single run, not those of {group.option}; leave that option out to resume it, "
                f"or try --run another-folder"
            )
        if begun.option != group.option:
            raise ConfigError(
                f"{group.path}: was begun with {begun.option}, got {group.option}; "
                f"try {begun.resume}, or --run another-folder"
            )
        refuse_changes(RunFolder(group.path), config, group.resume)
        if begun.refits:
            refuse_refit(config)
            return begun
    else:
        RunFolder.create(group.path, config.to_yaml(), overwrite=overwrite)
    group.write()
    return group


def _write_summary(
    group: RunGroup, config: RunConfig, scored: Sequence[dict[str, Any]], screen: Screen
) -> None:
    """Write summary.json and summary.md, for folds also out-of-fold.jsonl, and print the summary."""
    seconds = [RunFolder(group.path / name).seconds() for name in group.names]
    metrics = config.task.metrics
    summary = summarize(group, metrics, scored, seconds)
    if group.by == "folds":
        summary |= _out_of_fold(group, config)
    write_file(group.summary, (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode())
    write_file(group.page, page(summary, metrics).encode())
    screen.table(title(summary), *table(summary, metrics))
    for sentence in conclusions(summary):
        screen.say(sentence)
    screen.say(f"the summary is {group.page}")


def _out_of_fold(group: RunGroup, config: RunConfig) -> dict[str, Any]:
    """Write each training row's prediction by the run that did not train on it, and score all rows together."""
    rows = open_rows(config.data.train, config.data, "train", labelled=True, content=config.task.content)
    part = folds(rows, len(group.names))
    with ExitStack() as stack, atomic_writer(group.out_of_fold, "utf-8", "backslashreplace") as out:
        predictions = [
            stack.enter_context(
                (settled(RunFolder(group.path / name).evaluation("test")) / "predictions.jsonl").open(
                    encoding="utf-8"
                )
            )
            for name in group.names
        ]

        def answers() -> Iterator[dict[str, Any]]:
            """The predictions of all rows that are in a fold, in the order of the rows.

            Each one is also written to the file.
            """
            for row, fold in enumerate(part.tolist()):
                if fold == 0:
                    continue
                answer = json.loads(next(predictions[fold - 1]))
                line = {**answer, "row": row, "fold": fold}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
                yield answer

        scores = config.task.score_folds(answers())
    return {"out_of_fold": scores, "rows_in_no_fold": int((part == 0).sum())}
