"""Checkpoints: folders that are either complete or ignored.

Every file is written to a temporary name, flushed to disk and renamed (`durable.py`). The manifest, with the SHA-256 of
all other files, is written last; a folder that does not match its manifest is not a checkpoint. A new checkpoint is
written as `.new` and then replaces the old one, which stays as `.previous`. Weights are safetensors, everything else is
JSON: nothing in a checkpoint can be executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import safetensors
import safetensors.torch
import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lstm_cli.data.durable import open_regular, storage_errors, sync_folder, write_file
from lstm_cli.errors import CheckpointError, NotFiniteError, StorageError
from lstm_cli.nn.model import Model
from lstm_cli.tasks import load_task
from lstm_cli.tasks.base import Task, Trainable
from lstm_cli.training.state import Progress, TrainState

MANIFEST = "manifest.json"
_FORMAT = 1
_MODEL = "model.safetensors"
_TRAINING = "training.safetensors"
_NUMBERS = "training.json"
_NAME = re.compile(r"[a-z_]{1,40}\.(json|safetensors)")
_MAX_JSON_BYTES = {"tokenizer.json": 2**27, "labels.json": 2**24}
_MAX_OTHER_JSON_BYTES = 2**20
_JSON_FAULTS = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)
"""The exceptions that a wrong JSON file can raise."""
_OLD_NAMES = {"position": "num_batches", "tokens": "num_tokens", "positions": "num_padded_tokens"}
"""The names that version 0.1 used for three fields of `Progress`."""
_PAUSES = (0.0, 0.01, 0.1, 0.5, 1.0)
"""Seconds to wait before a checkpoint that was replaced while it was read is read again."""
_MAX_HEADER_BYTES = 2**20  # of a safetensors file: the header of a model of ten layers takes 10 kB


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint: `about` has its epoch and step, `files` the contents of its files by name.

    If a newer checkpoint of the same name could not be used, `newer_fault` says why.
    """

    folder: Path
    about: Mapping[str, Any]
    files: Mapping[str, bytes]
    newer_fault: str | None = None

    @property
    def name(self) -> str:
        """The name for messages and reports, such as `best, epoch 3, sha256 0f3a…`."""
        return f"{self.folder.name}, epoch {self.about['epoch']}, sha256 {self.digest[:12]}"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the weights."""
        return hashlib.sha256(self.files[_MODEL]).hexdigest()

    def names(self) -> list[str]:
        """The names of the weights. Raises CheckpointError if they cannot be read."""
        try:
            return list(_tensors(self.files[_MODEL]))
        except (ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as fault:
            raise CheckpointError(f"{self.folder / _MODEL}: cannot be read ({str(fault)[:500]})") from None

    def load(self, device: torch.device) -> tuple[Task, Model]:
        """The task and its model with the saved weights, in eval mode. Raises CheckpointError if they do not match."""
        try:
            task = load_task(self.files)
        except CheckpointError as fault:
            raise CheckpointError(f"{self.folder}: {fault}") from None
        model = self.model_of(task).to(device)
        model.eval()
        return task, model

    def model_of(self, task: Trainable) -> Model:
        """The task's model with the saved weights. Raises CheckpointError if they do not match."""
        try:
            # on the meta device, so that no memory is allocated before the weights are known to match
            with torch.device("meta"), _SkipInitialisation():
                model = task.build_model()
            weights = _tensors(self.files[_MODEL])
            _check_weights(weights)
            model.load_state_dict(weights, assign=True)
        except (ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as fault:
            raise CheckpointError(
                f"{self.folder / _MODEL}: does not match its own config.json ({str(fault)[:500]})"
            ) from None
        return model

    def restore(self, state: TrainState, *, scored: bool = True) -> None:
        """Restore a training from this checkpoint; `scored`: its epochs were scored on dev rows.

        Raises CheckpointError if it belongs to another model.
        """
        self._put(state.restore, scored=scored)

    def go_back(self, state: TrainState) -> None:
        """`restore` after steps with NaN or infinite values: also halves the learning rate."""
        self._put(state.go_back, scored=True)

    def _put(
        self, receive: Callable[[Mapping[str, Tensor], Mapping[str, Any]], None], *, scored: bool
    ) -> None:
        try:
            tensors = _tensors(self.files[_TRAINING])
            _check_weights({name: v for name, v in tensors.items() if not name.startswith("optimizer.")})
            numbers = json.loads(self.files[_NUMBERS])
            numbers["progress"] = {
                _OLD_NAMES.get(name, name): value for name, value in numbers["progress"].items()
            }
            progress = TypeAdapter(Progress).validate_json(json.dumps(numbers["progress"]), strict=True)
            if min(progress.epoch, progress.num_batches, progress.step) < 0:
                raise ValueError("a count below 0")
            if any(len(pair) != 2 for pair in (*progress.losses, *progress.network_losses)):
                raise ValueError("losses are not pairs")
            if scored and progress.epoch and (progress.best_score is None or progress.best_epoch is None):
                raise ValueError("epochs of which none is the best")
            if progress.best_epoch is not None and not 0 <= progress.best_epoch < len(progress.losses):
                raise ValueError("a best epoch without its losses")
            receive(tensors, numbers)
        except (*_JSON_FAULTS, RuntimeError, safetensors.SafetensorError) as fault:
            raise CheckpointError(
                f"{self.folder}: cannot resume from its {_TRAINING} and {_NUMBERS} ({str(fault)[:500]})"
            ) from None


def save(best: Path | None, last: Path, task: Trainable, state: TrainState) -> None:
    """Write the current model to `best`, for `eval` and `predict`, and everything that a resumed training needs to
    `last`. Raises NotFiniteError, and writes nothing, if a weight is not finite."""
    progress = state.progress
    # counted from 1: the epoch in progress or, right after an epoch, the finished one
    about = {"epoch": progress.epoch + (progress.num_batches > 0), "step": progress.step}
    model = {_MODEL: _bytes(state.scored_model.state_dict()), **task.files()}
    training = {
        _TRAINING: _bytes(state.training_tensors()),
        _NUMBERS: json.dumps(state.training_numbers(), indent=2).encode(),
    }
    if best:
        _write(best, model, about)
    _write(last, {**model, **training}, about)


def load_checkpoint(folder: Path) -> Checkpoint:
    """The first complete checkpoint of these: the folder itself, a newer one that should replace it, the previous one.

    If a training replaces it in the meantime, it is read again. Raises CheckpointError if there is none.
    """
    for pause in _PAUSES:
        before = _states(folder)
        try:
            if (found := _load(folder)).newer_fault is None:
                return found
        except CheckpointError:
            pass
        if _states(folder) == before:
            break
        time.sleep(pause)
    return _load(folder)


def _states(folder: Path) -> list[tuple[int, int] | None]:
    """What changes if a checkpoint is replaced: the identity of each of its folders and of its manifest."""
    found: list[tuple[int, int] | None] = []
    for place in (folder, _new(folder), _previous(folder)):
        for path in (place, place / MANIFEST):
            try:
                state = path.stat()
                found.append((state.st_ino, state.st_mtime_ns))
            except OSError:
                found.append(None)
    return found


def _load(folder: Path) -> Checkpoint:
    faults: list[str] = []
    for candidate in (folder, _new(folder), _previous(folder)):
        if not candidate.exists():
            continue
        try:
            return dataclasses.replace(_read(candidate), newer_fault="\n".join(faults) or None)
        except CheckpointError as fault:
            faults.append(str(fault))
    if not faults:
        raise CheckpointError(f"{folder}: no such checkpoint; has the training saved one yet?")
    raise CheckpointError("\n".join(faults))


def exists(folder: Path) -> bool:
    """Whether anything was ever saved under this name, even if it is damaged now.

    A first checkpoint that was cut off while it was written is nothing: it has no manifest, which is written last.
    """
    return folder.exists() or _previous(folder).exists() or (_new(folder) / MANIFEST).exists()


def delete_older(folder: Path) -> None:
    """Delete the checkpoints that this one has replaced, if it is complete itself."""
    with suppress(CheckpointError):
        _read(folder)
        for other in (_new(folder), _previous(folder)):
            shutil.rmtree(other, ignore_errors=True)


def delete(folder: Path) -> None:
    """Delete the checkpoint and those that it has replaced."""
    for place in (_previous(folder), _new(folder), folder):
        shutil.rmtree(place, ignore_errors=True)


def _new(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.new")


def _previous(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.previous")


def _write(folder: Path, files: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    new, previous = _new(folder), _previous(folder)
    listed = {name: {"sha256": hashlib.sha256(c).hexdigest(), "bytes": len(c)} for name, c in files.items()}
    manifest: dict[str, Any] = {"format": _FORMAT, **about, "files": listed}
    manifest["sha256"] = _digest_of(manifest)
    with storage_errors(folder):
        shutil.rmtree(new, ignore_errors=True)
        try:
            new.mkdir(parents=True)
            for name, content in {**files, MANIFEST: json.dumps(manifest, indent=2).encode()}.items():
                write_file(new / name, content)
        except (OSError, StorageError):
            shutil.rmtree(new, ignore_errors=True)  # it would take up space that a full disk does not have
            raise
        if folder.exists():
            shutil.rmtree(previous, ignore_errors=True)
            folder.rename(previous)
        new.rename(folder)
        sync_folder(folder.parent)


def _digest_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _read(folder: Path) -> Checkpoint:
    try:
        manifest = json.loads(_content(folder / MANIFEST, _max_bytes(MANIFEST)))
        listed = {str(name): str(entry["sha256"]) for name, entry in manifest["files"].items()}
        if manifest["format"] != _FORMAT:
            raise CheckpointError(
                f"{folder}: format {manifest['format']!r:.100}, this lstmcls reads {_FORMAT}"
            )
        if manifest.pop("sha256") != _digest_of(manifest):
            raise CheckpointError(f"{folder / MANIFEST}: damaged: its content does not match its SHA-256")
        about = {"epoch": int(manifest["epoch"]), "step": int(manifest["step"])}
    except _JSON_FAULTS as fault:
        raise CheckpointError(f"{folder / MANIFEST}: damaged ({type(fault).__name__}: {fault})") from None
    files = {}
    for name, digest in listed.items():
        if not _NAME.fullmatch(name):
            raise CheckpointError(
                f"{folder / MANIFEST}: lists a file that does not belong in a checkpoint: {name!r:.200}"
            )
        files[name] = _content(folder / name, _max_bytes(name))
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise CheckpointError(
                f"{folder / name}: damaged: its content does not match the SHA-256 in the manifest"
            )
    if _MODEL not in files:
        raise CheckpointError(f"{folder / MANIFEST}: does not list {_MODEL}")
    return Checkpoint(folder, about, files)


def _max_bytes(name: str) -> int:
    if name.endswith(".safetensors"):
        return sys.maxsize  # as many as its header describes
    return _MAX_JSON_BYTES.get(name, _MAX_OTHER_JSON_BYTES)


def _content(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file.

    Raises CheckpointError for a link, pipe or device, for a file of more than `max_bytes`, and for weights that do not
    fill their file, as those of a sparse file do not: it would take all memory before its SHA-256 is known to be wrong.
    """
    if path.is_symlink():
        raise CheckpointError(f"{path}: a link; a checkpoint has only regular files")
    try:
        with open_regular(path, max_bytes) as file:
            if path.suffix == ".safetensors":
                _check_header(path, file)
            return file.read()
    except OSError as fault:
        raise CheckpointError(f"{path}: cannot be read ({fault.strerror})") from None
    except MemoryError:
        raise CheckpointError(f"{path}: its {path.stat().st_size:,} bytes do not fit into memory") from None


def _check_header(path: Path, file: IO[bytes]) -> None:
    """Raise CheckpointError unless the tensors that the header lists fill the file of safetensors."""
    try:
        if (length := int.from_bytes(file.read(8), "little")) > _MAX_HEADER_BYTES:
            raise ValueError(f"its header claims {length} bytes")
        header = json.loads(file.read(length))
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        filled, size = 8 + length + max(ends, default=0), file.seek(0, os.SEEK_END)
        if filled != size:
            raise ValueError(f"its header describes {filled:,} bytes of {size:,}")
        file.seek(0)
    except (*_JSON_FAULTS, IndexError) as fault:
        raise CheckpointError(f"{path}: damaged ({str(fault)[:500]})") from None


def _bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """The tensors as safetensors.

    Raises NotFiniteError for NaN or infinite values: they must not replace finite ones.
    """
    broken = [name for name, value in tensors.items() if not value.isfinite().all()]
    if broken:
        raise NotFiniteError(
            f"not saved: {broken[0]} holds NaN or infinite values; the previous checkpoint is intact. "
            f"Try a lower train.learning_rate"
        )
    content: bytes = safetensors.torch.save(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    )
    return content


def _tensors(content: bytes) -> dict[str, Tensor]:
    """The tensors in safetensors bytes.

    Raises KeyError, RuntimeError, ValueError or SafetensorError for other bytes.
    """
    if (header := int.from_bytes(content[:8], "little")) > _MAX_HEADER_BYTES:
        raise ValueError(f"its header claims {header} bytes")
    tensors: dict[str, Tensor] = safetensors.torch.load(content)
    return tensors


def _check_weights(weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError if a weight is not float32 or not finite."""
    for name, value in weights.items():
        if value.dtype != torch.float32 or not value.isfinite().all():
            raise ValueError(f"{name}: must be float32 and finite")


class _SkipInitialisation(TorchFunctionMode):
    """Skip random initialisation: on the meta device it does nothing, but torch first spends 1.1 s on imports."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.__name__ == "normal_":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
