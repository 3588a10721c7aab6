"""What a model is fed, and the legend of axes that every shape in this package is written with.

    B  rows of a batch                  T  time steps, padded to the longest row of the batch
    V  vocabulary entries               E  width of an embedding
    H  hidden units of one direction    D  directions, 1 or 2
    L  recurrent layers                 C  classes

`lengths` counts a row's real time steps, is at least 1, and always stays on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PAD_ID = 0
"""The vocabulary entry that fills a row up to T. Its embedding is zero and stays zero."""

UNK_ID = 1
"""The vocabulary entry of every token that the training rows did not have often enough."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`inputs` (B, T) int64, `lengths` (B,) int64 on the CPU, `targets` (B,) int64 with -1 for "not known".

    `side_logits` is what features beside the network say of each class: (B, C), or (B, 0) where there are none.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    side_logits: Tensor

    def to(self, device: torch.device) -> Batch:
        """All but the lengths on `device`; they stay where they are."""
        if device.type == "cpu":
            return self
        return Batch(
            self.inputs.to(device, non_blocking=True),
            self.lengths,
            self.targets.to(device, non_blocking=True),
            self.side_logits.to(device, non_blocking=True),
        )

    @property
    def num_rows(self) -> int:
        return int(self.lengths.shape[0])
