"""What is dropped, how much of it, and what scale the rest gets."""

from __future__ import annotations

import pytest
import torch

from lstm_cli.nn.dropout import PAD_ID, UNK_ID, drop_words, dropout


def test_word_dropout_turns_whole_words_into_the_unknown_one_and_never_padding() -> None:
    torch.manual_seed(0)
    inputs = torch.randint(2, 9, (200, 50))
    inputs[:, 30:] = PAD_ID
    noisy = drop_words(inputs, 0.3)
    assert (noisy[:, 30:] == PAD_ID).all()
    dropped = noisy[:, :30] == UNK_ID
    assert torch.equal(noisy[:, :30][~dropped], inputs[:, :30][~dropped])
    assert 0.27 < dropped.float().mean() < 0.33
    assert (drop_words(inputs, 1.0)[:, :30] == UNK_ID).all()


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_given_share_is_dropped_and_the_mean_stays(probability: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(101, 7, 300, requires_grad=True)  # 212,100 values: no multiple of four
    noisy = dropout(x, probability, training=True)
    assert (noisy == 0).float().mean().item() == pytest.approx(probability, abs=0.005)
    assert noisy.mean().item() == pytest.approx(1.0, abs=0.02)
    noisy.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(x.grad, noisy)  # type: ignore[arg-type]


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = (dropout(torch.ones(100, 1000), 0.5, training=True) != 0).float() - 0.5
    for shift in (1, 2, 3, 4, 1000):
        flat = kept.flatten()
        assert abs((flat[shift:] * flat[:-shift]).mean().item()) < 0.004  # 5 sd of the mean of 100,000


@pytest.mark.parametrize("kind", ["values", "words"])
def test_no_two_rows_steps_or_values_share_what_is_dropped(kind: str) -> None:
    torch.manual_seed(0)
    if kind == "values":
        kept = dropout(torch.ones(40, 40, 40), 0.5, training=True) != 0
    else:
        kept = drop_words(torch.full((250, 250), 7), 0.5) == 7
    for axis in range(kept.dim()):
        for shift in (1, 7):
            same = (kept == kept.roll(shift, axis)).float().mean().item()
            assert abs(same - 0.5) < 0.01  # 5 sd of the mean of 62,500


def test_the_generator_of_torch_decides_what_is_dropped() -> None:
    x = torch.ones(50, 50)

    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.stack([dropout(x, 0.5, training=True), dropout(x, 0.5, training=True)])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert not torch.equal(*drawn(1))


def test_out_of_training_nothing_is_dropped() -> None:
    x = torch.randn(5, 5)
    assert torch.equal(dropout(x, 0.5, training=False), x)
    assert torch.equal(dropout(x, 0.0, training=True), x)


def test_almost_everything_can_be_dropped_and_the_rest_stays_finite() -> None:
    assert dropout(torch.ones(1000), 1 - 1e-9, training=True).isfinite().all()
