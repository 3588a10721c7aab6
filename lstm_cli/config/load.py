"""Load a config: YAML and --set become one checked, frozen RunConfig, or one ConfigError that lists every fault.

Every room defines its own section of the config; only this file combines them.
Every fault has the form `file:line: dotted.path: what is wrong, what was given, what to try`.
"""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeGuard, Union

import yaml
from pydantic import Field, ValidationError, create_model

from lstm_cli import tasks
from lstm_cli.config.conflicts import conflicts, unread
from lstm_cli.config.faults import KeyPath, describe, key_path
from lstm_cli.config.overrides import apply_override
from lstm_cli.config.paths import find_beside, places_beside
from lstm_cli.config.presets import preset_path, presets
from lstm_cli.config.yamltext import parse
from lstm_cli.data.durable import read_file
from lstm_cli.data.find import kind_of_name, names_rows
from lstm_cli.data.sources import DataConfig
from lstm_cli.errors import ConfigError, did_you_mean
from lstm_cli.exported.folder import is_exported
from lstm_cli.runtime import RuntimeConfig
from lstm_cli.schema import Config
from lstm_cli.tasks.base import TaskConfig
from lstm_cli.training.config import PretrainConfig, TrainConfig

_MAX_BYTES = 2**18


class RunSection(RuntimeConfig):
    """The `run:` section."""

    dir: str = Field(
        "runs/unnamed", min_length=1, description="folder of the run; if not given: runs/NAME-OF-THIS-FILE"
    )
    seed: int = Field(
        0,
        ge=0,
        description="seed of the initial weights, the order of the rows, dropout and the choice of the dev rows",
    )
    tensorboard: bool = Field(
        False, description="write curves for TensorBoard (pip install 'lstmcls[tensorboard]')"
    )


class RunConfig(Config):
    """The config of a run, with all its sections."""

    data: DataConfig = Field(description="the rows: which files, and how to read them")
    task: TaskConfig = Field(description="the kind of task and its model")
    train: TrainConfig = Field(TrainConfig(), description="how the model is trained")
    pretrain: PretrainConfig = Field(
        PretrainConfig(), description="settings of `lstmcls pretrain` that replace those of train"
    )
    run: RunSection = Field(RunSection(), description="folder, seed and device of the run")

    def to_yaml(self) -> str:
        """The resolved config: every key with its value."""
        return as_yaml(self.model_dump(mode="json"))


def as_yaml(content: Mapping[str, Any]) -> str:
    """The content of a config as YAML."""
    text: str = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=100)
    return text


def run_config() -> type[RunConfig]:
    """RunConfig with the keys of every kind of task that `tasks.TASKS` lists."""
    return _with_tasks(tuple(tasks.TASKS))


@functools.cache
def _with_tasks(kinds: tuple[type[TaskConfig], ...]) -> type[RunConfig]:
    one_of: Any = kinds[0] if len(kinds) == 1 else Annotated[Union[kinds], Field(discriminator="kind")]  # noqa: UP007
    description = RunConfig.model_fields["task"].description
    default = kinds[0].model_validate({"kind": tasks.kind_of(kinds[0])})
    return create_model(
        "RunConfig",
        __base__=RunConfig,
        __doc__=RunConfig.__doc__,
        task=(one_of, Field(default, description=description)),
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a config, for editors."""
    schema = run_config().model_json_schema()
    names = dict.fromkeys(metric.name for kind in tasks.TASKS for metric in kind.metrics)
    schema["$defs"]["TrainConfig"]["properties"]["select_by"]["enum"] = list(names)
    return schema


def _complete(raw: dict[str, Any]) -> list[str]:
    """Add the defaults that depend on the kind of task.

    Returns the names of that kind's metrics, or those of all kinds if the kind is unknown.
    """
    kinds = {tasks.kind_of(kind): kind for kind in tasks.TASKS}
    known = list(kinds.values())
    if isinstance(section := raw.setdefault("task", {}), dict):
        # a copy: with a YAML alias, two sections are the same dictionary
        section = raw["task"] = {"kind": next(iter(kinds)), **section}
        if kind := kinds.get(str(section["kind"])):
            known = [kind]
            if isinstance(train := raw.setdefault("train", {}), dict):
                raw["train"] = {"select_by": kind.select_by, **train}
    return list(dict.fromkeys(metric.name for kind in known for metric in kind.metrics))


def load_config(
    source: str | Mapping[str, Any],
    overrides: Sequence[str] = (),
    run_dir: str | None = None,
    *,
    trains: bool = False,
) -> RunConfig:
    """Read a config, apply `--set` overrides and `--run`, and check the result.

    `source` is a YAML file, a preset's name, a run's folder, `-` (stdin), or the content itself, a mapping as in YAML.

    A relative path to rows that is not in the current folder is looked up beside the config. With `trains`, a key that
    a new training would not read is a fault too. Raises ConfigError with all faults.
    """
    try:
        text, name, default_dir, fixed_dir = _read(source)
        raw, lines = parse(text, name)
    except ConfigError:
        if not _is_data(source):
            raise
        raise ConfigError(f"{source}: data, and not a config. {_way_to_use(source)}") from None
    faults: list[str] = []
    # the --set argument of each override, and its value as typed
    origins: dict[KeyPath, tuple[str, str]] = {}
    for override in overrides:
        apply_override(raw, override, origins, faults)
    section = raw.setdefault("run", {}) if isinstance(raw.get("run", {}), dict) else {}
    if isinstance(source, str):
        find_beside(raw, places_beside(source, section.get("dir")), origins)
    if fixed_dir and ("run", "dir") not in origins:
        section["dir"] = fixed_dir  # the folder may have been moved since
    if run_dir is not None:
        section["dir"] = run_dir
    section.setdefault("dir", default_dir)
    config = _validate(raw, name, lines, origins, faults, _complete(raw), trains=trains)
    if faults or config is None:
        raise ConfigError(faults)
    return config


def _is_data(source: str | Mapping[str, Any]) -> TypeGuard[str]:
    """Whether `source` names rows: a file whose name shows a format of data, or a data set."""
    if not isinstance(source, str):
        return False
    if names_rows(source):
        return True
    return Path(source).is_file() and kind_of_name(source) is not None


def _way_to_use(source: str) -> str:
    return f"`lstmcls train {shlex.quote(source)}` trains on it; then name the folder of the run here"


def _read(source: str | Mapping[str, Any]) -> tuple[str, str, str, str | None]:
    """(text, name for messages, default of run.dir, run.dir if `source` is a run's folder, else None)"""
    if not isinstance(source, str):
        try:
            return as_yaml(source), "config", "runs/unnamed", None
        except yaml.YAMLError as fault:
            raise ConfigError(
                f"config: must hold text, numbers, lists and mappings only ({' '.join(str(fault).split()):.200})"
            ) from None
    if source == "-":
        content = sys.stdin.buffer.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"stdin: too large for a config (at most {_MAX_BYTES:,} bytes)")
        return _decoded(content, "stdin"), "stdin", "runs/stdin", None
    path = Path(source)
    if source in presets() and not path.exists():
        path = preset_path(source)
    fixed = None
    if path.is_dir():
        path, fixed = path / "config.yaml", source
        if not path.is_file():
            if is_exported(source):
                raise ConfigError(
                    f"{source}: an exported folder, which only predict and verify take; give the run"
                )
            raise ConfigError(
                f"{source}: a folder without config.yaml, so not a run's folder; give a YAML file or a run's folder. "
                f"If it holds data: {_way_to_use(source)}"
            )
    try:
        content = read_file(path, _MAX_BYTES)
    except FileNotFoundError:
        raise ConfigError(_no_config(source)) from None
    except OSError as fault:
        hint = "; to give it through a pipe, name -" if path.is_fifo() else ""
        raise ConfigError(f"{path}: cannot be read ({fault.strerror}){hint}") from None
    return _decoded(content, source), str(path), f"runs/{path.stem}", fixed


def _no_config(source: str) -> str:
    """The message for a config or run that does not exist: with the nearest name there is, and how to make one."""
    path = Path(source)
    folder = path.parent if path.parent.is_dir() else Path()
    if path.suffix in (".yaml", ".yml"):
        near = did_you_mean(path.name, sorted(file.name for file in folder.glob("*.yaml")))
        return f"{source}: no such config.{near} `lstmcls init -o my.yaml` writes one"
    runs = sorted(str(folder / one.name) for one in folder.iterdir() if (one / "config.yaml").is_file())
    near = did_you_mean(source, [*runs, *presets()])
    return (
        f"{source}: no such run, config or preset.{near} `lstmcls train reviews.csv` makes a run of your rows, and "
        f"`lstmcls init -o my.yaml` writes a config"
    )


def _decoded(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as fault:
        if b"\0" in content:
            raise ConfigError(
                f"{source}: holds zero bytes, so it is no config but a picture or a program; give a YAML file, a run's "
                f"folder, or rows such as reviews.csv"
            ) from None
        raise ConfigError(f"{source}: not UTF-8 at byte {fault.start}; save it as UTF-8") from None


def _validate(
    raw: dict[str, Any],
    name: str,
    lines: Mapping[KeyPath, int],
    origins: Mapping[KeyPath, tuple[str, str]],
    faults: list[str],
    metrics: Sequence[str],
    *,
    trains: bool,
) -> RunConfig | None:
    """The checked config, or None; every fault is added to `faults`, in the order of the file."""
    try:
        config = run_config().model_validate(raw, context={"metrics": metrics})
    except ValidationError as error:
        details = error.errors(include_url=False)
        retyped = False
        for detail in details:  # in `--set run.dir=2024` the text is meant, but YAML reads a number
            path = key_path(detail["loc"], raw)
            if (
                detail["type"] == "string_type"
                and path in origins
                and not isinstance(_at(raw, path[:-1]), list)
                and not isinstance(_at(raw, path), dict)  # a later override made it a section
            ):
                _at(raw, path[:-1])[path[-1]] = origins[path][1]
                retyped = True
        if retyped:
            others = {p: o for p, o in origins.items() if not _is_text(raw, p)}
            return _validate(raw, name, lines, others, faults, metrics, trains=trains)
        faulty = describe(run_config(), details, raw)
    else:
        faulty = [*conflicts(config), *(unread(config, origins) if trains else ())]
        if not faulty:
            return config
    placed = sorted((_line(path, lines, origins), path, message) for path, message in faulty)
    for line, path, message in placed:
        where = _override(path, lines, origins) or (f"{name}:{line}" if line else name)
        faults.append(f"{where}: {'.'.join(path)}: {message}")
    return None


def _is_text(raw: dict[str, Any], path: KeyPath) -> bool:
    return isinstance(_at(raw, path), str)


def _at(raw: Any, path: KeyPath) -> Any:
    for part in path:
        raw = raw[int(part)] if isinstance(raw, list) else raw[part]
    return raw


def _override(
    path: KeyPath, lines: Mapping[KeyPath, int], origins: Mapping[KeyPath, tuple[str, str]]
) -> str | None:
    """The --set argument that the key comes from, or None. A section that is not in the file comes from one too.

    Of several, the one nearest to the key.
    """
    for origin, (argument, _) in sorted(origins.items(), key=lambda item: len(item[0]), reverse=True):
        if path[: len(origin)] == origin or (path not in lines and origin[: len(path)] == path):
            return argument
    return None


def _line(path: KeyPath, lines: Mapping[KeyPath, int], origins: Mapping[KeyPath, tuple[str, str]]) -> int:
    """The line of the key, or of the nearest section above it; 0 if it comes from the command line."""
    if _override(path, lines, origins):
        return 0
    return next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), 0)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the config that is not a section: its path, description and value."""

    path: KeyPath
    description: str
    value: Any


def keys(config: Config, above: KeyPath = ()) -> Iterator[Key]:
    """All keys of a config that are not sections, in the order in which a config file lists them."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Config):
            yield from keys(value, (*above, name))
        else:
            yield Key((*above, name), field.description or "", value)
