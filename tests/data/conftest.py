"""Rows read from files that a test wrote; never from the network."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lstm_cli.data.text import Text

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports datasets

import pytest

from lstm_cli.data.sources import DataConfig, Rows, open_rows

Open = Callable[..., Rows[Text]]


def open_written(
    paths: str | Path | list[str], *, role: str = "train", labelled: bool = True, **keys: Any
) -> Rows[Text]:
    """Rows of `paths`; `keep_fields` and `on_error` go to open_rows, every other key to the config."""
    named = [str(path) for path in paths] if isinstance(paths, list) else str(paths)
    options = {key: keys.pop(key) for key in ("keep_fields", "on_error") if key in keys}
    return open_rows(named, DataConfig(train=named, **keys), role, labelled, **options, content=Text)


@pytest.fixture
def opened() -> Open:
    return open_written


@pytest.fixture
def pairs() -> Callable[..., list[tuple[str, str | None]]]:
    """(text, label) of every row."""
    return lambda *args, **keys: [
        (row.content.text, row.content.label) for row in open_written(*args, **keys)
    ]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str | bytes], str]:
    """Writes a file into the working directory of the test and gives back its name."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, content: str | bytes) -> str:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write
