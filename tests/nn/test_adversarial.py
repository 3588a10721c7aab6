"""The step raises the loss more than any other of its length, and the gradient is that of the plain formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lstm_cli.nn.adversarial import adversarial_loss, adversarial_step
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.encoders import TokenEncoder
from lstm_cli.nn.pooling import build_pooling

LENGTHS = torch.tensor([5, 3, 1])
INPUTS = torch.tensor([[2, 3, 4, 5, 6], [3, 3, 2, 0, 0], [6, 0, 0, 0, 0]])
TARGETS = torch.tensor([0, 1, 2])


def classifier() -> TextClassifier:
    torch.manual_seed(0)
    encoder = TokenEncoder(7, 4, "lstm", 5)
    return TextClassifier(encoder, build_pooling("max", encoder.output_size, 1), 3).double()


def loss(model: TextClassifier, embedded: Tensor) -> Tensor:
    return F.cross_entropy(model.read(embedded, LENGTHS), TARGETS, reduction="sum")


def test_value_and_gradient_are_those_of_the_mean_of_both_losses() -> None:
    model = classifier()
    embedded = model.encoder.embed(INPUTS)
    total = adversarial_loss(model, lambda x: loss(model, x), embedded, LENGTHS, 0.9)
    (2 * total).backward()  # type: ignore[no-untyped-call]
    found = {name: value.grad for name, value in model.named_parameters()}

    model.zero_grad()
    embedded = model.encoder.embed(INPUTS)
    (gradient,) = torch.autograd.grad(loss(model, embedded), embedded)
    embedded = model.encoder.embed(INPUTS)
    step = torch.stack(
        [
            0.9 * x[:n].square().mean().sqrt() * g / g.norm()
            for x, n, g in zip(embedded, LENGTHS, gradient, strict=True)
        ]
    )
    plain = loss(model, embedded) + loss(model, embedded + step.detach())
    plain.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(2 * total, plain)
    for name, value in model.named_parameters():
        torch.testing.assert_close(found[name], value.grad)


def test_the_step_has_its_length_leaves_the_padding_and_raises_the_loss_most() -> None:
    model = classifier()
    embedded = model.encoder.embed(INPUTS).detach().requires_grad_()
    clean = loss(model, embedded)
    (gradient,) = torch.autograd.grad(clean, embedded)
    small = adversarial_step(embedded, LENGTHS, gradient, 1e-3)
    torch.testing.assert_close(
        small.flatten(1).norm(dim=1),
        1e-3
        * torch.stack([row[:n].square().mean().sqrt() for row, n in zip(embedded, LENGTHS, strict=True)]),
        atol=1e-9,
        rtol=1e-4,
    )
    assert (small[1, 3:] == 0).all()
    raised = loss(model, embedded + small) - clean
    assert raised > 0
    for seed in range(20):
        noise = torch.randn(small.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        other = noise * (small.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1))[:, None, None]
        assert loss(model, embedded + other) - clean < raised


def test_a_row_without_a_gradient_is_left_as_it_is() -> None:
    embedded = torch.ones(2, 3, 4)
    assert (adversarial_step(embedded, torch.tensor([3, 2]), torch.zeros(2, 3, 4), 0.5) == 0).all()


@pytest.mark.parametrize("frozen", [True, False])
def test_what_is_frozen_gets_no_gradient(frozen: bool) -> None:
    model = classifier()
    model.encoder.embedding.weight.requires_grad_(not frozen)
    embedded = model.encoder.embed(INPUTS)
    adversarial_loss(model, lambda x: loss(model, x), embedded, LENGTHS, 0.9).backward()  # type: ignore[no-untyped-call]
    grads: list[nn.Parameter] = [value for value in model.parameters() if value.grad is not None]
    assert len(grads) == len(list(model.parameters())) - frozen
