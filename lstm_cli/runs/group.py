"""The folder of several runs of one config: their names, and the files that summarise them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lstm_cli.data.durable import read_file, write_file
from lstm_cli.errors import CheckpointError

RECORD = "members.json"
REFIT = "refit"
"""The folder of the run of --refit, and its entry in environment.json."""
_MAX_BYTES = 2**20  # a thousand members take 20 kB
_SHOWN_MEMBERS = 10
_NAME = re.compile(r"(seed|fold)-[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Runs in the folders `names` below `path`, made by `lstmcls train --seeds` or `--folds`.

    `refits`: after the folds one model is trained on all rows (--refit).
    """

    path: Path
    by: Literal["seeds", "folds"]
    names: tuple[str, ...]
    refits: bool = False

    @classmethod
    def read(cls, path: Path) -> RunGroup | None:
        """The group in the folder `path`, or None.

        Raises CheckpointError if the record is not a regular file, or too large for one.
        """
        try:
            content = json.loads(read_file(path / RECORD, _MAX_BYTES))
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            return None
        except OSError as fault:
            raise CheckpointError(f"{path / RECORD}: cannot be read ({fault.strerror})") from None
        match content:
            case {"by": "seeds" | "folds" as by, "members": [_, *_] as names}:
                # a group may come from a stranger, and a name must not lead out of its folder
                if all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
                    return cls(path, by, tuple(names), content.get(REFIT) is True)
        return None

    def write(self) -> None:
        """Record the group in its folder, before its first run begins."""
        content = {"by": self.by, "members": self.names, **({REFIT: True} if self.refits else {})}
        write_file(self.path / RECORD, (json.dumps(content, indent=2) + "\n").encode())

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folders of the runs."""
        return tuple(self.path / name for name in self.names)

    @property
    def option(self) -> str:
        """The option that made the group, such as `--folds 3`."""
        return f"--{self.by} {len(self.names)}"

    @property
    def resume(self) -> str:
        """The command that resumes the group."""
        return f"lstmcls train {self.path} {self.option}{' --refit' if self.refits else ''} --resume"

    @property
    def refit(self) -> Path:
        """The folder of the run that is trained on all rows."""
        return self.path / REFIT

    def choices(self) -> str:
        """The folders of the runs as one line; a long list is shortened."""
        shown = ", ".join(str(self.path / name) for name in self.names[:_SHOWN_MEMBERS])
        return shown + (", …" if len(self.names) > _SHOWN_MEMBERS else "")

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def page(self) -> Path:
        return self.path / "summary.md"

    @property
    def out_of_fold(self) -> Path:
        return self.path / "out-of-fold.jsonl"
