"""A linear-chain conditional random field over tags (Lafferty, McCallum & Pereira 2001).

The score of the tags y of a sentence of T words is

    start[y_1] + sum_t emissions[t, y_t] + sum_t transitions[y_(t-1), y_t] + end[y_T]

and their probability is exp(score) over the sum for all sequences of tags, which the forward algorithm computes in log
space in O(T K^2). Tags that a scheme forbids, such as I-PER after O, have probability 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_cli.nn.masks import valid_mask

FORBIDDEN = -1e4
"""The score of a forbidden start, transition or end: far below any score that is learned, and finite, so that no
gradient is NaN."""


class Crf(nn.Module):
    """Scores of K tags next to each other, all 0 at first.

    `legal` (K + 1, K + 1) bool is True for the pairs of tags that may follow each other; row K is the start of a
    sentence, column K its end.
    """

    legal: Tensor

    def __init__(self, legal: Tensor) -> None:
        super().__init__()
        num_tags = len(legal) - 1
        self.transitions = nn.Parameter(torch.zeros(num_tags, num_tags))
        self.start = nn.Parameter(torch.zeros(num_tags))
        self.end = nn.Parameter(torch.zeros(num_tags))
        self.register_buffer("legal", legal, persistent=False)

    def _scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """`start` (K,), `transitions` (K, K) and `end` (K,) in float32, FORBIDDEN where they are not legal."""
        legal = self.legal
        return (
            self.start.float().where(legal[-1, :-1], FORBIDDEN),
            self.transitions.float().where(legal[:-1, :-1], FORBIDDEN),
            self.end.float().where(legal[:-1, -1], FORBIDDEN),
        )

    def loss(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """The negative log-likelihood of the tags, summed over the rows: (B, T, K), (B, T), (B,) on the CPU -> ().

        What stands in the padding of `emissions` and `tags` does not count.
        """
        start, transitions, end = self._scores()
        mask = valid_mask(lengths, emissions.shape[1], emissions.device)
        tags = tags.where(mask, 0)
        emissions = emissions.float().masked_fill(~mask.unsqueeze(2), 0.0)
        emitted = emissions.gather(2, tags.unsqueeze(2)).squeeze(2)
        moved = transitions[tags[:, :-1], tags[:, 1:]]
        last = tags.gather(1, (lengths - 1).to(tags.device).unsqueeze(1)).squeeze(1)
        score = (
            start[tags[:, 0]]
            + emitted.where(mask, 0.0).sum(dim=1)
            + moved.where(mask[:, 1:], 0.0).sum(dim=1)
            + end[last]
        )
        forward = self._forward(emissions, mask)[-1]
        return ((forward + end).logsumexp(dim=1) - score).sum()

    def _forward(self, emissions: Tensor, mask: Tensor) -> list[Tensor]:
        """For each step (B, K), the log of the sum over all sequences that end there in each tag, or, beyond the end
        of a row, at its last step.
        """
        start, transitions, _ = self._scores()
        alpha = start + emissions[:, 0]
        alphas = [alpha]
        for step in range(1, emissions.shape[1]):
            reached = (alpha.unsqueeze(2) + transitions).logsumexp(dim=1) + emissions[:, step]
            alpha = reached.where(mask[:, step, None], alpha)
            alphas.append(alpha)
        return alphas

    def marginals(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """The probability of each tag at each step (forward-backward): (B, T, K), (B,) on the CPU -> (B, T, K).

        At the padding they are 0.
        """
        _, transitions, end = self._scores()
        mask = valid_mask(lengths, emissions.shape[1], emissions.device)
        emissions = emissions.float().masked_fill(~mask.unsqueeze(2), 0.0)
        alphas = self._forward(emissions, mask)
        beta = end.expand(len(emissions), -1)
        betas = [beta]
        for step in range(emissions.shape[1] - 1, 0, -1):
            reached = (transitions + (beta + emissions[:, step]).unsqueeze(1)).logsumexp(dim=2)
            beta = reached.where(mask[:, step, None], beta)
            betas.append(beta)
        total = torch.stack(alphas, dim=1) + torch.stack(betas[::-1], dim=1)
        return total.softmax(dim=2).masked_fill(~mask.unsqueeze(2), 0.0)
