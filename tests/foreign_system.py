"""What Windows lacks or refuses, taken away from this process: to be imported before anything of the package.

A file that is open, or mapped into memory, can be neither renamed nor deleted nor replaced there, and no folder can be
opened; there is no `fcntl` and no SIGHUP. What is only spelt differently (drives, backslashes) cannot be had here.
"""

# pathlib calls what is replaced here:
# ruff: noqa: PTH112, PTH115, PTH123, PTH208

from __future__ import annotations

import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

_MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
_SIGNALS = ("SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE")
_OF_OS = (
    "O_DIRECTORY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "fork",
    "geteuid",
    "getuid",
    "killpg",
    "mkfifo",
    "set_blocking",
)


def become_windows() -> None:
    """Take away and refuse. Text that is read or written in the system's own encoding is an error besides."""
    sys.modules |= dict.fromkeys(_MODULES)  # type: ignore[arg-type]  # None: importing it fails
    for module, names in ((signal, _SIGNALS), (os, _OF_OS)):
        for name in names:
            delattr(module, name)
    for name in ("rename", "replace", "unlink", "remove", "rmdir"):
        setattr(os, name, _refused_in_use(getattr(os, name)))
    os.open = _refused_for_folders(os.open)
    shutil._use_fd_functions = False  # type: ignore[attr-defined]  # which would open folders
    warnings.filterwarnings("error", category=EncodingWarning, module="lstm_cli")


def _refused_in_use(function: Callable[..., None]) -> Callable[..., None]:
    def call(*paths: Any, **options: Any) -> None:
        used = set(_in_use())
        for path in paths:
            place = os.path.realpath(path)
            if any(file == place or file.startswith(place + os.sep) for file in used):
                raise PermissionError(
                    13, "The process cannot access the file because it is in use", str(path)
                )
        function(*paths, **options)

    return call


def _in_use() -> Iterator[str]:
    """The files that this process has open or mapped."""
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one by which the folder was listed
            yield os.readlink(f"/proc/self/fd/{number}")
    with open("/proc/self/maps", encoding="utf-8") as lines:
        yield from (fields[5].rstrip("\n") for line in lines if len(fields := line.split(maxsplit=5)) == 6)


def _refused_for_folders(function: Callable[..., int]) -> Callable[..., int]:
    def call(path: Any, *arguments: Any, **options: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return function(path, *arguments, **options)

    return call
