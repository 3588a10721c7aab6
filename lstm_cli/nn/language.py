"""Language models over an encoder: each direction predicts the next token that it will read.

The two directions of a bidirectional layer are separate models. The forward half of a state has read the tokens up to
its own and predicts the next one; the backward half predicts the previous one. A layer above would read both halves,
and so the target itself. So there is one bidirectional layer, or a stack of unidirectional ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from lstm_cli.nn.cpu import get_num_threads
from lstm_cli.nn.dropout import PAD_ID
from lstm_cli.nn.encoders import TokenEncoder
from lstm_cli.nn.masks import valid_mask
from lstm_cli.nn.model import Model, Stage, num_parameters
from lstm_cli.nn.parallel import in_parallel

_LOGITS_AT_ONCE = {"cpu": 2**20}
_LOGITS_AT_ONCE_ELSEWHERE = 2**26
"""Logits that are computed at a time, by device. On a CPU they take 4 MB for any batch and vocabulary; slices of 8 MB
took 1.5 times as long."""


class LanguageModel(Model):
    """Encoder -> a projection per direction -> an output layer with a bias, its weights tied to the embedding.

    `frequencies` (V,) are the tokens' relative frequencies in the text. The bias starts at their logarithms, so that a
    projection of zero predicts exactly these frequencies.

    Raises ValueError for a bidirectional encoder of several layers.
    """

    def __init__(self, encoder: TokenEncoder, frequencies: Tensor) -> None:
        super().__init__()
        recurrent = encoder.recurrent
        if recurrent.bidirectional and recurrent.num_layers > 1:
            raise ValueError(
                "a second bidirectional layer would read the token that the first has to predict"
            )
        self.encoder = encoder
        self.projections = nn.ModuleList(
            nn.Linear(recurrent.hidden_size, encoder.embedding.embedding_dim) for _ in recurrent.suffixes
        )
        self.bias = nn.Parameter(frequencies.clamp_min(1e-12).log().float())

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The negative log-likelihood in nats, per direction and predicted token: (B, T), (B,) on the CPU -> (D, N).

        N counts the pairs of neighbouring tokens, row after row: the forward direction predicts the second of a pair,
        the backward direction the first. A row of one token has no pair. Padding has probability 0.
        """
        directions = self._directions(inputs, lengths)
        return torch.stack([nll for (nll,) in _each(_negative_log_likelihood, directions)])

    def sampled_loss(self, inputs: Tensor, lengths: Tensor, sample: tuple[Tensor, Tensor]) -> Tensor:
        """An estimate of the sum of `forward`, for training: softmax over the target and a sample from `draw`.

        (B, T), (B,) on the CPU, ((S,), (S,)) -> ().
        """
        totals = _each(
            _sampled_negative_log_likelihood, [[*part, *sample] for part in self._directions(inputs, lengths)]
        )
        return torch.stack([total for (total,) in totals]).sum()

    def _directions(self, inputs: Tensor, lengths: Tensor) -> list[list[Tensor]]:
        """For each direction: its states (N, H), their targets (N,), the projection, the embedding and the bias."""
        states = self.encoder(inputs, lengths).states.flatten(0, 1)  # (B * T, D*H)
        first = valid_mask(lengths - 1, inputs.shape[1], inputs.device).flatten().nonzero().squeeze(1)
        tokens = inputs.flatten()
        parts = []
        for projection, half, (positions, targets) in zip(
            self.projections,
            states.chunk(len(self.projections), dim=1),
            ((first, first + 1), (first + 1, first)),
            strict=False,
        ):
            assert isinstance(projection, nn.Linear)
            parts.append(
                [
                    half.index_select(0, positions),
                    tokens[targets],
                    projection.weight,
                    projection.bias,
                    self.encoder.embedding.weight,
                    self.bias,
                ]
            )
        return parts

    def stages(self, batch: str = "B", time: str = "T") -> list[Stage]:
        """The encoder's stages, then the projections with the bias; the output layer is the embedding."""
        own = num_parameters(self.projections) + self.bias.numel()
        shape = f"({len(self.projections)}, {batch}, {time}, {len(self.bias)})"
        return [*self.encoder.stages(batch, time), Stage("next and previous token", shape, own)]


def draw(frequencies: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """Negative samples for the softmax, and the corrections of their logits: (V,) -> (S,) int64, (S,).

    The probabilities are `frequencies` to the power of 3/4 (Mikolov et al. 2013). Their cumulative sum is cut into
    `num_samples` equal slices and one token is drawn from each (stratified sampling), so that the number of its copies
    stays close to the expected number. Copies are counted and kept once. The correction is log(copies / expected
    copies): with it, the expected sum over the sample is the sum over the vocabulary (Bengio & Senécal 2008). Padding
    comes first, with the correction -inf, so that its probability is 0. Drawn from torch's generator on the CPU.
    """
    cumulative = frequencies.double().pow(0.75).cumsum(0)
    points = (torch.arange(num_samples) + torch.rand(num_samples, dtype=torch.float64)) / num_samples
    drawn = torch.searchsorted(cumulative, points * cumulative[-1]).clamp_max(len(frequencies) - 1)
    tokens, copies = torch.unique(drawn, return_counts=True)
    expected = num_samples * frequencies.double()[tokens].pow(0.75) / cumulative[-1]
    weights = (copies / expected).log().float()
    return functional.pad(tokens, (1, 0), value=PAD_ID), functional.pad(weights, (1, 0), value=-torch.inf)


def _each(function: Any, directions: list[list[Tensor]]) -> list[tuple[Tensor, ...]]:
    if len(directions) > 1 and directions[0][0].is_cpu and get_num_threads() > 1:
        return in_parallel([function] * len(directions), directions)
    return [function(*part) for part in directions]


def _negative_log_likelihood(
    states: Tensor, targets: Tensor, weight: Tensor, offset: Tensor, embedding: Tensor, bias: Tensor
) -> tuple[Tensor, ...]:
    """The negative log-likelihood by softmax over the vocabulary without padding: (N, H), (N,) -> ((N,),)."""
    queries = functional.linear(states.to(weight.dtype), weight, offset)
    vocabulary = embedding[PAD_ID + 1 :], bias[PAD_ID + 1 :]
    found = [
        functional.cross_entropy(functional.linear(part, *vocabulary), target - PAD_ID - 1, reduction="none")
        for part, target in zip(*(_slices(x, len(bias)) for x in (queries, targets)), strict=True)
    ]
    return (torch.cat(found),)


def _sampled_negative_log_likelihood(
    states: Tensor,
    targets: Tensor,
    weight: Tensor,
    offset: Tensor,
    embedding: Tensor,
    bias: Tensor,
    tokens: Tensor,
    weights: Tensor,
) -> tuple[Tensor, ...]:
    """Its estimated sum by softmax over the target and the sample: (N, H), (N,), …, (S,), (S,) -> ((),).

    A target that is in the sample counts once.
    """
    queries = functional.linear(states, weight, offset).float()
    logits = (queries * functional.embedding(targets, embedding)).sum(1) + bias[targets]
    column = torch.zeros(len(bias), dtype=torch.int64, device=bias.device)  # 0: of padding
    column[tokens] = torch.arange(len(tokens), device=bias.device)
    total: Tensor = _SampledSoftmax.apply(  # type: ignore[no-untyped-call]
        queries, logits, functional.embedding(tokens, embedding), bias[tokens] + weights, column[targets]
    )
    return (total,)


class _SampledSoftmax(torch.autograd.Function):
    """The loss and its gradient in one pass over slices that fit the cache; no tensor of (N, S) is kept.

    With 15,000 positions and a sample of 930 on one core, forward and backward take 0.12 s, with autograd 0.36 s; if
    the products are in bf16, 0.05 s and 0.28 s. The softmax and all sums are in fp32.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, logits: Tensor, sampled: Tensor, offset: Tensor, column: Tensor
    ) -> Tensor:
        """(N, E), logits of the targets (N,), (S, E), (S,), the target's index in S (N,) -> () summed over N."""
        kind = queries.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else queries.dtype
        with torch.autocast(kind, enabled=False):
            others = sampled.to(dtype)
            total = logits.new_zeros(())
            grads = (
                torch.empty_like(queries),
                torch.empty_like(logits),
                torch.zeros_like(sampled),
                torch.zeros_like(offset),
            )
            slices = [_slices(x, len(offset)) for x in (queries, logits, column, *grads[:2])]
            for query, logit, own, grad_query, grad_logit in zip(*slices, strict=True):
                products = torch.add(query.to(dtype) @ others.T, offset).scatter_(
                    1, own.unsqueeze(1), -torch.inf
                )
                highest = torch.maximum(logit, products.amax(1))
                odds = products.sub_(
                    highest.unsqueeze(1)
                ).exp_()  # in place: the one tensor of (N, S) in fp32
                others_sum = odds.sum(1)
                whole = others_sum + (logit - highest).exp()
                total += (whole.log() + highest - logit).sum()
                grad_logit.copy_(-others_sum / whole)
                grads[3].addmv_(odds.T, 1 / whole)
                rounded = odds.to(dtype)
                grad_query.copy_(rounded @ others).div_(whole.unsqueeze(1))
                grads[2].add_(rounded.T @ (query / whole.unsqueeze(1)).to(dtype))
        ctx.save_for_backward(*grads)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return (*(grad * grad_outputs[0] for grad in ctx.saved_tensors), None)


def _slices(x: Tensor, width: int) -> tuple[Tensor, ...]:
    return torch.split(x, max(1, _LOGITS_AT_ONCE.get(x.device.type, _LOGITS_AT_ONCE_ELSEWHERE) // width))
