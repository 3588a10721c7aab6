"""What the shell offers at the tabulator key: presets, keys of a config with their values, metrics.

All of it is read from files of the package, so that no answer waits for torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lstm_cli.config.presets import presets, schema_path

_Schema = Mapping[str, Any]


def presets_from(typed: str) -> list[str]:
    """The presets whose name begins with what was typed."""
    return [name for name in presets() if name.startswith(typed)]


def configs_from(typed: str) -> list[str]:
    """The presets, files and folders whose name begins with what was typed."""
    folder, _, start = typed.rpartition("/")
    above = folder + "/" if "/" in typed else ""
    try:
        entries = sorted(Path(above or ".").iterdir())
    except OSError:
        entries = []
    shown = [one for one in entries if one.name.startswith(start) and (start or not one.name.startswith("."))]
    return presets_from(typed) + [f"{above}{one.name}{'/' * one.is_dir()}" for one in shown]


def settings_from(typed: str) -> list[str]:
    """The keys of a config as `key=`, and after the `=` of a key with few values each of them."""
    name, equals, value = typed.partition("=")
    keys = _keys()
    if not equals:
        return [f"{key}=" for key in keys if key.startswith(name)]
    return [f"{name}={one}" for one in keys.get(name, ()) if one.startswith(value)]


def gates_from(typed: str) -> list[str]:
    """The metrics that a score may be held against, as `metric=`."""
    metrics = _schema()["$defs"]["TrainConfig"]["properties"]["select_by"]["enum"]
    return [f"{name}=" for name in metrics if name.startswith(typed)]


def _schema() -> _Schema:
    schema: _Schema = json.loads(schema_path().read_text("utf-8"))
    return schema


def _keys() -> dict[str, list[str]]:
    """Each key of a config with its possible values, if they are few."""
    schema = _schema()
    found: dict[str, list[str]] = {}
    for key, values in _below(schema, schema["$defs"], ""):
        found[key] = list(dict.fromkeys([*found.get(key, ()), *values]))
    return found


def _below(schema: _Schema, models: _Schema, above: str) -> Iterator[tuple[str, list[str]]]:
    for name, key in schema["properties"].items():
        path = f"{above}{name}"
        choices = [key, *key.get("anyOf", ()), *key.get("oneOf", ())]
        sections = [models[one["$ref"].rpartition("/")[2]] for one in choices if "$ref" in one]
        for section in sections:
            yield from _below(section, models, f"{path}.")
        if not sections:
            yield path, [value for one in choices for value in _values(one)]


def _values(schema: _Schema) -> list[str]:
    if schema.get("type") == "boolean":
        return ["true", "false"]
    known = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
    return [str(value) for value in known]
