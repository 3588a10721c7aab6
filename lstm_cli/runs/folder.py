"""The files of a run. No other file knows their names."""

from __future__ import annotations

import itertools
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

from lstm_cli.data.durable import append_line, write_file
from lstm_cli.errors import CheckpointError, ConfigError
from lstm_cli.runs.group import RECORD, RunGroup

_CONFIG = "config.yaml"
LOCK = ".lock"
_BEFORE_TRAINING = {_CONFIG, "environment.json", "log.txt", LOCK, RECORD}
"""What a start that failed on its data leaves behind: nothing worth an --overwrite."""
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
    """Whether `folder` is a run's: it has a resolved config."""
    return (folder / _CONFIG).is_file()


def holds_more_than_a_start(folder: Path) -> bool:
    """Whether `folder` has anything that a start which failed on its data does not leave behind."""
    return any(
        file.name not in _BEFORE_TRAINING
        and not file.match(".*.tmp")  # what a killed process was about to write
        and (
            file.is_symlink() or not holds_a_run(file) or holds_more_than_a_start(file)
        )  # a group's first run
        for file in folder.iterdir()
    )


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one training and of all that is made from it."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: str, *, overwrite: bool) -> RunFolder:
        """A new run with its resolved config, in a folder that `locked` has made.

        Raises ConfigError where it holds anything already.
        """
        run = cls(path)
        more_than_a_start = holds_more_than_a_start(path)
        if more_than_a_start and not overwrite:
            raise ConfigError(
                f"{path}: the run's folder is not empty; try --resume to go on, --overwrite to begin again, "
                f"or --run another-folder"
            )
        # what other runs began with is not for this one
        if more_than_a_start or RunGroup.read(path) or (holds_a_run(path) and holds_a_run(run.pretraining)):
            run._empty()
        write_file(run.config, config.encode())
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that is there. Raises CheckpointError where there is none, or one that leads elsewhere, and ConfigError
        where there are several.

        A run may come from another machine; a link in it could have files outside of it read, or written over.
        """
        if not holds_a_run(path):
            raise CheckpointError(
                f"{path}: no run here (it has no {_CONFIG}); train one first, or name it with --run"
            )
        if group := RunGroup.read(path):
            raise ConfigError(
                f"{path}: holds the {len(group.names)} runs of {group.option}; name one of them: {group.choices()}; "
                f"to go on with all: {group.resume}"
            )
        if link := link_in(path):
            raise CheckpointError(f"{link}: a link in a run's folder; put what it leads to in its place")
        return cls(path)

    def _empty(self) -> None:
        """Delete all but the lock; the config last, since without one a folder is no run's and is not deleted."""
        files = [file for file in self.path.iterdir() if file.name != LOCK]
        for file in sorted(files, key=lambda file: file.name == _CONFIG):
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            else:
                file.unlink()

    @property
    def pretraining(self) -> Path:
        """The folder of the run that this one starts from, where it makes that itself."""
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
        """Where the predictions of a fitted baseline are kept, by what they were made from: with those of the group."""
        group = RunGroup.read(self.path.parent)
        shared = self.path.parent / "baselines"
        # a link there is passed by, as links in a run's own folder are refused
        in_group = group is not None and self.path.name in group.names and not shared.is_symlink()
        return (shared if in_group else self.path / "baselines") / f"{key}.json"

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Versions, machine and git state beside `facts`; nothing of the environment's variables."""
        content = {
            "versions": {"python": platform.python_version(), **_versions()},
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "git": _git_state(),
            "command": sys.argv,
            **facts,
        }
        write_file(self.environment, (json.dumps(content, indent=2) + "\n").encode())

    def read_environment(self) -> dict[str, Any]:
        """What `write_environment` wrote, or {} where it cannot be read."""
        try:
            content = json.loads(self.environment.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def dev_seed(self, seed: int) -> int:
        """By which seed the dev rows were cut from train: the run's own, unless it started from a pretraining."""
        found = self.read_environment().get("dev_seed")
        return found if type(found) is int else seed

    def record(self, line: Mapping[str, Any]) -> None:
        """Append one epoch to metrics.jsonl."""
        append_line(self.metrics, json.dumps(line))

    def records(self) -> list[dict[str, Any]]:
        """The epochs recorded so far, up to a line that no epoch has written whole."""
        if not self.metrics.exists():
            return []
        records = []
        for line in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                break
            if not _is_epoch(record):
                break
            records.append(record)
        return records

    def seconds(self) -> float:
        """What the recorded epochs took, scoring on dev and a pretraining of its own included."""
        names = ("seconds", "dev_seconds")
        own = sum(float(epoch.get(name, 0.0)) for epoch in self.records() for name in names)
        return own + (RunFolder(self.pretraining).seconds() if holds_a_run(self.pretraining) else 0.0)

    def keep_records(self, num_epochs: int) -> None:
        """Forget the epochs after the first `num_epochs`: a resumed run will record them again."""
        kept = [json.dumps(line) + "\n" for line in self.records() if line["epoch"] <= num_epochs]
        write_file(self.metrics, "".join(kept).encode())

    def write_log(self, message: str) -> None:
        """Append one line, with the time of day, to log.txt."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")


def _is_epoch(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("dev"), dict):
        return False
    numbers = [record.get("train_loss"), *record["dev"].values()]
    numbers += [record.get(name, 0.0) for name in ("seconds", "dev_seconds")]
    return type(record.get("epoch")) is int and all(type(number) in (int, float) for number in numbers)


def link_in(path: Path) -> Path | None:
    """The first symbolic link below `path`."""
    below = (Path(folder) / name for folder, *names in os.walk(path) for name in itertools.chain(*names))
    return next((place for place in below if place.is_symlink()), None)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _git_state() -> str | None:
    """The commit of the folder that the command runs in, with `+changes` where files differ; None outside of git."""
    # a repository's own settings may name programs: its file monitor, hooks, filters, a transport for missing objects
    off = {"core.fsmonitor": "false", "core.hooksPath": os.devnull}
    filters = _git(off, "config", "-z", "--name-only", "--get-regexp", r"^filter\.") or ""
    off |= dict.fromkeys(filters.split("\0")[:-1], "")
    commit = _git(off, "rev-parse", "HEAD")
    changes = _git(off, "--no-optional-locks", "status", "--porcelain", "--ignore-submodules=all")
    if commit is None or changes is None:
        return None
    return commit.strip() + ("+changes" if changes.strip() else "")


def _git(settings: Mapping[str, str], *arguments: str) -> str | None:
    """What git says with these settings over its own; None where it fails."""
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
