"""An encoder of vectors keeps the promises of an encoder of tokens, under every pooling."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lstm_cli.nn.adversarial import adversarial_loss
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.encoders import DenseEncoder
from lstm_cli.nn.pooling import PoolingKind, build_pooling
from lstm_cli.nn.recurrent import Cell, LayerPath

CELLS: tuple[Cell, ...] = get_args(Cell)
KINDS: tuple[PoolingKind, ...] = get_args(PoolingKind)
PATHS: tuple[LayerPath, ...] = ("packed", "split")
FEATURES, CLASSES = 5, 3
LENGTHS = torch.tensor([6, 1, 4, 6])
PADDING = torch.arange(8) >= LENGTHS.unsqueeze(1)
TARGETS = torch.tensor([0, 1, 2, 1])
EVERY_PATH = pytest.mark.parametrize("path", PATHS)
EVERY_CELL_AND_KIND = pytest.mark.parametrize(("cell", "kind"), list(product(CELLS, KINDS)))
GARBAGE = pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30, 7.0])


def make(cell: Cell = "lstm", kind: PoolingKind = "mean+max", **options: Any) -> TextClassifier:
    torch.manual_seed(0)
    encoder = DenseEncoder(FEATURES, 6, cell, 4, num_layers=2, **options)
    model = TextClassifier(encoder, build_pooling(kind, encoder.output_size, 2), CLASSES).double()
    with torch.no_grad():
        for parameter in model.parameters():  # so that no query and no bias is zero
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def vectors(padding: float = 0.0) -> Tensor:
    """(4, 8, F) float32 with two steps of padding beyond the longest row."""
    inputs = torch.randn(4, 8, FEATURES, generator=torch.Generator().manual_seed(3))
    return inputs.masked_fill(PADDING.unsqueeze(-1), padding)


def loss_and_gradients(model: TextClassifier, inputs: Tensor, adversarial: bool) -> tuple[Tensor, ...]:
    torch.manual_seed(4)  # for the dropout

    def loss_of(embedded: Tensor) -> Tensor:
        return functional.cross_entropy(model.read(embedded, LENGTHS), TARGETS, reduction="sum")

    embedded = model.encoder.embed(inputs)
    loss = adversarial_loss(model, loss_of, embedded, LENGTHS, 0.9) if adversarial else loss_of(embedded)
    return loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))


@GARBAGE
@EVERY_PATH
@pytest.mark.parametrize("adversarial", [False, True])
def test_garbage_in_the_padding_changes_no_loss_and_no_gradient(
    adversarial: bool, path: LayerPath, garbage: float
) -> None:
    model = make(path=path, embedding_dropout=0.3, dropout=0.3)
    expected = loss_and_gradients(model, vectors(), adversarial)
    found = loss_and_gradients(model, vectors(garbage), adversarial)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
        assert other.isfinite().all()


@EVERY_PATH
@EVERY_CELL_AND_KIND
def test_every_parameter_gets_a_gradient(cell: Cell, kind: PoolingKind, path: LayerPath) -> None:
    model = make(cell, kind, path=path)
    torch.autograd.backward(functional.cross_entropy(model(vectors(), LENGTHS), TARGETS))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.reshape(len(parameter), -1).any(dim=1).all(), name


@EVERY_PATH
@EVERY_CELL_AND_KIND
def test_a_row_is_answered_the_same_alone_and_in_company(
    cell: Cell, kind: PoolingKind, path: LayerPath
) -> None:
    model, inputs = make(cell, kind, path=path), vectors()
    together = model(inputs, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(inputs[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], atol=1e-12, rtol=0.0)


@EVERY_CELL_AND_KIND
def test_packed_and_split_give_the_same_loss_and_gradients(cell: Cell, kind: PoolingKind) -> None:
    model = make(cell, kind)
    results = []
    for path in PATHS:
        model.encoder.recurrent.path = path
        results.append(loss_and_gradients(model, vectors(), adversarial=False))
    torch.testing.assert_close(results[0], results[1], atol=1e-12, rtol=1e-12)


@EVERY_PATH
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_in_a_real_step_is_seen_in_its_own_row_alone(
    path: LayerPath, value: float
) -> None:
    model, inputs = make(path=path), vectors()
    expected = model(inputs, LENGTHS)
    inputs[2, 3, 1] = value
    found = model(inputs, LENGTHS)
    assert found[2].isnan().all()
    others = torch.tensor([0, 1, 3])
    assert torch.equal(found[others], expected[others])


def test_vectors_are_embedded_in_full_precision_where_the_layers_are_not() -> None:
    encoder = DenseEncoder(FEATURES, 6, "gru", 4)
    inputs = 1e6 * vectors()
    with torch.autocast("cpu", torch.float16):
        embedded = encoder.embed(inputs)
    assert embedded.dtype == torch.float32
    assert torch.equal(embedded, encoder.embed(inputs))


@pytest.mark.parametrize("noise", ["embedding_dropout", "dropout"])
def test_each_noise_is_on_in_train_and_off_in_eval(noise: str) -> None:
    options: dict[str, Any] = {noise: 0.5}
    model, inputs = make(**options), vectors()
    assert not torch.equal(model.train()(inputs, LENGTHS), model(inputs, LENGTHS))
    assert torch.equal(model.eval()(inputs, LENGTHS), make()(inputs, LENGTHS))


def test_ten_rows_are_learned_exactly() -> None:
    torch.manual_seed(1)
    lengths, targets = torch.randint(3, 8, (10,)), torch.arange(10) % CLASSES
    inputs = torch.randn(10, 8, FEATURES)
    encoder = DenseEncoder(FEATURES, 8, "lstm", 8)
    model = TextClassifier(encoder, build_pooling("final", encoder.output_size, 1), CLASSES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs, lengths), targets)
        torch.autograd.backward(loss)
        optimizer.step()
    assert loss.item() < 0.05
    assert torch.equal(model(inputs, lengths).argmax(dim=-1), targets)


def test_the_stages_are_those_of_an_encoder_of_tokens_and_count_every_parameter() -> None:
    model = make()
    stages = model.stages("4", "8")
    assert [(stage.name, stage.shape) for stage in stages[:3]] == [
        ("embedding", "(4, 8, 6)"),
        ("bidirectional lstm layer 1", "(4, 8, 8)"),
        ("bidirectional lstm layer 2", "(4, 8, 8)"),
    ]
    assert stages[0].parameters == 6 * FEATURES + 6
    assert sum(stage.parameters for stage in stages) == sum(p.numel() for p in model.parameters())
