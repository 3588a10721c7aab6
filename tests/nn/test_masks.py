from __future__ import annotations

import pytest
import torch

from lstm_cli.nn.masks import check_lengths, reverse_index, reverse_valid, valid_mask

CPU = torch.device("cpu")
LENGTHS = torch.tensor([3, 1, 4])


def test_the_mask_is_true_exactly_where_a_step_is_real() -> None:
    expected = [[True, True, True, False], [True, False, False, False], [True, True, True, True]]
    assert valid_mask(LENGTHS, 4, CPU).tolist() == expected


def test_reversing_turns_the_real_steps_around_and_leaves_padding_where_it_is() -> None:
    x = torch.arange(12).reshape(3, 4, 1)
    turned = reverse_valid(x, reverse_index(LENGTHS, 4, CPU))
    assert turned.squeeze(-1).tolist() == [[2, 1, 0, 3], [4, 5, 6, 7], [11, 10, 9, 8]]


def test_reversing_twice_gives_the_same_batch_again() -> None:
    x = torch.randn(3, 5, 2)
    index = reverse_index(LENGTHS, 5, CPU)
    assert torch.equal(reverse_valid(reverse_valid(x, index), index), x)


def test_the_gradient_of_reversing_is_that_of_its_definition() -> None:
    torch.manual_seed(0)
    index = reverse_index(LENGTHS, 4, CPU)
    x = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: reverse_valid(values, index), (x,))
    assert torch.autograd.gradgradcheck(lambda values: reverse_valid(values, index), (x,))


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ([3, 0, 4], r"must lie in 1\.\.4.* got 0\.\.4"),
        ([3, 1, 5], r"must lie in 1\.\.4.* got 1\.\.5"),
        ([3, 1], r"each of the 3 rows, got shape \(2,\)"),
        ([[3, 1, 4]], r"got shape \(1, 3\)"),
    ],
)
def test_lengths_that_would_be_read_wrongly_are_refused(lengths: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_lengths(torch.tensor(lengths), num_rows=3, num_steps=4)


def test_lengths_on_another_device_are_refused() -> None:
    with pytest.raises(ValueError, match="must be on the CPU, got a tensor on meta"):
        check_lengths(LENGTHS.to("meta"), num_rows=3, num_steps=4)
