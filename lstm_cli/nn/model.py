"""The base class of all models: a module that can describe its parts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Stage:
    """One line of the table that describes a model: what it is, the shape of its output, its number of parameters.

    `gates` counts the gate values that a recurrent layer keeps for its gradient, per row and time step: G*H for each
    direction, with G gates in a cell. 0 for any other stage.
    """

    name: str
    shape: str
    parameters: int
    gates: int = 0


class Model(nn.Module):
    """A module with a description. The base class of every model that is trained."""

    def stages(self, batch: str = "B", time: str = "T") -> list[Stage]:
        """The model's parts in the order of computation; their parameter counts sum to the model's."""
        raise NotImplementedError


def num_parameters(module: nn.Module) -> int:
    """The number of values that `module` learns."""
    return sum(parameter.numel() for parameter in module.parameters())
