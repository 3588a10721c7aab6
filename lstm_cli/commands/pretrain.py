"""`lstmcls pretrain`: config → run folder → text → vocabulary → encoded text → language models → epochs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lstm_cli.commands.training_loop import Training, keep_provenance, open_run
from lstm_cli.config.load import RunConfig, load_config
from lstm_cli.console import Screen
from lstm_cli.data.corpus import load_corpus
from lstm_cli.data.sources import load_splits
from lstm_cli.data.text import Text
from lstm_cli.errors import ConfigError
from lstm_cli.runs.checkpoint import load_checkpoint
from lstm_cli.runs.origin import load_pretraining
from lstm_cli.runtime import Runtime, start
from lstm_cli.tasks.pretrain import PERPLEXITY, Pretrain
from lstm_cli.training.fit import EncodedSplits
from lstm_cli.training.state import TrainState


@dataclass(frozen=True, slots=True)
class PretrainRequest:
    """The arguments of `lstmcls pretrain`."""

    source: str
    overrides: tuple[str, ...] = ()
    run_dir: str | None = None
    resume: bool = False
    overwrite: bool = False


def pretrain(request: PretrainRequest, screen: Screen) -> None:
    """Pretrain embedding and layers on text without labels; `task.encoder.init_from` starts a training from them."""
    config = _in_its_own_folder(load_config(request.source, request.overrides, request.run_dir), request)
    pretrain_run(config, start(config.run), screen, resume=request.resume, overwrite=request.overwrite)
    again = "CONFIG" if request.source == "-" or Path(request.source).is_dir() else request.source
    screen.say(f"next: lstmcls train {again} --set task.encoder.init_from={config.run.dir}")


def pretrain_run(
    config: RunConfig, runtime: Runtime, screen: Screen, *, resume: bool, overwrite: bool
) -> None:
    """Run one pretraining in the folder of `config`. Raises ConfigError if the task does not read text."""
    reader = config.task.text_reader()
    if reader is None:
        raise ConfigError(
            f"task.kind: {config.task.kind} does not read text, which pretraining needs; try lstmcls train"
        )
    workers = runtime.workers
    with open_run(config, "pretrain", screen, workers, resume=resume, overwrite=overwrite) as (run, resumed):
        last = load_checkpoint(run.last) if resumed else None
        tokenizer = load_pretraining(last).tokenizer if last else None
        seed = config.run.seed
        splits = load_splits(config.data, seed, content=Text)
        corpus = load_corpus(config.data, splits, seed)
        metadata = {"seed": seed, "dev_seed": seed, **runtime.metadata()}
        keep_provenance(
            run, config, {**splits.by_name(), "text": corpus.whole}, metadata, workers, resumed=resumed
        )

        task = Pretrain.learn(reader, corpus, config.pretrain.sampled_tokens, tokenizer)
        data = EncodedSplits(task.encode(corpus.train), task.encode(corpus.held_out))
        if corpus.num_left_out:
            screen.say(
                f"{corpus.num_left_out:,} rows of data.unlabelled are left out: they are copies or near copies of "
                f"dev or test texts"
            )
        if reader.encoder.num_pretrained_layers < reader.encoder.num_layers:
            screen.say(
                f"only the first of {reader.encoder.num_layers} bidirectional layers is pretrained: the layers above "
                f"it would see the token that they have to predict"
            )
        settings = config.pretrain.settings(config.train, data.train.num_steps)
        if settings.epochs < config.pretrain.epochs:
            screen.say(
                f"{data.train.num_steps:,} tokens: {settings.epochs} instead of {config.pretrain.epochs} epochs, to "
                f"stay within pretrain.budget"
            )
        training = Training(
            command="pretrain",
            run=run,
            task=task,
            data=data,
            config=settings,
            runtime=runtime,
            start=partial(TrainState.start, task, settings, runtime, seed),
            stores={"text": data.train, "held out": data.dev},
            metric=PERPLEXITY.name,
            tensorboard=config.run.tensorboard,
            screen=screen,
        )
        training.train(last)
        screen.say(f"the language model is in {run.best}")


def _in_its_own_folder(config: RunConfig, request: PretrainRequest) -> RunConfig:
    """The config with a run folder next to the classifier's, unless --run or CONFIG names the folder."""
    if request.run_dir is not None or Path(request.source).is_dir():
        return config
    run = config.run.model_copy(update={"dir": f"{config.run.dir}-pretrain"})
    return config.model_copy(update={"run": run})
