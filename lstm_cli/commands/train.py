"""`lstmcls train`: config → run → rows → vocabulary → tokens → model → epochs → scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from lstm_cli.commands.evaluate import evaluate_split
from lstm_cli.commands.pretrain import pretrain_run
from lstm_cli.commands.training_loop import Training, keep_provenance, open_run
from lstm_cli.config.load import RunConfig, load_config
from lstm_cli.console import Screen
from lstm_cli.data.labels import Labels
from lstm_cli.data.sources import Splits, load_splits
from lstm_cli.errors import Interrupted
from lstm_cli.reports.plots import learning_curves
from lstm_cli.runs.checkpoint import load_checkpoint
from lstm_cli.runs.folder import RunFolder, holds_a_run
from lstm_cli.runs.lock import locked
from lstm_cli.runs.pretrained import Pretrained, load_pretrained
from lstm_cli.runtime import Runtime, start
from lstm_cli.tasks import Classify, Task
from lstm_cli.training.fit import EncodedSplits
from lstm_cli.training.state import TrainState


def train(
    source: str,
    overrides: Sequence[str],
    run_dir: str | None,
    screen: Screen,
    *,
    resume: bool,
    overwrite: bool,
    baselines: bool,
) -> None:
    """Train, keep `best` and `last`, and score the best on test (on dev where there is no test)."""
    config = load_config(source, overrides, run_dir)
    train_run(config, screen, resume=resume, overwrite=overwrite, baselines=baselines)


def train_run(
    config: RunConfig, screen: Screen, *, resume: bool, overwrite: bool, baselines: bool
) -> dict[str, Any]:
    """One whole run. Returns what metrics.json says of its best model."""
    pretrained = load_pretrained(config.task)
    runtime = start(config.run)
    with locked(Path(config.run.dir)):
        run, going_on = open_run(config, "train", screen, resume=resume, overwrite=overwrite)
        with _says_how_to_go_on(run, config):
            # what the language model has not read must stay what dev is
            dev_seed = pretrained.dev_seed if pretrained else config.run.seed
            splits = load_splits(config.data, dev_seed, content=config.task.content)
            if config.task.encoder.pretrains_first and not going_on:
                _refuse_other_labels(splits)
                pretrained = _pretrain_first(config, run, screen)
            facts = {"seed": config.run.seed, "dev_seed": dev_seed, **runtime.facts()}
            if pretrained:
                pretrained.announce(splits, screen.say, screen.warn)
                facts["pretrained"] = pretrained.facts()
                if going_on:
                    pretrained.refuse_another(run)
            made_from = {"train": splits.train, "dev": splits.dev, "test": splits.test}
            keep_provenance(run, made_from, going_on, facts)

            last = load_checkpoint(run.last) if going_on else None
            if config.task.features == "ngrams" and not last:
                screen.say("learning vocabulary and n-grams …")
            tokenizer = pretrained.tokenizer if pretrained else None
            task: Task = last.load(runtime.device)[0] if last else config.task.fit(splits.train, tokenizer)
            data = EncodedSplits(task.encode(splits.train, scored=False), task.encode(splits.dev))
            # encoded now, so that a fault of the test rows is not found after hours of training
            test = {"test": task.encode(splits.test)} if splits.test is not None else {}
            screen.splits({"train": data.train, "dev": data.dev, **test})
            if isinstance(task, Classify) and task.ngrams:
                screen.say(f"{len(task.ngrams.keys):,} n-grams stand beside the network")

            weights = pretrained.weights if pretrained else {}
            training = Training(
                command="train",
                run=run,
                task=task,
                data=data,
                config=config.train,
                runtime=runtime,
                start=partial(TrainState.start, task, config.train, runtime, config.run.seed, weights),
                metric=config.train.select_by,
                tensorboard=config.run.tensorboard,
                screen=screen,
            )
            training.train(training.begin(last))
        return _score(run, splits, config.train.select_by, runtime, screen, baselines=baselines)


@contextmanager
def _says_how_to_go_on(run: RunFolder, config: RunConfig) -> Iterator[None]:
    """Where text was read first there is something saved before the training's own first checkpoint."""
    try:
        yield
    except Interrupted as stopped:
        if not config.task.encoder.pretrains_first:
            raise
        raise Interrupted(
            stopped.signal_number, f"stopped and saved; to go on: lstmcls train {run.path} --resume"
        ) from None


def _refuse_other_labels(splits: Splits[Any]) -> None:
    """Raise DataError now for what would else be found after the text was read, which may take hours."""
    labels = Labels.learn(splits.train)
    for row in chain(splits.dev, splits.test or ()):
        labels.index(row)


def _pretrain_first(config: RunConfig, run: RunFolder, screen: Screen) -> Pretrained | None:
    """Learn the language model in a folder of the run's own, or go on with it there. What it left is in the run's first
    checkpoint, so that a training that goes on needs it no more."""
    section = config.run.model_copy(update={"dir": str(run.pretraining)})
    screen.say("first, a language model of the text")
    pretrain_run(
        config.model_copy(update={"run": section}),
        screen,
        resume=holds_a_run(run.pretraining),
        overwrite=False,
    )
    return load_pretrained(config.task, section.dir)


def _score(
    run: RunFolder, splits: Splits[Any], select_by: str, runtime: Runtime, screen: Screen, *, baselines: bool
) -> dict[str, Any]:
    """Draw the curves and score the best model. Returns what metrics.json says."""
    try:
        learning_curves(run.records(), select_by, run.curves)
        split, rows = ("test", splits.test) if splits.test is not None else ("dev", splits.dev)
        metrics = evaluate_split(
            run, "best", rows, split, splits.train if baselines else None, runtime, screen
        )
    except Interrupted as stopped:
        raise Interrupted(
            stopped.signal_number,
            f"stopped; the training is over and saved, its scores are not: lstmcls eval {run.path}",
        ) from None
    screen.say(f"the model is in {run.best}")
    screen.say(f"next: echo 'some text' | lstmcls predict {run.path} -")
    return metrics
