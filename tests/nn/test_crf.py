"""The CRF against all sequences of tags, written out."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from lstm_cli.nn.crf import Crf

NUM_TAGS = 3


def made(seed: int, *, forbidden: bool) -> Crf:
    """A CRF with random scores; some pairs of tags are forbidden, and each tag can begin, go on and end."""
    torch.manual_seed(seed)
    legal = torch.ones(NUM_TAGS + 1, NUM_TAGS + 1, dtype=torch.bool)
    if forbidden:
        legal[0, 1] = legal[2, 2] = legal[-1, 1] = legal[2, -1] = False
    crf = Crf(legal)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


def score_of(crf: Crf, emissions: Tensor, tags: tuple[int, ...]) -> float | None:
    """The score of one sequence, or None if it is forbidden."""
    pairs = list(itertools.pairwise([NUM_TAGS, *tags, NUM_TAGS]))
    if not all(crf.legal[before, after] for before, after in pairs):
        return None
    score = crf.start[tags[0]] + crf.end[tags[-1]] + sum(emissions[at, tag] for at, tag in enumerate(tags))
    score += sum(crf.transitions[before, after] for before, after in itertools.pairwise(tags))
    return float(score)


def all_scores(crf: Crf, emissions: Tensor) -> dict[tuple[int, ...], float]:
    sequences = itertools.product(range(NUM_TAGS), repeat=len(emissions))
    with torch.no_grad():
        scores = {tags: score_of(crf, emissions, tags) for tags in sequences}
    return {tags: score for tags, score in scores.items() if score is not None}


@pytest.mark.parametrize("forbidden", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_loss_and_marginals_are_those_of_all_sequences(seed: int, forbidden: bool) -> None:
    crf = made(seed, forbidden=forbidden)
    lengths = torch.tensor([4, 1, 3])
    emissions = torch.randn(3, 4, NUM_TAGS)
    tags = torch.tensor([[0, 2, 0, 0], [0, -100, -100, -100], [2, 1, 0, -100]])
    expected = 0.0
    for row, length in enumerate(lengths.tolist()):
        scores = all_scores(crf, emissions[row, :length])
        total = torch.tensor(list(scores.values())).logsumexp(0).item()
        expected += total - scores[tuple(tags[row, :length].tolist())]
        marginals = torch.zeros(length, NUM_TAGS)
        for sequence, score in scores.items():
            for at, tag in enumerate(sequence):
                marginals[at, tag] += torch.tensor(score - total).exp()
        found = crf.marginals(emissions, lengths)[row]
        assert torch.allclose(found[:length], marginals, atol=1e-5)
        assert not found[length:].any()
    assert crf.loss(emissions, tags, lengths).item() == pytest.approx(expected, abs=1e-4)


def test_the_padding_changes_neither_loss_nor_gradient() -> None:
    crf = made(0, forbidden=True)
    lengths = torch.tensor([2, 4])
    emissions = torch.randn(2, 4, NUM_TAGS)
    tags = torch.tensor([[0, 2, -100, -100], [2, 0, 2, 1]])
    found = []
    for garbage in (0.0, 1e30, float("nan")):
        given = emissions.clone()
        given[0, 2:] = garbage
        given.requires_grad_()
        crf.zero_grad()
        loss = crf.loss(given, tags, lengths)
        loss.backward()  # type: ignore[no-untyped-call]
        assert given.grad is not None
        assert crf.transitions.grad is not None
        found.append((loss.detach(), given.grad[0, :2], given.grad[1], crf.transitions.grad.clone()))
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_forbidden_tags_have_no_probability_and_get_no_gradient() -> None:
    crf = made(1, forbidden=True)
    emissions = torch.full((1, 2, NUM_TAGS), -50.0)
    emissions[0, 0, 0] = emissions[0, 1, 1] = 50.0  # 0 then 1 is what the words say, and it is forbidden
    marginals = crf.marginals(emissions, torch.tensor([2]))[0]
    assert marginals[0, 0] + marginals[1, 1] < 1.01
    crf.loss(emissions, torch.tensor([[0, 0]]), torch.tensor([2])).backward()  # type: ignore[no-untyped-call]
    assert crf.transitions.grad is not None
    assert crf.transitions.grad[0, 1] == 0
    assert crf.start.grad is not None
    assert crf.start.grad[1] == 0
