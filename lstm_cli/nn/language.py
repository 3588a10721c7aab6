"""Language models over an encoder: what a direction has read so far foretells the token that it reads next.

The directions of a bidirectional layer are models of their own: the forward half of a state has seen the tokens up
to its own and says the one after, the backward half says the one before. A layer above would read both halves, and
with them the answer; so there is one bidirectional layer, or a stack that reads one way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from lstm_cli.nn.cpu import get_num_threads
from lstm_cli.nn.dropout import PAD_ID
from lstm_cli.nn.encoders import RecurrentEncoder
from lstm_cli.nn.masks import valid_mask
from lstm_cli.nn.model import Model, Stage, num_parameters
from lstm_cli.nn.parallel import in_parallel

_LOGITS_AT_ONCE = {"cpu": 2**20}
_LOGITS_AT_ONCE_ELSEWHERE = 2**26
"""Positions are taken in slices of so many logits: 4 MB of a CPU's cache and memory, whatever batch and vocabulary.
Slices of 8 MB took half as long again."""


class LanguageModel(Model):
    """Encoder -> a projection for each direction -> the embedding again as output layer, with a bias for every token.

    `shares` (V,) are those of the tokens in the text: without having read anything, the model says each with its own.

    Raises ValueError for a bidirectional encoder of several layers.
    """

    def __init__(self, encoder: RecurrentEncoder, shares: Tensor) -> None:
        super().__init__()
        recurrent = encoder.recurrent
        if recurrent.bidirectional and recurrent.num_layers > 1:
            raise ValueError(
                "a second bidirectional layer would read the token that the first has to foretell"
            )
        self.encoder = encoder
        self.projections = nn.ModuleList(
            nn.Linear(recurrent.hidden_size, encoder.embedding.embedding_dim) for _ in recurrent.suffixes
        )
        self.bias = nn.Parameter(shares.clamp_min(1e-12).log().float())

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The surprise, in nats, of each direction at each token that it foretells: (B, T), (B,) on the CPU -> (D, N).

        N counts the neighbouring pairs of tokens of a row, row after row: the forward direction says the second of a
        pair, the backward direction the first. A row of one token has none. Padding is never said.
        """
        directions = self._directions(inputs, lengths)
        return torch.stack([surprise for (surprise,) in _each(_surprise, directions)])

    def sampled_loss(self, inputs: Tensor, lengths: Tensor, sample: tuple[Tensor, Tensor]) -> Tensor:
        """An estimate of the sum of `forward`, for training: against the target and a sample of `draw` alone: -> ()."""
        totals = _each(_sampled_surprise, [[*part, *sample] for part in self._directions(inputs, lengths)])
        return torch.stack([total for (total,) in totals]).sum()

    def _directions(self, inputs: Tensor, lengths: Tensor) -> list[list[Tensor]]:
        """For each direction: its states (N, H), the tokens (N,) that they foretell, projection, embedding and bias."""
        states = self.encoder(inputs, lengths).states.flatten(0, 1)  # (B * T, D*H)
        first = valid_mask(lengths - 1, inputs.shape[1], inputs.device).flatten().nonzero().squeeze(1)
        tokens = inputs.flatten()
        parts = []
        for projection, half, (stands, says) in zip(
            self.projections,
            states.chunk(len(self.projections), dim=1),
            ((first, first + 1), (first + 1, first)),
            strict=False,
        ):
            assert isinstance(projection, nn.Linear)
            parts.append(
                [
                    half.index_select(0, stands),
                    tokens[says],
                    projection.weight,
                    projection.bias,
                    self.encoder.embedding.weight,
                    self.bias,
                ]
            )
        return parts

    def stages(self, batch: str = "B", time: str = "T") -> list[Stage]:
        """What the model is made of, in order; the parameter counts sum to the model's."""
        own = num_parameters(self.projections) + self.bias.numel()
        shape = f"({len(self.projections)}, {batch}, {time}, {len(self.bias)})"
        return [*self.encoder.stages(batch, time), Stage("next and previous token", shape, own)]


def draw(shares: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """Tokens to hold the target against, and what to add to their logits: (V,) -> (S,) int64, (S,).

    One token is drawn by `shares` to the power of 3/4 (Mikolov et al. 2013) from each of `num_samples` equal slices, so
    that one comes as often as it is expected to, give or take one; copies are counted and kept once. Added is
    log(copies / expected copies), which makes the sum over the sample that over the vocabulary, on average (Bengio &
    Senécal 2008). Padding stands first with no weight. Drawn from torch's generator on the CPU.
    """
    heights = shares.double().pow(0.75).cumsum(0)
    points = (torch.arange(num_samples) + torch.rand(num_samples, dtype=torch.float64)) / num_samples
    drawn = torch.searchsorted(heights, points * heights[-1]).clamp_max(len(shares) - 1)
    tokens, copies = torch.unique(drawn, return_counts=True)
    expected = num_samples * shares.double()[tokens].pow(0.75) / heights[-1]
    weights = (copies / expected).log().float()
    return functional.pad(tokens, (1, 0), value=PAD_ID), functional.pad(weights, (1, 0), value=-torch.inf)


def _each(function: Any, directions: list[list[Tensor]]) -> list[tuple[Tensor, ...]]:
    if len(directions) > 1 and directions[0][0].is_cpu and get_num_threads() > 1:
        return in_parallel([function] * len(directions), directions)
    return [function(*part) for part in directions]


def _surprise(
    states: Tensor, targets: Tensor, weight: Tensor, offset: Tensor, embedding: Tensor, bias: Tensor
) -> tuple[Tensor, ...]:
    """Against the whole vocabulary but padding: (N, H), (N,) -> ((N,),)."""
    said = functional.linear(states.to(weight.dtype), weight, offset)
    vocabulary = embedding[PAD_ID + 1 :], bias[PAD_ID + 1 :]
    found = [
        functional.cross_entropy(functional.linear(part, *vocabulary), target - PAD_ID - 1, reduction="none")
        for part, target in zip(*(_slices(x, len(bias)) for x in (said, targets)), strict=True)
    ]
    return (torch.cat(found),)


def _sampled_surprise(
    states: Tensor,
    targets: Tensor,
    weight: Tensor,
    offset: Tensor,
    embedding: Tensor,
    bias: Tensor,
    tokens: Tensor,
    weights: Tensor,
) -> tuple[Tensor, ...]:
    """Against the target and the sample: (N, H), (N,), …, (S,), (S,) -> ((),). A sampled target counts once."""
    said = functional.linear(states, weight, offset).float()
    logits = (said * functional.embedding(targets, embedding)).sum(1) + bias[targets]
    column = torch.zeros(len(bias), dtype=torch.int64, device=bias.device)  # of padding, which has no weight
    column[tokens] = torch.arange(len(tokens), device=bias.device)
    total: Tensor = _SampledSoftmax.apply(  # type: ignore[no-untyped-call]
        said, logits, functional.embedding(tokens, embedding), bias[tokens] + weights, column[targets]
    )
    return (total,)


class _SampledSoftmax(torch.autograd.Function):
    """The gradient is made with the loss, slice by slice in the cache, and nothing of (N, S) is kept for later.

    With 15,000 positions and a sample of 930 on one core, forward and backward take 0.12 s so and 0.36 s by autograd;
    with the products in bf16 0.05 s and 0.28 s. The softmax and all sums are in fp32.
    """

    @staticmethod
    def forward(
        ctx: Any, said: Tensor, logits: Tensor, sampled: Tensor, offset: Tensor, column: Tensor
    ) -> Tensor:
        """(N, E), the targets' logits (N,), (S, E), (S,), which of S is the target (N,) -> () summed over N."""
        kind = said.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else said.dtype
        with torch.autocast(kind, enabled=False):
            others = sampled.to(dtype)
            total = logits.new_zeros(())
            grads = (
                torch.empty_like(said),
                torch.empty_like(logits),
                torch.zeros_like(sampled),
                torch.zeros_like(offset),
            )
            slices = [_slices(x, len(offset)) for x in (said, logits, column, *grads[:2])]
            for one, logit, own, grad_said, grad_logit in zip(*slices, strict=True):
                queries = one.to(dtype)
                products = torch.add(queries @ others.T, offset).scatter_(1, own.unsqueeze(1), -torch.inf)
                highest = torch.maximum(logit, products.amax(1))
                odds = products.sub_(
                    highest.unsqueeze(1)
                ).exp_()  # in place: of all (N, S) this alone is in fp32
                others_sum = odds.sum(1)
                whole = others_sum + (logit - highest).exp()
                total += (whole.log() + highest - logit).sum()
                grad_logit.copy_(-others_sum / whole)
                grads[3].addmv_(odds.T, 1 / whole)
                rounded = odds.to(dtype)
                grad_said.copy_(rounded @ others).div_(whole.unsqueeze(1))
                grads[2].add_(rounded.T @ (one / whole.unsqueeze(1)).to(dtype))
        ctx.save_for_backward(*grads)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return (*(grad * grad_outputs[0] for grad in ctx.saved_tensors), None)


def _slices(x: Tensor, width: int) -> tuple[Tensor, ...]:
    return torch.split(x, max(1, _LOGITS_AT_ONCE.get(x.device.type, _LOGITS_AT_ONCE_ELSEWHERE) // width))
