"""What a model is fed, and the legend of axes that every shape in this package is written with.

    N  rows of a split                  B  rows of a batch
    T  time steps, padded to the longest row of the batch
    S  steps of a target that has a length of its own
    V  vocabulary entries               E  width of an embedding
    F  width of a dense feature vector  H  hidden units of one direction
    D  directions, 1 or 2               L  recurrent layers
    C  classes

`lengths` counts a row's real time steps, is at least 1, and always stays on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

PAD_ID = 0
"""The vocabulary entry that fills a row up to T. Its embedding is zero and stays zero."""

UNK_ID = 1
"""The vocabulary entry of every token that the training rows did not have often enough."""

IGNORED = -100
"""The target of a padded step, which counts in no loss."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded rows: `inputs` (B, T) int64 token ids or (B, T, F) float32 features, `lengths` (B,) int64 on the CPU.

    `targets` are one a row (B,), one a step (B, T), or of their own length (B, S) with `target_lengths` (B,) on the
    CPU; padded steps have `IGNORED`. None where they are not known. `extras` are further values a row by name,
    (B, …), such as logits of n-gram features.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor | None = None
    target_lengths: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """All but the lengths on `device`; they stay where they are."""
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
        return int(self.lengths.shape[0])

    @property
    def known_targets(self) -> Tensor:
        """The targets. Raises ValueError where they are not known."""
        if self.targets is None:
            raise ValueError("this batch has no targets: it is one to predict")
        return self.targets
