"""`lstmcls init`: write a commented config to start from. The comments are the descriptions in the schema."""

from __future__ import annotations

import itertools
import json
import sys
import textwrap
from pathlib import Path

import yaml

from lstm_cli.config.load import Key, json_schema, keys, load_config
from lstm_cli.config.presets import preset_path
from lstm_cli.console import Screen
from lstm_cli.errors import ConfigError

_WIDTH = 110


def init(preset: str, output: str, screen: Screen, *, schema: bool) -> None:
    """Write the preset, or the JSON Schema of a config, to a new file or to stdout."""
    # the run is named after the file, not after the preset
    name = preset if output == "-" else Path(output).stem
    text = json.dumps(json_schema(), indent=2) + "\n" if schema else commented(preset, name)
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
        screen.say(f"next: {data}lstmcls check {path}")


def commented(preset: str, name: str) -> str:
    """The preset with all keys of a config, each with its description as a comment; its run is `runs/NAME`."""
    path = preset_path(preset)
    header = "".join(
        line for line in path.read_text(encoding="utf-8").splitlines(True) if line.startswith("#")
    )
    lines = [header.rstrip("\n")]
    config = load_config(str(path), run_dir=f"runs/{name}")
    above: tuple[str, ...] = ()
    for key in keys(config):
        open_already = itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(above, key.path[:-1], strict=False)
        )
        start = len(list(open_already))
        lines += [f"{'  ' * depth}{key.path[depth]}:" for depth in range(start, len(key.path) - 1)]
        above = key.path[:-1]
        lines.append(_line(key))
    return "\n".join(lines) + "\n"


def _line(key: Key) -> str:
    value = yaml.safe_dump(key.value, default_flow_style=True, allow_unicode=True, width=10_000)
    value = value.removesuffix("\n").removesuffix("\n...")
    indent = "  " * (len(key.path) - 1)
    line = f"{indent}{key.path[-1]}: {value}"
    with_comment = f"{line:36}  # {key.description}"
    if len(with_comment) <= _WIDTH:
        return with_comment
    comment = textwrap.wrap(key.description, _WIDTH - len(indent) - 2)
    return "\n".join([*(f"{indent}# {part}" for part in comment), line])
