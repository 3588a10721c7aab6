"""`lstmcls pretrain`: config → run → text → vocabulary → tokens → language models → epochs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lstm_cli.commands.training_loop import Training, keep_provenance, open_run
from lstm_cli.config.load import RunConfig, load_config
from lstm_cli.console import Screen
from lstm_cli.data.corpus import load_corpus
from lstm_cli.data.sources import load_splits
from lstm_cli.reports.plots import learning_curves
from lstm_cli.runs.checkpoint import load_checkpoint
from lstm_cli.runs.lock import locked
from lstm_cli.runs.pretrained import load_pretraining
from lstm_cli.runtime import start
from lstm_cli.tasks.pretrain import Pretrain
from lstm_cli.training.fit import EncodedSplits
from lstm_cli.training.state import TrainState


def pretrain(
    source: str,
    overrides: Sequence[str],
    run_dir: str | None,
    screen: Screen,
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """Learn embedding and layers from raw text, for `task.encoder.init_from` to start from."""
    config = _in_its_own_folder(load_config(source, overrides, run_dir), source, run_dir)
    pretrain_run(config, screen, resume=resume, overwrite=overwrite)
    again = "CONFIG" if source == "-" or Path(source).is_dir() else source
    screen.say(f"next: lstmcls train {again} --set task.encoder.init_from={config.run.dir}")


def pretrain_run(config: RunConfig, screen: Screen, *, resume: bool, overwrite: bool) -> None:
    """One whole pretraining in the folder of `config`."""
    runtime = start(config.run)
    with locked(Path(config.run.dir)):
        run, going_on = open_run(config, "pretrain", screen, resume=resume, overwrite=overwrite)
        last = load_checkpoint(run.last) if going_on else None
        tokenizer = load_pretraining(last).tokenizer if last else None
        seed = config.run.seed
        splits = load_splits(config.data, seed, content=config.task.content)
        corpus = load_corpus(config.data, splits, seed)
        made_from = {"train": splits.train, "dev": splits.dev, "test": splits.test, "text": corpus.whole}
        keep_provenance(run, made_from, going_on, {"seed": seed, "dev_seed": seed, **runtime.facts()})

        task = Pretrain.learn(config.task, corpus, config.pretrain.sampled_tokens, tokenizer)
        data = EncodedSplits(task.encode(corpus.train), task.encode(corpus.held_out))
        screen.splits({"text": data.train, "held out": data.dev})
        if corpus.num_left_out:
            screen.say(
                f"{corpus.num_left_out:,} rows of data.unlabelled are left out: theirs is the text of a dev or test row"
            )
        if config.task.encoder.num_pretrained_layers < config.task.encoder.num_layers:
            screen.say(
                f"of {config.task.encoder.num_layers} layers the first is learned: those above would read "
                f"what they have to foretell, and start afresh in the classifier"
            )

        settings = config.pretrain.settings(config.train, len(data.train.tokens))
        if settings.epochs < config.pretrain.epochs:
            screen.say(
                f"{len(data.train.tokens):,} tokens are read in {settings.epochs} of {config.pretrain.epochs} epochs, "
                f"to stay within pretrain.budget"
            )
        training = Training(
            command="pretrain",
            run=run,
            task=task,
            data=data,
            config=settings,
            runtime=runtime,
            start=partial(TrainState.start, task, settings, runtime, seed),
            metric="perplexity",
            tensorboard=config.run.tensorboard,
            screen=screen,
        )
        training.train(training.begin(last))
        learning_curves(run.records(), "perplexity", run.curves)
        screen.say(f"the language model is in {run.best}")


def _in_its_own_folder(config: RunConfig, source: str, run_dir: str | None) -> RunConfig:
    """Beside the classifier's folder, unless the folder itself was named."""
    if run_dir is not None or Path(source).is_dir():
        return config
    run = config.run.model_copy(update={"dir": f"{config.run.dir}-pretrain"})
    return config.model_copy(update={"run": run})
