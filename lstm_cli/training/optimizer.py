"""One step of the weights: clip, AdamW, average. Nothing here waits for the device.

A step whose loss or gradient is not finite leaves the weights as they are; who wants to know reads it off the returned
figures whenever it suits.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn


def adamw(model: nn.Module, weight_decay: float, pretrained: Collection[str] = ()) -> torch.optim.AdamW:
    """AdamW over all parameters, with `weight_decay` on matrices only; the rate is given at every step.

    The parameters named in `pretrained` are groups of their own, for `slow_down`.
    """
    groups = [
        {"params": parameters, "weight_decay": decay, "pretrained": taken_over, "factor": 1.0}
        for taken_over in (False, True)
        for decay, is_matrix in ((weight_decay, True), (0.0, False))
        if (
            parameters := [
                p
                for name, p in model.named_parameters()
                if (p.ndim >= 2) == is_matrix and (name in pretrained) == taken_over
            ]
        )
    ]
    # every row of an embedding moves at every step, also those that no token of the batch asked for: their moments
    # go on pushing them. Leaving them out would save a tenth of a step on short texts, and train another way.
    return torch.optim.AdamW(groups, fused=next(model.parameters()).device.type != "mps")


def slow_down(optimizer: torch.optim.AdamW, factor: float) -> None:
    """From the next step on, what is pretrained moves at `factor` times the rate; at 0 it is held still."""
    for group in optimizer.param_groups:
        if group["pretrained"]:
            group["factor"] = factor


def take_step(
    optimizer: torch.optim.AdamW, scaler: torch.amp.GradScaler, loss: Tensor, rate: float, clip_norm: float
) -> Tensor:
    """Move the weights along their gradients, clipped to `clip_norm`, and forget the gradients.

    `loss` () is what the gradients are of, up to a factor. Returns (2,): the loss and the gradients' norm before
    clipping, on their device; the weights have moved if both are finite.
    """
    scaler.unscale_(optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = nn.utils.clip_grad_norm_(parameters, clip_norm)
    figures = torch.stack((loss.detach().to(norm.dtype), norm))
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
    if scaler.is_enabled():
        scaler.step(optimizer)
        scaler.update()
    elif optimizer.defaults["fused"]:
        # the name by which a GradScaler tells the fused kernel that there is nothing to be learned from this step
        optimizer.found_inf = 1.0 - figures.isfinite().all().float()  # type: ignore[attr-defined]
        optimizer.step()
    elif bool(figures.isfinite().all()):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return figures


@torch.no_grad()
def average(averaged: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the model's; early on they follow fast, so that no start-up noise is kept."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), share)
