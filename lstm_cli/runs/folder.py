"""The files of a run: this module alone defines their names."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from lstm_cli.data.durable import append_line, odd_entry, read_file, write_file
from lstm_cli.data.escaping import one_line
from lstm_cli.errors import CheckpointError, ConfigError
from lstm_cli.runs.group import RECORD, REFIT, RunGroup

_CONFIG = "config.yaml"
LOCK = ".lock"
_BEFORE_TRAINING = {_CONFIG, "environment.json", "log.txt", LOCK, RECORD}
"""The files of a run that failed on its data before it trained. They may be replaced without --overwrite."""
_MAX_ENVIRONMENT_BYTES = 2**24  # it lists the data files
_MAX_METRICS_BYTES = 2**26  # 500 bytes an epoch
_PACKAGES = (
    "lstmcls",
    "torch",
    "tokenizers",
    "datasets",
    "scikit-learn",
    "numpy",
    "pyarrow",
    "safetensors",
    "pydantic",
)


def holds_a_run(folder: Path) -> bool:
    """Whether `folder` is a run's folder: it has a resolved config."""
    return (folder / _CONFIG).is_file()


def has_results(folder: Path) -> bool:
    """Whether `folder` holds more than the files of a run that failed before it trained."""
    return any(
        file.name not in _BEFORE_TRAINING
        and not file.match(".*.tmp")  # the temporary file of a process that was killed
        and (file.is_symlink() or not holds_a_run(file) or has_results(file))  # the first run of a group
        for file in folder.iterdir()
    )


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one training with its checkpoints, logs, scores and plots."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: str, *, overwrite: bool) -> RunFolder:
        """Begin a run with its resolved config, in a folder that `locked` has created.

        Raises ConfigError if the folder already holds results and `overwrite` is not set.
        """
        run = cls(path)
        overwrites = has_results(path)
        if overwrites and not overwrite:
            raise ConfigError(
                f"{path}: the run's folder is not empty; try --resume to continue, --overwrite to start again, "
                f"or --run another-folder"
            )
        # nothing of an earlier run may remain, such as the runs of a group or a pretraining
        if overwrites or RunGroup.read(path) or (holds_a_run(path) and holds_a_run(run.pretraining)):
            run._empty()
        write_file(run.config, config.encode())
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. Raises CheckpointError if there is none or if it contains a link, a pipe or a device, and
        ConfigError if the folder holds several runs.

        A run may come from another machine. A link in it could lead to files outside of it, and a pipe would be waited
        for.
        """
        if not holds_a_run(path):
            raise CheckpointError(
                f"{path}: no run here (it has no {_CONFIG}); train one first, or name it with --run"
            )
        if group := RunGroup.read(path):
            raise ConfigError(
                f"{path}: holds the {len(group.names)} runs of {group.option}; name one of them: {group.choices()}; "
                f"to resume all of them: {group.resume}"
            )
        refuse_odd_entries(path)
        return cls(path)

    def _empty(self) -> None:
        """Delete everything but the lock.

        The config goes last, because a folder without a config is not a run's and is never emptied.
        """
        files = [file for file in self.path.iterdir() if file.name != LOCK]
        for file in sorted(files, key=lambda file: file.name == _CONFIG):
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            else:
                file.unlink()

    @property
    def pretraining(self) -> Path:
        """The folder of this run's own pretraining (`init_from: pretrain`)."""
        return self.path / "pretrain"

    @property
    def config(self) -> Path:
        return self.path / _CONFIG

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best"

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last"

    @property
    def curves(self) -> Path:
        return self.path / "plots" / "curves.png"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def checkpoint(self, name: Literal["best", "last"]) -> Path:
        return self.best if name == "best" else self.last

    def evaluation(self, split: str) -> Path:
        return self.path / "eval" / split

    def baseline(self, key: str) -> Path:
        """The file of the baselines' predictions; `key` is a hash of their inputs.

        The runs of a group share the file.
        """
        group = RunGroup.read(self.path.parent)
        shared = self.path.parent / "baselines"
        # a link there is not followed, as links in a run's own folder are refused
        in_group = group is not None and self.path.name in group.names and not shared.is_symlink()
        return (shared if in_group else self.path / "baselines") / f"{key}.json"

    def write_environment(self, metadata: Mapping[str, Any]) -> None:
        """Write versions, machine, git state and `metadata` to environment.json; no environment variables."""
        content = {
            "versions": {"python": platform.python_version(), **_versions()},
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "git": _git_state(),
            "command": sys.argv,
            **metadata,
        }
        write_file(self.environment, (json.dumps(content, indent=2) + "\n").encode())

    def read_environment(self) -> dict[str, Any]:
        """The content of environment.json, or {} if it is missing or damaged.

        Raises CheckpointError if it is not a regular file, or too large for one.
        """
        try:
            content = json.loads(self._content(self.environment, _MAX_ENVIRONMENT_BYTES))
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    @property
    def is_refit(self) -> bool:
        """Whether this is the run of --refit: it learned from all rows of data.train, and has no dev rows."""
        return REFIT in self.read_environment()

    def dev_seed(self, seed: int) -> int:
        """The seed by which dev was cut from train: the run's own, or that of the pretraining that it started from."""
        dev_seed = self.read_environment().get("dev_seed")
        return dev_seed if type(dev_seed) is int else seed

    def record(self, line: Mapping[str, Any]) -> None:
        """Append the record of one epoch to metrics.jsonl."""
        append_line(self.metrics, json.dumps(line))

    def records(self) -> list[dict[str, Any]]:
        """The records of the epochs so far, up to the first incomplete line."""
        records = []
        content = self._content(self.metrics, _MAX_METRICS_BYTES)
        for line in content.decode("utf-8", "replace").splitlines():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                break
            if not _is_epoch(record):
                break
            records.append(record)
        return records

    def _content(self, path: Path, max_bytes: int) -> bytes:
        """The bytes of a file of this run, or b"" if there is none. Raises CheckpointError if it cannot be read."""
        try:
            return read_file(path, max_bytes)
        except FileNotFoundError:
            return b""
        except OSError as fault:
            raise CheckpointError(f"{path}: cannot be read ({fault.strerror})") from None

    def seconds(self) -> float:
        """Duration of the recorded epochs in seconds, with scoring on dev and the run's own pretraining."""
        names = ("seconds", "dev_seconds")
        own = sum(float(epoch.get(name, 0.0)) for epoch in self.records() for name in names)
        return own + (RunFolder(self.pretraining).seconds() if holds_a_run(self.pretraining) else 0.0)

    def keep_records(self, num_epochs: int) -> None:
        """Delete the records after the first `num_epochs` epochs: a resumed run writes them again."""
        kept = [json.dumps(line) + "\n" for line in self.records() if line["epoch"] <= num_epochs]
        write_file(self.metrics, "".join(kept).encode())

    def write_log(self, message: str) -> None:
        """Append one line with date and time to log.txt."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {one_line(message)}\n")


def refuse_odd_entries(path: Path) -> None:
    """Raise CheckpointError if there is a link, a pipe or a device below `path`."""
    if odd := odd_entry(path):
        raise CheckpointError(
            f"{odd}: a link in a run's folder; replace it with the file or folder that it points to"
            if odd.is_symlink()
            else f"{odd}: not a regular file; a run's folder has only files and folders"
        )


def _is_epoch(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("dev"), dict):
        return False
    # version 0.1 did not write network_loss
    network_loss = record.get("network_loss", {"train": 0.0, "dev": 0.0})
    if not isinstance(network_loss, dict):
        return False
    numbers = [record.get("train_loss"), *record["dev"].values()]
    numbers += [network_loss.get("train"), network_loss.get("dev")]
    numbers += [record.get(name, 0.0) for name in ("seconds", "dev_seconds")]
    return type(record.get("epoch")) is int and all(type(number) in (int, float) for number in numbers)


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _git_state() -> str | None:
    """The git commit of the working folder, with `+changes` if files differ from it; None outside of git."""
    # a repository's settings may run programs: a file monitor, hooks, filters, a transport for missing objects
    off = {"core.fsmonitor": "false", "core.hooksPath": os.devnull}
    filters = _git(off, "config", "-z", "--name-only", "--get-regexp", r"^filter\.") or ""
    off |= dict.fromkeys(filters.split("\0")[:-1], "")
    commit = _git(off, "rev-parse", "HEAD")
    changes = _git(off, "--no-optional-locks", "status", "--porcelain", "--ignore-submodules=all")
    if commit is None or changes is None:
        return None
    return commit.strip() + ("+changes" if changes.strip() else "")


def _git(settings: Mapping[str, str], *arguments: str) -> str | None:
    """The output of git with these settings in force; None if it fails."""
    variables = {"GIT_ALLOW_PROTOCOL": "none", "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    try:
        done = subprocess.run(
            ["git", *arguments],
            env={**os.environ, **variables},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout
