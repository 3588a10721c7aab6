"""The base of every room's own config: frozen, and a key that it does not know is a fault."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen set of keys; unknown keys are refused and every key carries its `description`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
