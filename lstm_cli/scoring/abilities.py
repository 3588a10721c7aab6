"""Abilities that only some tasks have. No other module tests for them."""

from __future__ import annotations

from lstm_cli.tasks.base import Averaged, Calibrated, Trainable, Verifiable
from lstm_cli.tasks.explainable import Explainable


def calibrated(task: Trainable) -> Calibrated | None:
    """The task if it calibrates its outputs on the dev rows, else None."""
    ability: object = task
    return ability if isinstance(ability, Calibrated) else None


def verifiable(task: Trainable) -> Verifiable | None:
    """The task if its outputs can be computed in a second way, else None."""
    ability: object = task
    return ability if isinstance(ability, Verifiable) else None


def averaged(task: Trainable) -> Averaged | None:
    """The task if its outputs can be averaged with those of other models, else None."""
    ability: object = task
    return ability if isinstance(ability, Averaged) else None


def explainable(task: Trainable) -> Explainable | None:
    """The task if its predictions can be explained, else None."""
    ability: object = task
    return ability if isinstance(ability, Explainable) else None
