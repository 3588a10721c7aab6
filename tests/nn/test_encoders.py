from __future__ import annotations

from typing import Any

import pytest
import torch

from lstm_cli import batch
from lstm_cli.nn import dropout
from lstm_cli.nn.dropout import PAD_ID
from lstm_cli.nn.encoders import TokenEncoder

INPUTS = torch.tensor([[5, 6, 7, 8], [9, 5, PAD_ID, PAD_ID], [3, PAD_ID, PAD_ID, PAD_ID]])
LENGTHS = torch.tensor([4, 2, 1])


def make(**noise: Any) -> TokenEncoder:
    torch.manual_seed(0)
    return TokenEncoder(12, 6, "lstm", 5, num_layers=2, **noise)


def test_the_ids_of_padding_and_unknown_words_are_those_of_the_batch() -> None:
    assert (dropout.PAD_ID, dropout.UNK_ID) == (batch.PAD_ID, batch.UNK_ID)


def test_a_new_embedding_is_small_and_its_padding_row_is_zero() -> None:
    torch.manual_seed(0)
    weight = TokenEncoder(2000, 8, "rnn", 2).embedding.weight
    assert not weight[PAD_ID].any()
    assert 0.099 < weight.abs().max() <= 0.1
    assert weight[1:].any(dim=1).all()


@pytest.mark.parametrize("path", ["packed", "split"])
def test_the_padding_row_stays_zero_through_training_even_where_a_text_holds_its_id(path: str) -> None:
    encoder = make(path=path)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1, weight_decay=0.5)
    inputs = torch.tensor([[5, PAD_ID, 7, 8], [PAD_ID, 5, 6, PAD_ID], [PAD_ID] * 4])
    before = encoder.embedding.weight.detach().clone()
    for _ in range(5):
        optimizer.zero_grad()
        torch.autograd.backward(encoder(inputs, LENGTHS).states.square().sum())
        optimizer.step()
    assert not encoder.embedding.weight[PAD_ID].any()
    assert (encoder.embedding.weight[5] != before[5]).all()


@pytest.mark.parametrize("noise", ["word_dropout", "embedding_dropout", "dropout"])
def test_each_noise_is_on_in_train_and_off_in_eval(noise: str) -> None:
    encoder = make(**{noise: 0.5})
    quiet = make()
    assert not torch.equal(encoder.train()(INPUTS, LENGTHS).states, encoder(INPUTS, LENGTHS).states)
    evaluated = encoder.eval()(INPUTS, LENGTHS).states
    assert torch.equal(evaluated, encoder(INPUTS, LENGTHS).states)
    assert torch.equal(evaluated, quiet(INPUTS, LENGTHS).states)


def test_word_dropout_and_embedding_dropout_fall_below_the_first_layer() -> None:
    for noise in ("word_dropout", "embedding_dropout"):
        encoder = make(**{noise: 0.5})
        first, second = encoder(INPUTS, LENGTHS), encoder(INPUTS, LENGTHS)
        assert not torch.equal(first.final[:, 0], second.final[:, 0])


def test_ids_in_the_padding_change_no_state_and_no_gradient() -> None:
    encoder = make()
    garbage = torch.where(INPUTS == PAD_ID, 11, INPUTS)
    results = []
    for inputs in (INPUTS, garbage):
        encoded = encoder(inputs, LENGTHS)
        loss = encoded.states.square().sum() + encoded.final.square().sum()
        results.append((encoded.states, *torch.autograd.grad(loss, list(encoder.parameters()))))
    torch.testing.assert_close(results[0], results[1], atol=0.0, rtol=0.0)
    assert not results[1][1][11].any()  # the embedding's row of the garbage


def test_stages_name_each_layer_with_its_shape_and_parameters() -> None:
    stages = make().stages()
    assert [(stage.name, stage.shape) for stage in stages] == [
        ("embedding", "(B, T, 6)"),
        ("bidirectional lstm layer 1", "(B, T, 10)"),
        ("bidirectional lstm layer 2", "(B, T, 10)"),
    ]
    lstm = [2 * (4 * 5 * size + 4 * 5 * 5 + 2 * 4 * 5) for size in (6, 10)]
    assert [stage.parameters for stage in stages] == [12 * 6, *lstm]
    assert [stage.gates for stage in stages] == [0, 2 * 4 * 5, 2 * 4 * 5]
    one_way = TokenEncoder(12, 6, "gru", 5, bidirectional=False).stages("64", "200")
    assert one_way[1].gates == 3 * 5
    assert (one_way[1].name, one_way[1].shape) == ("gru layer 1", "(64, 200, 5)")
