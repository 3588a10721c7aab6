"""Turns pydantic's errors into messages for users: what the value must be, what was given, which key was probably
meant."""

from __future__ import annotations

import reprlib
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from lstm_cli.errors import did_you_mean

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200

_OTHER_NAMES = {
    "lr": "learning_rate",
    "text": "text_column",
    "label": "label_column",
    "layers": "num_layers",
    "hidden": "hidden_size",
    "units": "hidden_size",
    "max_length": "max_tokens",
    "max_len": "max_tokens",
    "model": "cell",
    "early_stopping": "patience",
    "wd": "weight_decay",
}
"""Names that other programs give to some keys."""

KeyPath = tuple[str, ...]
Model = type[BaseModel]


def key_path(loc: tuple[int | str, ...], raw: Any) -> KeyPath:
    """The path of a key in the config: pydantic's location `loc` without the names of union members that it inserts."""
    path: list[str] = []
    for i, part in enumerate(loc):
        if isinstance(raw, dict):
            if part not in raw and part == raw.get("kind") and i + 1 < len(loc):
                continue  # the tag of a discriminated union
            path.append(str(part))
            raw = raw.get(part)
        elif isinstance(raw, list) and isinstance(part, int):
            path.append(str(part))
            raw = raw[part]
    return tuple(path)


def describe(model: Model, details: Iterable[ErrorDetails], raw: dict[str, Any]) -> list[tuple[KeyPath, str]]:
    """(path, message) for every key with a fault.

    Several faults of one key, such as those of a union, become one message.
    """
    messages: dict[KeyPath, list[str]] = {}
    for detail in details:
        path = key_path(detail["loc"], raw)
        if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
            path = (*path, "kind")
        messages.setdefault(path, []).append(_message(model, detail, path, raw))
    return [
        (path, " or ".join(dict.fromkeys(found)) if len(found) > 1 else found[0])
        for path, found in messages.items()
    ]


def _message(model: Model, detail: ErrorDetails, path: KeyPath, raw: dict[str, Any]) -> str:
    got = detail["input"]
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            known = _known_keys(model, path, raw)
            if kinds := _kinds_with(model, path, raw):
                return f"a key of kind {', '.join(kinds)} only; known here: {', '.join(known)}; remove it"
            near = did_you_mean(path[-1], known) or _elsewhere(model, path[-1])
            return f"unknown key; known here: {', '.join(known)}.{near}"
        case "missing":
            return "required, but not given"
        case "literal_error" | "enum":
            choices = [str(choice) for choice in typing.get_args(_annotation(model, path, raw))]
            listed = ", ".join(choices) or str(context.get("expected"))
            return f"must be one of {listed}, got {_shown(got)}.{did_you_mean(str(got), choices)}"
        case "not_a_choice":
            listed = context["choices"]
            return f"must be one of {listed}, got {_shown(got)}.{did_you_mean(str(got), listed.split(', '))}"
        case "union_tag_invalid":
            listed = str(context["expected_tags"]).replace("'", "")
            tag = context["tag"]
            return f"must be one of {listed}, got {_shown(tag)}.{did_you_mean(tag, listed.split(', '))}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"must be a section with keys of its own, got {_shown(got)}"
        case _ if detail["msg"].startswith("Input should be "):
            return f"must be {detail['msg'].removeprefix('Input should be ')}, got {_shown(got)}"
        case _:
            return f"{detail['msg'].removeprefix('Value error, ')}, got {_shown(got)}"


def _elsewhere(model: Model, name: str) -> str:
    """A hint such as ' Did you mean "train.epochs"?' if another section has a key `name`, or one that is called so."""
    name = _OTHER_NAMES.get(name.lower(), name)
    found = [".".join(path) for path in _leaves(model, ()) if path[-1] == name]
    return f' Did you mean "{found[0]}"?' if found else ""


def _leaves(model: Model, above: KeyPath) -> Iterator[KeyPath]:
    """The paths of all keys that are not sections; of a union, the keys of every member."""
    for name in model.model_fields:
        members = _members(model, name)
        if not members:
            yield (*above, name)
        for member in members:
            yield from _leaves(member, (*above, name))


def _shown(got: object) -> str:
    """`got` as Python writes it, shortened to a readable length."""
    try:
        return _SHORT.repr(got)
    except ValueError:  # Python does not convert a number of more than 4,300 digits to text
        return "a number that is too long to show"


def _annotation(model: Model, path: KeyPath, raw: Any) -> Any:
    """The declared type of a key, or None for an unknown key."""
    section = _section(model, path[:-1], raw)
    return section.model_fields[path[-1]].annotation if section and path[-1] in section.model_fields else None


def _known_keys(model: Model, path: KeyPath, raw: Any) -> list[str]:
    """The keys of the section that holds `path`."""
    section = _section(model, path[:-1], raw)
    return list(section.model_fields) if section else []


def _kinds_with(model: Model, path: KeyPath, raw: Any) -> list[str]:
    """The kinds of this section that have the key, if the section has kinds."""
    above = _section(model, path[:-2], raw)
    if not above or len(path) < 2 or path[-2] not in above.model_fields:
        return []
    members = [one for one in _members(above, path[-2]) if path[-1] in one.model_fields]
    kinds = [
        typing.get_args(one.model_fields["kind"].annotation) for one in members if "kind" in one.model_fields
    ]
    return [str(kind) for one in kinds for kind in one]


def _members(model: Model, name: str) -> list[Model]:
    """The models that a section may have: one, or those of a union."""
    declared = model.model_fields[name].annotation
    return [one for one in (declared, *typing.get_args(declared)) if _is_model(one)]


def _section(model: Model, path: KeyPath, raw: Any) -> Model | None:
    """The model of a section. For a union, it is the member that `kind` names, or else the first member."""
    for part in path:
        if part not in model.model_fields:
            return None
        members = _members(model, part)
        raw = raw.get(part) if isinstance(raw, dict) else None
        if not members:
            return None
        kind = raw.get("kind") if isinstance(raw, dict) else None
        named = (m for m in members if "kind" in m.model_fields and _is_kind(m, kind))
        model = next(named, members[0])
    return model


def _is_model(declared: Any) -> bool:
    return isinstance(declared, type) and issubclass(declared, BaseModel)


def _is_kind(model: Model, kind: Any) -> bool:
    return typing.get_args(model.model_fields["kind"].annotation) == (kind,)
