"""The input of a model, and the names of the axes in all shapes of this package.

    N  rows of a split                  B  rows of a batch
    T  time steps, padded to the longest row of the batch
    S  target steps, if a target has its own length
    V  vocabulary entries               E  width of an embedding
    F  width of a dense feature vector  H  hidden units of one direction
    D  directions, 1 or 2               L  recurrent layers
    C  classes

`lengths` (B,) counts the real time steps of each row, without padding. A length is at least 1. Lengths stay on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the ids below are also read where torch is not installed
    import torch
    from torch import Tensor

PAD_ID = 0
"""The token id of padding, which fills a row up to T. Its embedding is zero and stays zero."""

UNK_ID = 1
"""The token id of every token that is not in the vocabulary because it was rare or absent in the training rows."""

IGNORED = -100
"""The target of a padded step. It does not count in the loss."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B padded rows.

    `inputs` are (B, T) int64 token ids or (B, T, F) float32 features. `lengths` are (B,) int64 on the CPU. `targets`
    are one per row (B,), one per step (B, T), or of their own length (B, S) with `target_lengths` (B,) on the CPU;
    padded steps are `IGNORED`. They are None if they are unknown. `extras` are further named values of each row,
    (B, …), such as the logits of n-gram features.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor | None = None
    target_lengths: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`; the lengths stay on the CPU."""
        if device.type == "cpu":
            return self
        return Batch(
            self.inputs.to(device, non_blocking=True),
            self.lengths,
            None if self.targets is None else self.targets.to(device, non_blocking=True),
            self.target_lengths,
            {name: value.to(device, non_blocking=True) for name, value in self.extras.items()},
        )

    @property
    def num_rows(self) -> int:
        """B, the number of rows."""
        return int(self.lengths.shape[0])

    @property
    def known_targets(self) -> Tensor:
        """The targets. Raises ValueError if they are unknown."""
        if self.targets is None:
            raise ValueError("this batch has no targets: it is for prediction")
        return self.targets
