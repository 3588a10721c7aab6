"""The optimizer step: clip the gradients, AdamW, average the weights. Nothing here waits for a CUDA device.

If the loss or a gradient is not finite, the weights do not change. The caller sees it in the returned loss and norm.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn


def adamw(model: nn.Module, weight_decay: float, pretrained: Collection[str] = ()) -> torch.optim.AdamW:
    """AdamW over all parameters, with `weight_decay` on matrices only. Every step sets the learning rate.

    The parameters named in `pretrained` form groups of their own, for `scale_pretrained_rate`.
    """
    groups: list[dict[str, Any]] = []
    for is_pretrained in (False, True):
        for decay, is_matrix in ((weight_decay, True), (0.0, False)):
            parameters = [
                parameter
                for name, parameter in model.named_parameters()
                if (parameter.ndim >= 2) == is_matrix and (name in pretrained) == is_pretrained
            ]
            if parameters:
                groups.append(
                    {"params": parameters, "weight_decay": decay, "pretrained": is_pretrained, "factor": 1.0}
                )
    # Every row of the embedding changes at every step, also the rows of tokens that are not in the batch, because their
    # moments are not zero. A sparse update would save a tenth of a step on short texts, but change the training.
    return torch.optim.AdamW(groups, fused=next(model.parameters()).device.type != "mps")


def scale_pretrained_rate(optimizer: torch.optim.AdamW, factor: float) -> None:
    """From the next step on, pretrained parameters have `factor` times the learning rate; 0 freezes them."""
    for group in optimizer.param_groups:
        if group["pretrained"]:
            group["factor"] = factor


def take_step(
    optimizer: torch.optim.AdamW, scaler: torch.amp.GradScaler, loss: Tensor, rate: float, clip_norm: float
) -> Tensor:
    """Update the weights with their gradients, clipped to `clip_norm`, and clear the gradients.

    `loss` () is the loss that these gradients belong to, up to a factor. Returns (2,) on the device: the loss, and the
    norm of the gradients before clipping. The weights are updated only if both are finite.
    """
    scaler.unscale_(optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = nn.utils.clip_grad_norm_(parameters, clip_norm)
    result = torch.stack((loss.detach().to(norm.dtype), norm))
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
    if scaler.is_enabled():
        scaler.step(optimizer)
        scaler.update()
    elif optimizer.defaults["fused"]:
        # the attribute by which a GradScaler tells the fused kernel to skip this step
        optimizer.found_inf = 1.0 - result.isfinite().all().float()  # type: ignore[attr-defined]
        optimizer.step()
    elif bool(result.isfinite().all()):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return result


@torch.no_grad()
def average(averaged: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the model's.

    Early in training they follow faster, to forget the initial weights.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), weight)
