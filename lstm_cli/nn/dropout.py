"""Dropout of values and of whole words. Both draw from torch's global generator of the tensor's device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

PAD_ID = 0  # as in lstm_cli.batch, which nn does not import
UNK_ID = 1

_STEPS = 2**16  # the values of 16 random bits


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Zero each value of `x` (any shape) with the given probability and scale up the others, in training only.

    On a CPU torch draws one value after the other from a Mersenne twister, which took 32 ms forward for a
    (64, 230, 128) tensor on two cores. Here 64 bits of SFC64, seeded by torch's generator, give four values, which
    takes 5 ms. The probability is rounded to a multiple of 2**-16, and the scale follows the rounded one.
    """
    if not training or probability == 0.0 or not x.is_cpu:
        return functional.dropout(x, probability, training)
    dropped = min(round(probability * _STEPS), _STEPS - 1)
    seed = int(torch.randint(2**62, ()))
    bits = np.random.SFC64(seed).random_raw(-(-x.numel() // 4)).view(np.int16)
    kept = torch.from_numpy(bits)[: x.numel()].view(x.shape) >= dropped - _STEPS // 2
    return x * kept.to(x.dtype).mul_(_STEPS / (_STEPS - dropped))


def drop_words(inputs: Tensor, probability: float) -> Tensor:
    """Each token but padding becomes `UNK_ID` with the given probability: (B, T) -> (B, T)."""
    dropped = torch.rand(inputs.shape, device=inputs.device) < probability
    return inputs.masked_fill(dropped & (inputs != PAD_ID), UNK_ID)
