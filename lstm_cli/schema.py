"""The base of every room's own config: frozen, and a key that it does not know is a fault."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, field_validator


class Config(BaseModel):
    """A frozen set of keys; unknown keys are refused and every key carries its `description`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @field_validator("*")
    @classmethod
    def _is_a_number_of_use(cls, value: object) -> object:
        if isinstance(value, int) and abs(value) > 2**53:
            raise ValueError("must be a number of at most 2**53")
        return value
