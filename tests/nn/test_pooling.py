from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from lstm_cli.nn.pooling import AttentionPooling, Pooling, PoolingKind, build_pooling
from lstm_cli.nn.recurrent import Encoded

KINDS: tuple[PoolingKind, ...] = get_args(PoolingKind)
LENGTHS = torch.tensor([4, 2, 1])
NUM_LAYERS, SIZE, NUM_STEPS = 2, 3, 5


def make(kind: PoolingKind) -> Pooling:
    pooling = build_pooling(kind, SIZE, NUM_LAYERS).double()
    if isinstance(pooling, AttentionPooling):
        torch.nn.init.normal_(pooling.query)
    return pooling


def encode(padding: float = 0.0) -> Encoded:
    torch.manual_seed(0)
    states = torch.randn(3, NUM_STEPS, SIZE, dtype=torch.float64)
    real = (torch.arange(NUM_STEPS) < LENGTHS.unsqueeze(1)).unsqueeze(-1)
    final = torch.randn(3, NUM_LAYERS, SIZE, dtype=torch.float64)
    return Encoded(torch.where(real, states, padding).requires_grad_(), final.requires_grad_())


@pytest.mark.parametrize("kind", KINDS)
def test_a_poolings_output_has_its_output_size(kind: PoolingKind) -> None:
    pooling = make(kind)
    assert pooling(encode(), LENGTHS).shape == (3, pooling.output_size)
    assert pooling.kind == kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("garbage", [100.0, -100.0, 1e30])
def test_values_in_the_padding_change_no_vector_and_no_gradient(kind: PoolingKind, garbage: float) -> None:
    pooling = make(kind)
    results: list[tuple[Tensor, ...]] = []
    for padding in (0.0, garbage):
        encoded = encode(padding)
        inputs = (encoded.states, encoded.final, *pooling.parameters())
        pooled = pooling(encoded, LENGTHS)
        grads = torch.autograd.grad(pooled.square().sum(), inputs, materialize_grads=True)
        results.append((pooled, *grads))
    torch.testing.assert_close(results[0], results[1], atol=0.0, rtol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_pooled_the_same_alone_and_in_a_batch(kind: PoolingKind) -> None:
    pooling, encoded = make(kind), encode()
    together = pooling(encoded, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = Encoded(encoded.states[row : row + 1, :length], encoded.final[row : row + 1])
        torch.testing.assert_close(together[row], pooling(alone, LENGTHS[row : row + 1])[0])


def test_the_max_of_negative_states_is_negative_though_padding_is_zero() -> None:
    encoded = encode()
    negative = Encoded(-encoded.states.abs(), encoded.final)
    pooled = make("max")(negative, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        assert torch.equal(pooled[row], negative.states[row, :length].amax(dim=0))
    assert (pooled < 0).all()


def test_the_mean_is_over_the_real_steps() -> None:
    encoded = encode()
    pooled = make("mean")(encoded, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(pooled[row], encoded.states[row, :length].mean(dim=0))


def test_mean_and_max_are_concatenated() -> None:
    encoded = encode()
    parts = [make("mean")(encoded, LENGTHS), make("max")(encoded, LENGTHS)]
    assert torch.equal(make("mean+max")(encoded, LENGTHS), torch.cat(parts, dim=-1))


def test_the_final_poolings_take_the_last_layer_or_all() -> None:
    encoded = encode()
    assert torch.equal(make("final")(encoded, LENGTHS), encoded.final[:, 1])
    expected = torch.cat([encoded.final[:, 0], encoded.final[:, 1]], dim=-1)
    assert torch.equal(make("final-all-layers")(encoded, LENGTHS), expected)


def test_new_attention_is_the_mean_and_a_strong_query_picks_the_step_that_answers_it() -> None:
    encoded = encode()
    pooling = AttentionPooling(SIZE).double()
    torch.testing.assert_close(pooling(encoded, LENGTHS), make("mean")(encoded, LENGTHS))
    with torch.no_grad():
        pooling.query.copy_(torch.tensor([1e4, 0.0, 0.0]))
    pooled = pooling(encoded, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        best = int(encoded.states[row, :length, 0].argmax())
        torch.testing.assert_close(pooled[row], encoded.states[row, best])
