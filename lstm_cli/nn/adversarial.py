"""Adversarial training: a model learns from each row and from its worst case in the neighbourhood.

The embedded row is moved by a small step in the direction in which its loss grows fastest (Miyato, Dai and Goodfellow
2017, equation 3). They normalise the embeddings to variance 1, so that a model cannot make the step relatively small by
growing its embeddings. Here the step is in units of the row's own root mean square, which has the same effect.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lstm_cli.nn.masks import valid_mask


def adversarial_loss(
    model: nn.Module, loss_of: Callable[[Tensor], Tensor], embedded: Tensor, lengths: Tensor, distance: float
) -> Tensor:
    """The mean of the loss at `embedded` and of the loss after a step of `distance`: (B, T, E), (B,) -> ().

    `loss_of` is the loss as a function of the embedded rows. One backward pass here gives both the gradient of the
    first loss and the direction of the step; both enter the result as constants. So there are two backward passes
    instead of three.
    """
    padding = ~valid_mask(lengths, embedded.shape[1], embedded.device).unsqueeze(-1)
    embedded = embedded.masked_fill(padding, 0.0)  # a linear layer leaves its bias there, or NaN
    plain = embedded.detach().requires_grad_()
    clean = loss_of(plain)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    direction, *gradients = torch.autograd.grad(clean, [plain, *weights], allow_unused=True)
    moved = embedded + adversarial_step(plain.detach(), lengths, direction, distance)
    worst = loss_of(moved)
    # only the gradient of this term is used: it equals the gradient of `clean`
    linear = (embedded * direction).sum() + sum(
        (weight * gradient).sum()
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    )
    return (worst + clean.detach() + linear - linear.detach()) / 2


def adversarial_step(embedded: Tensor, lengths: Tensor, gradient: Tensor, distance: float) -> Tensor:
    """Each row's step along its gradient: (B, T, E), (B,), (B, T, E) -> (B, T, E).

    The step's length is `distance` times the root mean square of the row's values. `embedded` and `gradient` must be
    zero at padding, which then does not move.
    """
    norm, gradient_norm = (x.float().flatten(1).norm(dim=1) for x in (embedded, gradient))
    root_mean_square = norm / (lengths.to(norm.device) * embedded.shape[2]).sqrt()
    factor = distance * root_mean_square / gradient_norm.clamp_min(torch.finfo(torch.float32).tiny)
    step: Tensor = gradient * factor[:, None, None]
    return step
