"""What a classifier takes over from a run of `lstmcls pretrain`: its vocabulary, embedding and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lstm_cli.data.sources import Splits
from lstm_cli.data.tokenizer import TextTokenizer
from lstm_cli.errors import CheckpointError, ConfigError
from lstm_cli.runs.checkpoint import Checkpoint, load_checkpoint
from lstm_cli.runs.folder import RunFolder, holds_a_run
from lstm_cli.tasks import ClassifyConfig
from lstm_cli.tasks.pretrain import Pretrain

_KEY = "task.encoder.init_from"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A pretraining as it is taken over: `weights` by their names in the classifier, `dev_seed` by which the dev rows
    were cut that it has not read, `train_digest` of the training rows that it has."""

    path: str
    checkpoint: str
    tokenizer: TextTokenizer
    weights: Mapping[str, Tensor]
    dev_seed: int
    train_digest: str | None

    def facts(self) -> dict[str, Any]:
        """What a run that starts from it should remember."""
        return {"run": self.path, "checkpoint": self.checkpoint}

    def announce(self, splits: Splits[Any], say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        """Say what is taken over, and warn where dev rows may have been read."""
        cut = "" if splits.dev.selected is None else f"; dev is cut from train by its seed, {self.dev_seed}"
        say(f"starting from {self.path} ({len(self.weights)} tensors){cut}")
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


def load_pretrained(config: ClassifyConfig, folder: str | None = None) -> Pretrained | None:
    """What stands in `folder`, or in that which `task.encoder.init_from` names; None where it names none.

    Raises CheckpointError where it is no whole pretraining, ConfigError with all in which it differs from `config`.
    """
    path = folder or config.encoder.pretrained_in
    if path is None:
        return None
    if not holds_a_run(Path(path)):
        raise CheckpointError(
            f"{_KEY}: {path}: no run here; lstmcls pretrain CONFIG makes one, and says where; with {_KEY}=pretrain "
            f"train makes its own"
        )
    try:
        run = RunFolder.open(Path(path))
        saved = load_checkpoint(run.best)
        task = load_pretraining(saved)
        weights = saved.model_of(task).state_dict()
    except CheckpointError as fault:
        raise CheckpointError(f"{_KEY}: {fault}") from None
    if differences := list(_differences(task.config, config)):
        raise ConfigError([f"{_KEY}: {path} cannot be started from: {one}" for one in differences])
    environment = run.read_environment()
    return Pretrained(
        path=path,
        checkpoint=saved.digest,
        tokenizer=task.tokenizer,
        weights={name: value for name, value in weights.items() if name.startswith("encoder.")},
        dev_seed=run.dev_seed(0),
        train_digest=environment.get("data", {}).get("train", {}).get("sha256"),
    )


def load_pretraining(saved: Checkpoint) -> Pretrain:
    """The task of a pretraining, but for the shares of its tokens. Raises CheckpointError where it is none."""
    try:
        return Pretrain.load(saved.files)
    except CheckpointError as fault:
        raise CheckpointError(f"{saved.folder}: {fault}") from None


def _differences(learned: ClassifyConfig, config: ClassifyConfig) -> Iterator[str]:
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
