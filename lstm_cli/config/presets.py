"""The configs that come with the package."""

from __future__ import annotations

from pathlib import Path

from lstm_cli.errors import ConfigError, did_you_mean


def presets() -> list[str]:
    """The names of the configs that come with the package."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def _folder() -> Path:
    """The folder `configs/` of the installed package or of the source checkout."""
    package = Path(__file__).parent.parent
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


def preset_path(preset: str) -> Path:
    """The file of a preset. Raises ConfigError if there is none of this name."""
    path = _folder() / f"{preset}.yaml"
    if preset not in presets():
        raise ConfigError(
            f"{preset}: no such preset (have: {', '.join(presets())}).{did_you_mean(preset, presets())}"
        )
    return path


def commented_path(preset: str) -> Path:
    """The file of a preset with every key of a config explained. Raises ConfigError if there is no such preset."""
    return preset_path(preset).parent / "commented" / f"{preset}.yaml"


def schema_path() -> Path:
    """The file with the JSON Schema of a config."""
    return _folder() / "schema.json"
