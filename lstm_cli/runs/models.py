"""The trained models to use: the one of a run, or those of all runs of a group, whose outputs are averaged."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from lstm_cli.data.rows import Content
from lstm_cli.data.sources import DataConfig, Rows, load_splits, open_rows
from lstm_cli.errors import CheckpointError, ConfigError
from lstm_cli.runs.checkpoint import Checkpoint, exists, load_checkpoint
from lstm_cli.runs.folder import RunFolder, refuse_odd_entries
from lstm_cli.runs.group import RunGroup
from lstm_cli.scoring.abilities import averaged
from lstm_cli.scoring.ensemble import Ensemble
from lstm_cli.scoring.prediction import TrainedModel
from lstm_cli.tasks.base import Task

_log = logging.getLogger(__name__)
_KEPT_BYTES = 2**29
"""Models of a group stay in memory while their files have fewer bytes than this in total. The others are read from disk
for every window of rows: 20 MB take 0.1 s, a large window takes seconds to compute."""


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a run or of a group, in the order of its runs.

    `run` is the folder that evaluations go to, `checkpoint` the one that was read of each run. `name` names the models
    in reports. `digest` is the SHA-256 of all their files.
    """

    run: RunFolder
    group: RunGroup | None
    checkpoint: Literal["best", "last"]
    ensemble: Ensemble
    name: str
    digest: str

    def splits(self, data: DataConfig, seed: int, content: type[Content]) -> dict[str, Rows[Any]]:
        """The splits by name that are the same for all models; `train` holds every row that one of them may have read.

        Raises DataError.
        """
        if self.group is None and not self.run.is_refit:
            return load_splits(data, self.run.dev_seed(seed), content=content).by_name()
        if self.group is not None and self.group.by == "seeds":
            seeds = {RunFolder(path).dev_seed(-1 - i) for i, path in enumerate(self.group.paths)}
            if len(seeds) == 1:
                return load_splits(data, seeds.pop(), content=content).by_name()
        return {
            split: open_rows(paths, data, split, labelled=True, content=content)
            for split, paths in data.sources().items()
        }


def open_models(path: Path, checkpoint: Literal["best", "last"], device: torch.device) -> Models:
    """The models of the run or the group in the folder `path`, with the `checkpoint` of each run.

    Raises CheckpointError if a model is missing, unfinished or damaged, ConfigError if the outputs cannot be averaged.
    """
    group = RunGroup.read(path)
    if group is None:
        run = RunFolder.open(path)
        saved = _read(run, checkpoint)
        one = _loaded(saved, device)
        return Models(
            run, None, checkpoint, Ensemble(one.task, {path.name: _kept(one)}), saved.name, _sha256(saved)
        )
    return _open_group(group, checkpoint, device)


def _open_group(group: RunGroup, checkpoint: Literal["best", "last"], device: torch.device) -> Models:
    refuse_odd_entries(group.path)
    _refuse_unfinished(group)
    members: dict[str, Callable[[], TrainedModel]] = {}
    digests = []
    num_bytes = 0
    first: Task | None = None
    for path in group.paths:
        run = RunFolder.open(path)
        saved = _read(run, checkpoint)
        one = _loaded(saved, device)
        first = first or one.task
        _refuse_different(group, path, first, one.task)
        digests.append(_sha256(saved))
        num_bytes += sum(map(len, saved.files.values()))
        fits = num_bytes <= _KEPT_BYTES
        members[path.name] = _kept(one) if fits else _reader(run, checkpoint, digests[-1], device)
    assert first is not None
    digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    name = f"the average of the {checkpoint} models of {len(members)} runs, sha256 {digest[:12]}"
    return Models(RunFolder(group.path), group, checkpoint, Ensemble(first, members), name, digest)


def _refuse_unfinished(group: RunGroup) -> None:
    """Raise CheckpointError if a run of the group is missing or not trained to its end."""
    unfinished = [path for path in group.paths if not exists(RunFolder(path).best)]
    if not group.summary.exists():  # it is written when all runs are finished
        unfinished += [path for path in group.paths if not any((path / "eval").glob("*/metrics.json"))]
        unfinished += [group.path]
    if unfinished:
        raise CheckpointError(
            f"{unfinished[0]}: the training is not finished, so the models of {group.option} cannot be averaged; "
            f"to resume: {group.resume}; or name one finished run"
        )


def _read(run: RunFolder, checkpoint: Literal["best", "last"]) -> Checkpoint:
    saved = load_checkpoint(run.checkpoint(checkpoint))
    if saved.newer_fault:
        _log.warning("%s; using %s", saved.newer_fault, saved.folder)
    return saved


def _loaded(saved: Checkpoint, device: torch.device) -> TrainedModel:
    return TrainedModel(*saved.load(device))


def _kept(one: TrainedModel) -> Callable[[], TrainedModel]:
    return lambda: one


def _reader(
    run: RunFolder, checkpoint: Literal["best", "last"], digest: str, device: torch.device
) -> Callable[[], TrainedModel]:
    """Reads the model again at every call, and refuses another one."""

    def read() -> TrainedModel:
        saved = load_checkpoint(run.checkpoint(checkpoint))
        if _sha256(saved) != digest:
            raise CheckpointError(f"{saved.folder}: has changed while it was used; try again")
        return _loaded(saved, device)

    return read


def _refuse_different(group: RunGroup, path: Path, first: Task, other: Task) -> None:
    """Raise ConfigError if the outputs of both tasks cannot be averaged."""
    abilities = averaged(first), averaged(other)
    if None in abilities:
        raise ConfigError(
            f"{group.path}: the outputs of this kind of task cannot be averaged; name one run: {group.choices()}"
        )
    names, others = (list(ability.output_names()) for ability in abilities if ability)
    if names != others:
        raise ConfigError(
            f"{path}: its outputs cannot be averaged with those of {group.paths[0]}: they stand for "
            f"{_shown(others)}, there for {_shown(names)}; name one run: {group.choices()}"
        )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")


def _sha256(saved: Checkpoint) -> str:
    """SHA-256 (hex) of the names and contents of all files of a checkpoint."""
    digest = hashlib.sha256()
    for name, content in sorted(saved.files.items()):
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()
