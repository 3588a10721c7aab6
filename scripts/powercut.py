#!/usr/bin/env python
"""What a power cut may leave of the files that a process has written.

`python scripts/powercut.py LOG ROOT train …` runs `lstmcls train …` and notes in LOG what it does to the files below
ROOT. When it was killed, `cut(LOG, ROOT, draw)` replaces ROOT by one of the states that a disk may be in:

- What was written to a file since its last fsync is there in part, as zeros, or not at all.
- In each folder the names that were created, replaced and deleted since its last fsync stay as they were, from a random
  one of these changes on. Folders are independent of each other, which is worse than what a journal allows.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(eq=False)
class File:
    """`synced` is its content at the last fsync, `content` what it holds now; None if it is deleted or replaced."""

    synced: bytes = b""
    content: bytes | None = None


@dataclass(eq=False)
class Folder:
    """`kept` are its entries at the last fsync, `changes` those since then: names that appeared and names that went."""

    entries: dict[str, File | Folder] = field(default_factory=dict)
    kept: dict[str, File | Folder] = field(default_factory=dict)
    changes: list[tuple[dict[str, File | Folder], list[str]]] = field(default_factory=list)

    def change(self, come: dict[str, File | Folder], gone: list[str]) -> None:
        _apply(self.entries, come, gone)
        self.changes.append((come, gone))

    def sync(self) -> None:
        self.kept, self.changes = dict(self.entries), []

    def after_cut(self, draw: random.Random) -> dict[str, File | Folder]:
        entries = dict(self.kept)
        for come, gone in self.changes[: draw.randrange(len(self.changes) + 1)]:
            _apply(entries, come, gone)
        return entries


def _apply(entries: dict[str, File | Folder], come: dict[str, File | Folder], gone: list[str]) -> None:
    for name in gone:
        entries.pop(name, None)
    entries.update(come)


def cut(log: Path, root: Path, draw: random.Random) -> None:
    """Replace `root` by what a power cut may have left of it."""
    tree = _replayed(log, root)
    _place(tree, root)
    shutil.rmtree(root)
    _write(tree, root, draw)


def start(log: Path, root: Path) -> None:
    """Note the files that are there before the process starts: they are safe."""
    shutil.rmtree(log, ignore_errors=True)
    log.mkdir()
    root.mkdir(exist_ok=True)
    shutil.copytree(root, log / "before")
    (log / "events").touch()


def _replayed(log: Path, root: Path) -> Folder:
    tree = _loaded(log / "before")
    events = [json.loads(line) for line in (log / "events").read_text("utf-8").splitlines()]
    if events and events[-1][0] == "rename" and Path(events[-1][1]).exists():
        events.pop()  # the kill came before it
    for event, *paths in events:
        names = [Path(path).relative_to(root).parts if path.startswith(f"{root}/") else () for path in paths]
        _replay(tree, event, paths, names, log)
    return tree


def _replay(tree: Folder, event: str, paths: list[str], names: list[tuple[str, ...]], log: Path) -> None:
    if event == "syncdir":
        folder = _find(tree, names[0])
        if isinstance(folder, Folder):
            folder.sync()
        return
    above = _find(tree, names[0][:-1])
    if not isinstance(above, Folder) or not names[0]:
        return
    name = names[0][-1]
    node = above.entries.get(name)
    match event:
        case "create" if node is None:
            above.change({name: File()}, [])
        case "mkdir" if node is None:
            above.change({name: Folder()}, [])
        case "unlink" | "rmdir" if node is not None:
            above.change({}, [name])
        case "sync" if isinstance(node, File):
            node.synced = (log / paths[1]).read_bytes()
        case "rename" if node is not None:
            target = _find(tree, names[1][:-1])
            assert isinstance(target, Folder)
            if target is above:
                above.change({names[1][-1]: node}, [name])
            else:  # one change of both folders: never lost in one of them alone
                for folder, come, gone in ((target, {names[1][-1]: node}, []), (above, {}, [name])):
                    folder.change(come, gone)
                    folder.sync()


def _place(folder: Folder, place: Path) -> None:
    """Set `content` of each file that is still there to what it holds now."""
    for name, node in folder.entries.items():
        if isinstance(node, Folder):
            _place(node, place / name)
        elif (place / name).is_file():
            node.content = (place / name).read_bytes()


def _find(tree: Folder, names: tuple[str, ...]) -> File | Folder | None:
    node: File | Folder | None = tree
    for name in names:
        node = node.entries.get(name) if isinstance(node, Folder) else None
    return node


def _loaded(folder: Path) -> Folder:
    entries: dict[str, File | Folder] = {}
    for path in folder.iterdir():
        entries[path.name] = _loaded(path) if path.is_dir() else File(path.read_bytes())
    return Folder(dict(entries), entries)


def _write(folder: Folder, place: Path, draw: random.Random) -> None:
    place.mkdir()
    for name, node in folder.after_cut(draw).items():
        if isinstance(node, Folder):
            _write(node, place / name, draw)
        else:
            (place / name).write_bytes(_content(node, draw))


def _content(file: File, draw: random.Random) -> bytes:
    safe, live = file.synced, file.content
    if live is None or live == safe:
        return safe
    if not live.startswith(safe):  # it was written anew
        safe = b""
    end = draw.randrange(len(safe), len(live) + 1)
    match draw.randrange(4):
        case 0:
            return safe
        case 1:
            return live[:end]
        case 2:
            return live[:end] + bytes(len(live) - end)
        case _:
            return live


class Recorder:
    """Notes what this process does to files below `root`, each before it happens, an fsync after it."""

    def __init__(self, log: Path, root: Path) -> None:
        self._log, self._root = log, f"{root}/"
        self._file = os.open(log / "events", os.O_WRONLY | os.O_APPEND)
        self._lock = threading.RLock()
        self._count = len(list(log.iterdir()))

    def install(self) -> None:
        fsync = os.fsync
        for name in ("rename", "replace"):
            setattr(os, name, self._noting("rename", getattr(os, name), 2))
        for name in ("unlink", "remove", "rmdir", "mkdir"):
            setattr(os, name, self._noting("unlink" if name == "remove" else name, getattr(os, name), 1))

        def noted_fsync(handle: int) -> None:
            fsync(handle)
            path = str(Path(f"/proc/self/fd/{handle}").readlink())
            if Path(path).is_dir():
                self._note("syncdir", path if path.startswith(self._root) else f"{path}/")
            elif path.startswith(self._root):
                with self._lock:
                    self._count += 1
                    name = f"content-{self._count}-{os.getpid()}"
                    shutil.copyfile(path, self._log / name)
                    self._note("sync", path, name)

        os.fsync = noted_fsync
        sys.addaudithook(self._opened)

    def _noting(self, event: str, function: Callable[..., Any], count: int) -> Callable[..., Any]:
        def noted(*arguments: Any, **options: Any) -> Any:
            above = options.get("dir_fd", options.get("src_dir_fd"))
            base = Path.cwd() if above is None else Path(f"/proc/self/fd/{above}").readlink()
            self._note(event, *(str(base / path) for path in arguments[:count]))
            return function(*arguments, **options)

        return noted

    def _opened(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = Path.cwd() / os.fsdecode(arguments[0])
            if str(path).startswith(self._root) and arguments[2] & os.O_CREAT and not path.exists():
                self._note("create", str(path))

    def _note(self, event: str, *paths: str) -> None:
        if any(path.startswith(self._root) for path in paths):
            os.write(self._file, f"{json.dumps([event, *paths])}\n".encode())


def command(log: Path, root: Path, arguments: list[str]) -> list[str]:
    """The command that runs `lstmcls ARGUMENTS` and takes notes."""
    return [sys.executable, __file__, str(log), str(root), *arguments]


def main() -> None:
    log, root = Path(sys.argv[1]), Path(sys.argv[2])
    sys.argv[:] = ["lstmcls", *sys.argv[3:]]
    Recorder(log, root).install()
    from lstm_cli.__main__ import main as lstmcls

    lstmcls()


if __name__ == "__main__":
    main()
