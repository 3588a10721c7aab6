"""Adversarial training: a model learns from its rows as they are and as they would mislead it most.

What it reads is moved a little in the direction in which its loss grows fastest (Miyato, Dai and Goodfellow 2017,
equation 3). Theirs are normalised embeddings and a length in absolute numbers; here it is a share of the row's own
length, which large embeddings escape as little.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def adversarial_loss(
    model: nn.Module, loss_of: Callable[[Tensor], Tensor], embedded: Tensor, size: float
) -> Tensor:
    """The mean of the loss of `embedded` (B, T, E) and of the same disturbed by `size` of each row's norm: -> ().

    `loss_of` reads what is embedded. Its value is the loss's, its gradient that of both; the first half's is made
    here, with that of the disturbance, and only handed on: two passes back instead of three.
    """
    plain = embedded.detach().requires_grad_()
    clean = loss_of(plain)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    along, *gradients = torch.autograd.grad(clean, [plain, *weights], allow_unused=True)
    misleading = embedded + _steepest(plain.detach(), along, size)
    disturbed = loss_of(misleading)
    handed_on = (embedded * along).sum() + sum(
        (weight * gradient).sum()
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    )
    return (disturbed + clean.detach() + handed_on - handed_on.detach()) / 2


def _steepest(embedded: Tensor, gradient: Tensor, size: float) -> Tensor:
    """(B, T, E) along the gradient, as long as `size` of the row it belongs to; nothing at padding, where there is no
    gradient."""
    lengths, steepness = (x.float().flatten(1).norm(dim=1)[:, None, None] for x in (embedded, gradient))
    disturbance: Tensor = gradient * (size * lengths / steepness.clamp_min(torch.finfo(torch.float32).tiny))
    return disturbance
