"""`lstmcls init`: write a commented config to start from.

The package holds these configs ready-made, because to build one from the schema would load torch (1.6 s instead of
0.2). `scripts/docs.py` builds them.
"""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

from lstm_cli.config.presets import commented_path, schema_path
from lstm_cli.console import Screen
from lstm_cli.errors import ConfigError

_WIDTH = 110
_RUN_DIR = re.compile(r"(^run:\n(?:  .*\n)*?)  dir: .*?  # (.*)$", re.MULTILINE)


def init(preset: str, output: str, screen: Screen, *, schema: bool) -> None:
    """Write the preset, or the JSON Schema of a config, to a new file or to stdout."""
    text = (schema_path() if schema else commented_path(preset)).read_text(encoding="utf-8")
    if not schema and output != "-":
        # the run is named after the file, not after the preset
        text = _with_run_dir(text, f"runs/{Path(output).stem}")
    if output == "-":
        sys.stdout.write(text)
        return
    path = Path(output)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(
            f"{path}: exists already and is not overwritten; try another name with -o"
        ) from None
    screen.say(f"wrote {path}")
    if not schema:
        data = "" if preset == "quickstart" else "set data.train in it, then "
        screen.say(f"next: {data}lstmcls check {shlex.quote(output)}")


def _with_run_dir(text: str, folder: str) -> str:
    return _RUN_DIR.sub(lambda found: found[1] + line_of(("run", "dir"), folder, found[2]), text)


def line_of(path: tuple[str, ...], value: Any, description: str) -> str:
    """A key and its value as YAML, with the description as a comment behind it, or above it if it is long."""
    shown = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    shown = shown.removesuffix("\n").removesuffix("\n...")
    indent = "  " * (len(path) - 1)
    line = f"{indent}{path[-1]}: {shown}"
    with_comment = f"{line:36}  # {description}"
    if len(with_comment) <= _WIDTH:
        return with_comment
    comment = textwrap.wrap(description, _WIDTH - len(indent) - 2)
    return "\n".join([*(f"{indent}# {part}" for part in comment), line])
