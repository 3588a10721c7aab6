"""What only some tasks can do. This is the one place that asks a task for it."""

from __future__ import annotations

from lstm_cli.tasks.base import Calibrated, Trainable, Verifiable


def calibrated(task: Trainable) -> Calibrated | None:
    """The task as one that calibrates its outputs on the dev rows, or None."""
    ability: object = task
    return ability if isinstance(ability, Calibrated) else None


def verifiable(task: Trainable) -> Verifiable | None:
    """The task as one whose answers can be computed in another way, or None."""
    ability: object = task
    return ability if isinstance(ability, Verifiable) else None
