"""Adversarial training: a model learns from its rows as they are and as they would mislead it most.

What it reads is moved a little in the direction in which its loss grows fastest (Miyato, Dai and Goodfellow 2017,
equation 3). They normalise the embeddings to variance 1, so that large ones do not escape; here the distance is in
units of the row's own root mean square, which comes to the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lstm_cli.nn.masks import valid_mask


def adversarial_loss(
    model: nn.Module, loss_of: Callable[[Tensor], Tensor], embedded: Tensor, lengths: Tensor, distance: float
) -> Tensor:
    """The mean of the loss of `embedded` (B, T, E) and of the same moved by `distance`: -> ().

    `loss_of` reads what is embedded. Its value is the loss's, its gradient that of both; the first half's is made
    here, with that of the disturbance, and only handed on: two passes back instead of three.
    """
    padding = ~valid_mask(lengths, embedded.shape[1], embedded.device).unsqueeze(-1)
    embedded = embedded.masked_fill(padding, 0.0)  # a linear layer leaves its bias there, or NaN
    plain = embedded.detach().requires_grad_()
    clean = loss_of(plain)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    along, *gradients = torch.autograd.grad(clean, [plain, *weights], allow_unused=True)
    misleading = embedded + steepest(plain.detach(), lengths, along, distance)
    disturbed = loss_of(misleading)
    handed_on = (embedded * along).sum() + sum(
        (weight * gradient).sum()
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    )
    return (disturbed + clean.detach() + handed_on - handed_on.detach()) / 2


def steepest(embedded: Tensor, lengths: Tensor, gradient: Tensor, distance: float) -> Tensor:
    """(B, T, E), (B,), (B, T, E) -> (B, T, E): each row's step along its gradient, `distance` root mean squares of the
    row's values long. Padding, which is zero and has no gradient, is not moved."""
    norm, steepness = (x.float().flatten(1).norm(dim=1) for x in (embedded, gradient))
    root_mean_square = norm / (lengths.to(norm.device) * embedded.shape[2]).sqrt()
    share = distance * root_mean_square / steepness.clamp_min(torch.finfo(torch.float32).tiny)
    moved: Tensor = gradient * share[:, None, None]
    return moved
