"""What a training starts from: random weights, a run of `lstmcls pretrain`, or its own last checkpoint."""

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
    """Where a training starts, in one value; by itself it is a fresh start.

    `dev_seed` decides the dev rows that are cut from train. Of a pretraining there are its `tokenizer`, its `weights`
    by their names in the model, and in `pretrained` the names of all parameters that came from it; `checkpoint` is
    that of a training to resume.
    """

    dev_seed: int
    tokenizer: TextTokenizer | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    pretrained: Collection[str] = ()
    pretraining: Pretraining | None = None
    checkpoint: Checkpoint | None = None

    @property
    def is_resumed(self) -> bool:
        return self.checkpoint is not None

    def learned_task(self, device: torch.device) -> Task | None:
        """The task of the training that is resumed, if one is."""
        return self.checkpoint.load(device)[0] if self.checkpoint else None

    def metadata(self) -> dict[str, Any]:
        """What environment.json says of it."""
        pretraining = {"pretrained": self.pretraining.metadata()} if self.pretraining else {}
        return {"dev_seed": self.dev_seed, **pretraining}

    def resumed(self, run: RunFolder, config: TaskConfig) -> Origin:
        """The same start, resumed from the run's last checkpoint.

        Raises CheckpointError where there is none, ConfigError where the run began with another pretraining.
        """
        if self.pretraining:
            self.pretraining.refuse_another(run)
        checkpoint = load_checkpoint(run.last)
        reader = config.text()
        pretrained = self.pretrained
        if config.init_from and reader:  # also where the pretraining was the run's own, and is gone
            pretrained = _pretrained_names(checkpoint.names(), reader.encoder.num_pretrained_layers)
        return replace(self, checkpoint=checkpoint, pretrained=pretrained)


@dataclass(frozen=True, slots=True)
class Pretraining:
    """A run of `lstmcls pretrain` that a training starts from; `train_digest` is that of the training rows it read."""

    path: str
    checkpoint: str
    num_weights: int
    dev_seed: int
    train_digest: str | None

    def metadata(self) -> dict[str, Any]:
        """What a run that starts from it should remember."""
        return {"run": self.path, "checkpoint": self.checkpoint}

    def announce(self, splits: Splits[Any], say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        """Say what is taken from it, and warn where it may have read dev rows."""
        cut = "" if splits.dev.selected is None else f"; dev is cut from train by its seed, {self.dev_seed}"
        say(f"starting from {self.path} ({self.num_weights} tensors){cut}")
        if splits.train.digest() != self.train_digest:
            warn(
                f"{_KEY}: {self.path} was pretrained on other training rows, so it may have read the text of dev or "
                f"test rows and their scores may be too good; pretrain again with this data section"
            )

    def refuse_another(self, run: RunFolder) -> None:
        """Raise ConfigError where the run began with another pretraining than this."""
        before = run.read_environment().get("pretrained")
        if before is None or before.get("checkpoint") != self.checkpoint:
            raise ConfigError(
                f"{run.environment}: the pretraining in {self.path} is not the one that this run began with, so it "
                f"cannot be resumed; try the old one, or another --run"
            )


def named_origin(config: TaskConfig, seed: int, folder: Path | None = None) -> Origin:
    """A start from the pretraining in `folder`, or in that which `task.encoder.init_from` names.

    Where neither names one it is a fresh start with `seed`.

    Raises CheckpointError where it is no whole pretraining, ConfigError with all in which it differs from `config`.
    """
    reader = config.text()
    if folder is None and config.init_from not in (None, "pretrain"):
        folder = Path(str(config.init_from))
    if folder is None or reader is None:
        return Origin(dev_seed=seed)
    if not holds_a_run(folder):
        raise CheckpointError(
            f"{_KEY}: {folder}: no run here; lstmcls pretrain CONFIG makes one, and says where; with {_KEY}=pretrain "
            f"train makes its own"
        )
    try:
        run = RunFolder.open(folder)
        saved = load_checkpoint(run.best)
        task = load_pretraining(saved)
        all_weights = saved.model_of(task).state_dict()
    except CheckpointError as fault:
        raise CheckpointError(f"{_KEY}: {fault}") from None
    if differences := list(_differences(task.config, reader)):
        raise ConfigError([f"{_KEY}: {folder} cannot be started from: {one}" for one in differences])
    weights = {name: value for name, value in all_weights.items() if name.startswith("encoder.")}
    train = run.read_environment().get("data", {}).get("train", {})
    pretraining = Pretraining(str(folder), saved.digest, len(weights), run.dev_seed(0), train.get("sha256"))
    return Origin(pretraining.dev_seed, task.tokenizer, weights, tuple(weights), pretraining)


def load_pretraining(saved: Checkpoint) -> Pretrain:
    """The task of a pretraining, without its frequencies. Raises CheckpointError where it is none."""
    try:
        return Pretrain.load(saved.files)
    except CheckpointError as fault:
        raise CheckpointError(f"{saved.folder}: {fault}") from None


def _pretrained_names(names: Collection[str], num_layers: int) -> tuple[str, ...]:
    """The parameters of the embedding and of the first `num_layers` recurrent layers."""
    layer_of = {name: re.search(r"_l([0-9]+)", name) for name in names if name.startswith("encoder.")}
    return tuple(name for name, layer in layer_of.items() if layer is None or int(layer[1]) < num_layers)


def _differences(learned: TextReader, config: TextReader) -> Iterator[str]:
    """All that must be the same and is not."""
    then, now = learned.tokenizer.model_dump(), config.tokenizer.model_dump()
    for name in dict.fromkeys([*then, *now]):
        if then.get(name) != now.get(name):
            yield f"its task.tokenizer.{name} is {then.get(name)}, here it is {now.get(name)}"
    for name in ("cell", "embedding_size", "hidden_size", "bidirectional", "num_pretrained_layers"):
        before, here = getattr(learned.encoder, name), getattr(config.encoder, name)
        if before != here:
            key = "num_layers" if name == "num_pretrained_layers" else name
            yield f"its task.encoder.{key} is {before}, here it is {here}"
