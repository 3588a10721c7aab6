"""Locks between processes: one process per run folder and per output file. A lock ends with its process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lstm_cli.data.durable import odd_entry
from lstm_cli.data.lock import FOREVER, held, held_and_deleted, holder_of
from lstm_cli.errors import ConfigError, LstmclsError
from lstm_cli.runs.folder import LOCK, has_results, holds_a_run


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create the folder; inside the block no other process can train in it.

    Raises LstmclsError if another process trains in it, ConfigError if it cannot be created or is not a run's folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(
            f"{folder}: is a file, and the run needs a folder of that name; try --run another-folder"
        ) from None
    if has_results(folder) and not holds_a_run(folder):
        raise ConfigError(
            f"{folder}: not empty and not a run's folder, so nothing was changed; try --run another-folder"
        )
    if odd := odd_entry(folder):
        what = "a link" if odd.is_symlink() else "a pipe or a device"
        raise ConfigError(f"{odd}: {what} in the run's folder; remove it, or try --run another-folder")
    path = folder / LOCK
    holder = holder_of(path)  # read first: some releases of filelock empty the file when they open it
    with held(path) as is_ours:
        if not is_ours:
            raise LstmclsError(
                f"{folder}: another training runs in this folder (process {holder}); "
                f"wait for it, stop it, or try --run another-folder"
            )
        yield


@contextmanager
def sole_writer(path: Path, output: Path) -> Iterator[None]:
    """Inside the block no other process can write `output`. The lock file `path` is deleted afterwards.

    Raises LstmclsError if another process writes it.
    """
    with held_and_deleted(path) as is_ours:
        if not is_ours:
            raise LstmclsError(
                f"{output}: another process is writing it; wait for that process, or try another -o"
            )
        yield


@contextmanager
def waited_lock(path: Path, written: Path, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Inside the block no other process can write `written`; if one does, wait for it, and `say` so.

    The lock file `path` is deleted afterwards. Raises StorageError if it cannot be written.
    """
    with ExitStack() as stack:
        if not stack.enter_context(held_and_deleted(path)):
            if say:
                say(f"{written}: another process is writing it (process {holder_of(path)}); waiting for it")
            stack.enter_context(held_and_deleted(path, patience=FOREVER))
        yield
