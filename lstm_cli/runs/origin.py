"""The starting point of a training: random weights, a run of `lstmcls pretrain`, or its own last checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lstm_cli.data.sources import Splits
from lstm_cli.data.tokenizer import TextTokenizer
from lstm_cli.errors import CheckpointError, ConfigError
from lstm_cli.runs.checkpoint import Checkpoint, load_checkpoint
from lstm_cli.runs.folder import RunFolder, holds_a_run
from lstm_cli.tasks.base import Task, TaskConfig, TextReader
from lstm_cli.tasks.pretrain import Pretrain

_KEY = "task.encoder.init_from"


@dataclass(frozen=True, slots=True)
class Origin:
    """The starting point of a training. The default values mean random weights.

    `dev_seed` decides which dev rows are cut from train. After a pretraining, `tokenizer` is its tokenizer, `weights`
    its weights by their names in the model, and `pretrained` the names of all pretrained parameters. `checkpoint` is
    the one to resume from.
    """

    dev_seed: int
    tokenizer: TextTokenizer | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    pretrained: Collection[str] = ()
    pretraining: Pretraining | None = None
    checkpoint: Checkpoint | None = None

    def learned_task(self, device: torch.device) -> Task | None:
        """The fitted task of a resumed training, else None."""
        return self.checkpoint.load(device)[0] if self.checkpoint else None

    def metadata(self) -> dict[str, Any]:
        """The origin's entries in environment.json."""
        pretraining = {"pretrained": self.pretraining.metadata()} if self.pretraining else {}
        return {"dev_seed": self.dev_seed, **pretraining}

    def resumed(self, run: RunFolder, config: TaskConfig) -> Origin:
        """This origin with the run's last checkpoint to resume from.

        Raises CheckpointError if there is none, ConfigError if the run began with another pretraining.
        """
        if self.pretraining:
            self.pretraining.refuse_another(run)
        checkpoint = load_checkpoint(run.last)
        reader = config.text_reader()
        pretrained = self.pretrained
        # also if the pretraining was the run's own and was deleted since
        if config.init_from and reader:
            pretrained = _pretrained_names(checkpoint.names(), reader.encoder.num_pretrained_layers)
        return replace(self, checkpoint=checkpoint, pretrained=pretrained)


@dataclass(frozen=True, slots=True)
class Pretraining:
    """A run of `lstmcls pretrain` to start from; `train_digest` is the SHA-256 of the training rows that it read."""

    path: str
    checkpoint: str
    num_weights: int
    dev_seed: int
    train_digest: str | None

    def metadata(self) -> dict[str, Any]:
        """The entry in environment.json of a run that starts from it."""
        return {"run": self.path, "checkpoint": self.checkpoint}

    def announce(self, splits: Splits[Any], say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        """Print what is loaded from it, and warn if it may have read dev or test rows."""
        cut = "" if splits.dev.selected is None else f"; dev is cut from train with its seed, {self.dev_seed}"
        say(f"starting from {self.path} ({self.num_weights} tensors){cut}")
        if splits.train.digest() != self.train_digest:
            warn(
                f"{_KEY}: {self.path} was pretrained on other training rows, so it may have read dev or test rows and "
                f"the scores may be too high; pretrain again with this data section"
            )

    def refuse_another(self, run: RunFolder) -> None:
        """Raise ConfigError if the run began with another pretraining."""
        before = run.read_environment().get("pretrained")
        if before is None or before.get("checkpoint") != self.checkpoint:
            raise ConfigError(
                f"{run.environment}: the pretraining in {self.path} is not the one that this run began with, so it "
                f"cannot be resumed; try the old one, or another --run"
            )


def named_origin(config: TaskConfig, seed: int, folder: Path | None = None) -> Origin:
    """The origin for the pretraining in `folder`, or in the folder that `task.encoder.init_from` names.

    If neither is given, it is random weights and `seed`. Raises CheckpointError if the folder holds no complete
    pretraining, ConfigError with all keys in which it differs from `config`.
    """
    reader = config.text_reader()
    if folder is None and config.init_from and not config.pretrains_first:
        folder = Path(config.init_from)
    if folder is None or reader is None:
        return Origin(dev_seed=seed)
    if not holds_a_run(folder):
        raise CheckpointError(
            f"{_KEY}: {folder}: no run here; lstmcls pretrain CONFIG makes one and prints its folder; with "
            f"{_KEY}=pretrain, train makes its own"
        )
    try:
        run = RunFolder.open(folder)
        saved = load_checkpoint(run.best)
        task = load_pretraining(saved)
        all_weights = saved.model_of(task).state_dict()
    except CheckpointError as fault:
        raise CheckpointError(f"{_KEY}: {fault}") from None
    if differences := list(_differences(task.config, reader)):
        raise ConfigError([f"{_KEY}: {folder} does not fit this config: {one}" for one in differences])
    weights = {name: value for name, value in all_weights.items() if name.startswith("encoder.")}
    train = run.read_environment().get("data", {}).get("train", {})
    pretraining = Pretraining(str(folder), saved.digest, len(weights), run.dev_seed(0), train.get("sha256"))
    return Origin(pretraining.dev_seed, task.tokenizer, weights, tuple(weights), pretraining)


def load_pretraining(saved: Checkpoint) -> Pretrain:
    """The task of a pretraining, without its token frequencies. Raises CheckpointError if it is something else."""
    try:
        return Pretrain.load(saved.files)
    except CheckpointError as fault:
        raise CheckpointError(f"{saved.folder}: {fault}") from None


def _pretrained_names(names: Collection[str], num_layers: int) -> tuple[str, ...]:
    """The parameters of the embedding and of the first `num_layers` recurrent layers."""
    layer_of = {name: re.search(r"_l([0-9]+)", name) for name in names if name.startswith("encoder.")}
    return tuple(name for name, layer in layer_of.items() if layer is None or int(layer[1]) < num_layers)


def _differences(learned: TextReader, config: TextReader) -> Iterator[str]:
    """A message for each key that must be equal and is not."""
    then, now = learned.tokenizer.model_dump(), config.tokenizer.model_dump()
    for name in dict.fromkeys([*then, *now]):
        if then.get(name) != now.get(name):
            yield f"its task.tokenizer.{name} is {then.get(name)}, here it is {now.get(name)}"
    for name in ("cell", "embedding_size", "hidden_size", "bidirectional", "num_pretrained_layers"):
        before, here = getattr(learned.encoder, name), getattr(config.encoder, name)
        if before != here:
            key = "num_layers" if name == "num_pretrained_layers" else name
            yield f"its task.encoder.{key} is {before}, here it is {here}"
