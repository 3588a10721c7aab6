"""From YAML to plain values and the line of every key. YAML that cannot be a config is an error, never a crash."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from lstm_cli.config.faults import KeyPath
from lstm_cli.errors import ConfigError

_MAX_VALUES = 10_000
MAX_LEVELS = 20
"""Maximum depth of nested keys and lists. A config has five levels."""
_MAX_CHARS = 4_096
"""Maximum characters of one value: the longest possible path. YAML reads 1:1:1:… as a number, in time quadratic in its
length."""


def parse(text: str, name: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The sections as plain values, and the line of every key. Raises ConfigError if `text` is not a YAML mapping."""
    try:
        node, raw = values(text)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not YAML: {fault.problem or fault}") from None
    except yaml.YAMLError as fault:
        raise ConfigError(f"{name}: not YAML: {str(fault).splitlines()[0]}") from None
    if raw is None:
        raise ConfigError(f"{name}: the file is empty; `lstmcls init` prints a config to start from")
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{name}: must consist of sections (data:, task:, train:, run:), got a {type(raw).__name__}"
        )
    lines: dict[KeyPath, int] = {}
    repeated = [f"{name}:{line}: {'.'.join(path)}: given twice" for path, line in _key_lines(node, (), lines)]
    if repeated:
        raise ConfigError(repeated)
    return raw, lines


def values(text: str) -> tuple[yaml.Node | None, Any]:
    """The YAML as nodes and as plain values.

    Raises yaml.YAMLError for wrong YAML, and for YAML that cannot be a config.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        _refuse_bombs(node)
        return node, loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("nested too deep") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as fault:
        # PyYAML's constructors raise these if a tag does not fit its value, such as !!int before a text
        raise yaml.YAMLError(f"a value is not of the type that it is written as ({fault})") from None
    finally:
        loader.dispose()


def _refuse_bombs(root: yaml.Node) -> None:
    """Raise yaml.YAMLError if the nesting, the number of values or the length of one value exceeds its limit."""
    count, left = 0, [(root, 1)]
    while left:
        node, level = left.pop()
        count += 1
        if level > MAX_LEVELS:
            raise yaml.YAMLError("nested too deep")
        if count > _MAX_VALUES:
            raise yaml.YAMLError(
                f"more than {_MAX_VALUES:,} values, counting every use of an alias, cannot be a config"
            )
        match node:
            case yaml.ScalarNode() if len(node.value) > _MAX_CHARS:
                raise yaml.MarkedYAMLError(
                    problem=f"a value of more than {_MAX_CHARS:,} characters", problem_mark=node.start_mark
                )
            case yaml.SequenceNode():
                left += [(item, level + 1) for item in node.value]
            case yaml.MappingNode():
                left += [(item, level + 1) for pair in node.value for item in pair]


def _key_lines(
    node: yaml.Node | None, above: KeyPath, lines: dict[KeyPath, int]
) -> Iterator[tuple[KeyPath, int]]:
    """Write the line of every key to `lines`, and yield the keys that occur twice."""
    match node:
        case yaml.MappingNode():
            for key, value in node.value:
                path = (*above, str(key.value))
                if path in lines:
                    yield path, key.start_mark.line + 1
                lines[path] = key.start_mark.line + 1
                yield from _key_lines(value, path, lines)
        case yaml.SequenceNode():
            for i, value in enumerate(node.value):
                lines[(*above, str(i))] = value.start_mark.line + 1
                yield from _key_lines(value, (*above, str(i)), lines)
