"""The base class of all configs. A config is frozen and rejects unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, field_validator


class Config(BaseModel):
    """A section of the config: frozen, without unknown keys. Every key has a `description`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @field_validator("*")
    @classmethod
    def _check_size(cls, value: object) -> object:
        if isinstance(value, int) and abs(value) > 2**53:
            raise ValueError("must be a number of at most 2**53")
        return value
