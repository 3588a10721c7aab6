"""Language models: no target is read before it is predicted, and padding has no effect."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lstm_cli.nn import language
from lstm_cli.nn.encoders import TokenEncoder
from lstm_cli.nn.language import LanguageModel, draw

VOCAB = 12
LENGTHS = torch.tensor([6, 1, 4, 6])
FREQUENCIES = torch.cat([torch.zeros(1), torch.arange(1.0, VOCAB)]) / torch.arange(VOCAB).sum()
WHOLE = torch.arange(VOCAB), torch.cat([torch.tensor([-torch.inf]), torch.zeros(VOCAB - 1)])
"""A sample that is the whole vocabulary."""
BOTH_WAYS_OR_A_STACK = pytest.mark.parametrize(
    "layers", [{"bidirectional": True}, {"bidirectional": False, "num_layers": 2}], ids=["both ways", "stack"]
)


def make(**options: Any) -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(TokenEncoder(VOCAB, 6, "lstm", 5, **options), FREQUENCIES)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "encoder.embedding.weight":
                parameter.add_(0.5 * torch.randn_like(parameter))
        model.encoder.embedding.weight[1:].mul_(10)
    return model


def texts() -> Tensor:
    inputs = torch.randint(1, VOCAB, (4, 8), generator=torch.Generator().manual_seed(3))
    return inputs.masked_fill(torch.arange(8) >= LENGTHS.unsqueeze(1), 0)


@BOTH_WAYS_OR_A_STACK
def test_the_probabilities_of_all_tokens_at_a_place_sum_to_one_so_the_target_has_not_been_read(
    layers: dict[str, Any],
) -> None:
    model = make(**layers)
    text = texts()[:1, :6].repeat(VOCAB - 1, 1)
    for place in range(6):
        each = text.clone()
        each[:, place] = torch.arange(1, VOCAB)  # a row for every possible token
        losses = model(each, torch.full((VOCAB - 1,), 6)).view(-1, VOCAB - 1, 5)
        predicted = [(0, place - 1), (1, place)]  # by which direction, in which pair
        for direction, pair in predicted[: len(losses)]:
            if 0 <= pair < 5:
                total = (-losses[direction, :, pair]).exp().sum().item()
                assert total == pytest.approx(1, abs=1e-5), (direction, place)


@BOTH_WAYS_OR_A_STACK
def test_what_comes_after_a_token_does_not_change_its_prediction(layers: dict[str, Any]) -> None:
    model, text = make(**layers), texts()[:1, :6]
    before = model(text, LENGTHS[:1])
    for place in range(6):
        garbled = text.clone()
        garbled[:, place:] = torch.randint(1, VOCAB, (6 - place,))
        assert torch.equal(
            model(garbled, LENGTHS[:1])[0, : max(place - 1, 0)], before[0, : max(place - 1, 0)]
        )
        if len(before) > 1:
            garbled = text.clone()
            garbled[:, : place + 1] = torch.randint(1, VOCAB, (place + 1,))
            torch.testing.assert_close(model(garbled, LENGTHS[:1])[1, place + 1 :], before[1, place + 1 :])


def gradients(model: LanguageModel, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@BOTH_WAYS_OR_A_STACK
def test_with_the_whole_vocabulary_as_sample_the_loss_and_its_gradient_are_exact(
    layers: dict[str, Any],
) -> None:
    model, inputs = make(**layers), texts()
    exact, sampled = model(inputs, LENGTHS).sum(), model.sampled_loss(inputs, LENGTHS, WHOLE)
    torch.testing.assert_close(sampled, exact)
    expected, found = gradients(model, 3 * exact), gradients(model, 3 * sampled)
    assert found.keys() == expected.keys() == dict(model.named_parameters()).keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], msg=name)
        assert value.any(), name


def test_a_slice_at_a_time_gives_the_same_loss_and_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = make(), texts()
    sample = draw(FREQUENCIES, 5)
    whole = model.sampled_loss(inputs, LENGTHS, sample)
    expected, exact = gradients(model, whole), model(inputs, LENGTHS)
    monkeypatch.setitem(language._LOGITS_AT_ONCE, "cpu", 13)
    sliced = model.sampled_loss(inputs, LENGTHS, sample)
    torch.testing.assert_close(sliced, whole)
    for name, value in gradients(model, sliced).items():
        torch.testing.assert_close(value, expected[name], msg=name)
    torch.testing.assert_close(model(inputs, LENGTHS), exact)


@BOTH_WAYS_OR_A_STACK
def test_anything_in_the_padding_and_more_of_it_changes_nothing(layers: dict[str, Any]) -> None:
    model, inputs = make(**layers), texts()
    padding = torch.arange(8) >= LENGTHS.unsqueeze(1)
    garbage = torch.where(padding, torch.randint(1, VOCAB, (4, 8)), inputs)
    assert torch.equal(model(garbage, LENGTHS), model(inputs, LENGTHS))
    assert torch.equal(model(inputs[:, :6], LENGTHS), model(inputs, LENGTHS))
    sample = draw(FREQUENCIES, 5)
    expected = gradients(model, model.sampled_loss(inputs, LENGTHS, sample))
    for name, value in gradients(model, model.sampled_loss(garbage, LENGTHS, sample)).items():
        assert torch.equal(value, expected[name]), name
    assert not expected["encoder.embedding.weight"][0].any()


def test_a_row_has_the_same_losses_alone_and_in_a_batch() -> None:
    model, inputs = make(), texts()
    pairs = iter(model(inputs, LENGTHS).split((LENGTHS - 1).tolist(), dim=1))
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(inputs[row : row + 1, :length], LENGTHS[row : row + 1])
        assert alone.shape == (2, length - 1)
        torch.testing.assert_close(alone, next(pairs))


def test_a_sample_represents_the_vocabulary_on_average_and_padding_has_no_weight() -> None:
    torch.manual_seed(0)
    seen = torch.zeros(VOCAB)
    for _ in range(4000):
        tokens, weights = draw(FREQUENCIES, 4)
        assert tokens[0] == 0  # the column of no target
        assert weights[0] == -torch.inf
        assert len(set(tokens.tolist())) == len(tokens) <= 5
        seen[tokens] += weights.exp() / 4000
    torch.testing.assert_close(seen[1:], torch.ones(VOCAB - 1), atol=0.1, rtol=0.0)
    assert seen[0] == 0


def test_a_second_bidirectional_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="would read the token"):
        make(bidirectional=True, num_layers=2)


def test_the_stages_count_every_parameter_once() -> None:
    model = make()
    assert sum(stage.parameters for stage in model.stages()) == sum(p.numel() for p in model.parameters())
