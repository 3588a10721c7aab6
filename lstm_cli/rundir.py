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

from lstm_cli.errors import CheckpointError, ConfigError

_CONFIG = "config.yaml"
_BEFORE_TRAINING = {_CONFIG, "environment.json", "log.txt"}
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


@dataclass(frozen=True, slots=True)
class RunDir:
    """The folder of one training and of all that is made from it."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: str, *, overwrite: bool) -> RunDir:
        """A new run with its resolved config. Raises ConfigError where the folder holds anything already."""
        run = cls(path)
        if path.exists() and not path.is_dir():
            raise ConfigError(
                f"{path}: a file stands where the run's folder should be; try --run another-folder"
            )
        if path.is_dir() and any(file.name not in _BEFORE_TRAINING for file in path.iterdir()):
            if not overwrite:
                raise ConfigError(
                    f"{path}: the run's folder is not empty; try --resume to go on, --overwrite to begin again, "
                    f"or --run another-folder"
                )
            if not holds_a_run(path):
                raise ConfigError(
                    f"{path}: not a run's folder, --overwrite does not delete it; try --run another-folder"
                )
            shutil.rmtree(path)
        if link := _link_in(path):
            raise ConfigError(f"{link}: a link in the run's folder; take it out, or try --run another-folder")
        path.mkdir(parents=True, exist_ok=True)
        run.config.write_text(config, encoding="utf-8")
        return run

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """A run that is there. Raises CheckpointError where there is none, or one that leads elsewhere.

        A run may come from another machine; a link in it could have files outside of it read, or written over.
        """
        if not holds_a_run(path):
            raise CheckpointError(
                f"{path}: no run here (it has no {_CONFIG}); train one first, or name it with --run"
            )
        if link := _link_in(path):
            raise CheckpointError(f"{link}: a link in a run's folder; put what it leads to in its place")
        return cls(path)

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
        """Where the predictions of a fitted baseline are kept, by what they were made from."""
        return self.path / "baselines" / f"{key}.json"

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
        self.environment.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def read_environment(self) -> dict[str, Any]:
        """What `write_environment` wrote, or {} where it cannot be read."""
        try:
            content = json.loads(self.environment.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def record(self, line: Mapping[str, Any]) -> None:
        """Append one epoch to metrics.jsonl."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """The epochs recorded so far; a last line that a crash cut short is left out."""
        if not self.metrics.exists():
            return []
        records = []
        for line in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                if type(record["epoch"]) is not int:
                    break
            except (ValueError, TypeError, KeyError, RecursionError):
                break
            records.append(record)
        return records

    def keep_records(self, num_epochs: int) -> None:
        """Forget the epochs after the first `num_epochs`: a resumed run will record them again."""
        kept = [json.dumps(line) + "\n" for line in self.records() if line["epoch"] <= num_epochs]
        temporary = self.metrics.with_suffix(".tmp")
        temporary.write_text("".join(kept), encoding="utf-8")
        temporary.replace(self.metrics)

    def write_log(self, message: str) -> None:
        """Append one line, with the time of day, to log.txt."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")


def _link_in(path: Path) -> Path | None:
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
