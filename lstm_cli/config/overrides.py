"""`--set KEY=VALUE`: one override of a config."""

from __future__ import annotations

from typing import Any

import yaml

from lstm_cli.config.faults import KeyPath
from lstm_cli.config.yamltext import MAX_LEVELS, values


def apply_override(
    raw: dict[str, Any], override: str, origins: dict[KeyPath, tuple[str, str]], faults: list[str]
) -> None:
    """Apply one override `a.b=value` to `raw`.

    `origins` gets the argument and the value as typed, by the path of the key; `faults` gets what is wrong.
    """
    dotted, equals, typed = override.partition("=")
    path = tuple(dotted.strip().split("."))
    if not equals or not all(path):
        faults.append(f"--set {override}: must have the form key=value, such as --set train.epochs=5")
        return
    if len(path) > MAX_LEVELS:
        faults.append(f"--set {dotted:.60}…: {len(path)} levels, more than any key has")
        return
    try:
        value = values(typed)[1]
    except yaml.YAMLError:
        value = typed
    origin = f"--set {override}", typed
    section = raw
    for level, part in enumerate(path[:-1], 1):
        if not isinstance(section.get(part), dict):
            if (
                section.get(part) is not None
            ):  # a value that becomes a section: a fault of it is this override's
                origins[path[:level]] = origin
            section[part] = {}
        section = section[part]
    section[path[-1]] = value
    for below in [old for old in origins if old[: len(path)] == path]:
        del origins[below]  # this override replaces earlier ones
    origins[path] = origin
