"""A tagger: word and character embeddings, recurrent layers, a linear head for each step, sparse features, and a CRF.

Each step of its input is a row of numbers: the word, then `num_features` features of the word, then its characters. All
of them are ids, and `PAD_ID` where there is none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lstm_cli.nn.crf import Crf
from lstm_cli.nn.dropout import PAD_ID, drop_words, dropout
from lstm_cli.nn.encoders import Encoder
from lstm_cli.nn.masks import valid_mask
from lstm_cli.nn.model import Model, Stage, num_parameters
from lstm_cli.nn.recurrent import Recurrent

NEIGHBOURS = (-2, -1, 1, 2)
"""The words beside a word whose features count too, by their distance."""
_OF_NEIGHBOURS = 2
"""With all 13 features of the neighbours, a linear CRF was 0.2 points worse on English parts of speech."""


class Characters(nn.Module):
    """A vector of each word from its characters: embedding, convolution of width 3, maximum over the positions.

    Ma & Hovy 2016, section 2.1. The convolution reads zeros before the first and after the last character.
    """

    def __init__(self, num_characters: int, embedding_size: int, output_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_characters, embedding_size, padding_idx=PAD_ID)
        self.convolution = nn.Conv1d(embedding_size, output_size, kernel_size=3, padding=1)
        nn.init.uniform_(self.embedding.weight, -((3 / embedding_size) ** 0.5), (3 / embedding_size) ** 0.5)
        with torch.no_grad():
            self.embedding.weight[PAD_ID].zero_()

    def forward(self, characters: Tensor) -> Tensor:
        """(M, W) int64 ids of the characters of M words -> (M, output_size)."""
        real = (characters != PAD_ID).unsqueeze(1)
        found = self.convolution(self.embedding(characters).transpose(1, 2))
        # a word without characters is padding: its vector must be a number
        vectors: Tensor = found.masked_fill(~real, -1e4).amax(dim=2).where(real.any(dim=2), 0.0)
        return vectors


class WordEncoder(Encoder):
    """An encoder of words (B, T, 1 + A + W) int64: the word, A features, which it does not read, and W characters.

    Each word's embedding and the vector of its characters, if there are `characters`, are joined. Word dropout turns a
    whole word into `UNK_ID`; its characters stay.
    """

    embedding: nn.Embedding

    def __init__(
        self,
        embedding: nn.Embedding,
        characters: Characters | None,
        num_features: int,
        recurrent: Recurrent,
        embedding_dropout: float,
        word_dropout: float,
    ) -> None:
        super().__init__(embedding, recurrent, embedding_dropout)
        self.characters = characters
        self.num_features = num_features
        self.word_dropout = word_dropout
        with torch.no_grad():
            nn.init.uniform_(embedding.weight, -0.1, 0.1)
            embedding.weight[PAD_ID].zero_()

    def embed(self, inputs: Tensor) -> Tensor:
        """The words' vectors: (B, T, 1 + A + W) int64 -> (B, T, E + C)."""
        words = inputs[..., 0]
        if self.training and self.word_dropout > 0.0:
            words = drop_words(words, self.word_dropout)
        embedded: Tensor = self.embedding(words)
        if self.characters is None:
            return embedded
        spelled = inputs[..., 1 + self.num_features :]
        vectors = self.characters(spelled.flatten(0, 1)).view(*words.shape, -1)
        return torch.cat((embedded, vectors.to(embedded.dtype)), dim=2)

    def stages(self, batch: str = "B", time: str = "T") -> list[Stage]:
        """The embedding, the characters, then each recurrent layer."""
        embedding, *layers = super().stages(batch, time)
        if self.characters is None:
            return [embedding, *layers]
        size = self.embedding.embedding_dim
        width = self.characters.convolution.out_channels
        return [
            Stage("embedding", f"({batch}, {time}, {size})", embedding.parameters),
            Stage("characters", f"({batch}, {time}, {width})", num_parameters(self.characters)),
            *layers,
        ]


class SparseFeatures(nn.Module):
    """A score for each tag from the features of a word and of its neighbours, linear as in a CRF.

    Every feature has a weight for each tag, 0 at first. Of a word at each distance in `NEIGHBOURS`, the first
    `_OF_NEIGHBOURS` features have weights of their own if their number is below `num_frequent`. While training, each
    feature is left out with the probability `dropout_rate`.
    """

    def __init__(
        self, num_features: int, num_frequent: int, num_tags: int, dropout_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.num_frequent = num_frequent
        self.dropout_rate = dropout_rate
        self.own = nn.Embedding(num_features, num_tags, padding_idx=PAD_ID)
        self.beside = nn.ModuleList(
            nn.Embedding(num_frequent, num_tags, padding_idx=PAD_ID) for _ in NEIGHBOURS
        )
        for embedding in (self.own, *self.beside):
            nn.init.zeros_(embedding.weight)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, T, A) int64, (B, T) bool -> (B, T, K)."""
        features = features.where(mask.unsqueeze(2), PAD_ID)
        if self.training and self.dropout_rate > 0.0:
            dropped = torch.rand(features.shape, device=features.device) < self.dropout_rate
            features = features.masked_fill(dropped, PAD_ID)
        scores: Tensor = self.own(features).sum(dim=2)
        first = features[..., :_OF_NEIGHBOURS]
        for distance, embedding in zip(NEIGHBOURS, self.beside, strict=True):
            known = first.where(first < self.num_frequent, PAD_ID)
            scores = scores + embedding(_shifted(known, distance)).sum(dim=2)
        return scores


def _shifted(ids: Tensor, distance: int) -> Tensor:
    """(B, T, …) -> the same: at each step the ids `distance` steps later; `PAD_ID` beyond the ends."""
    shifted = torch.full_like(ids, PAD_ID)
    if distance > 0:
        shifted[:, :-distance] = ids[:, distance:]
    else:
        shifted[:, -distance:] = ids[:, :distance]
    return shifted


class Tagger(Model):
    """Encoder -> dropout -> linear for each step, plus sparse features, plus a CRF over the tags of a row.

    Without an encoder it is a linear CRF; without `features` and `crf` a plain recurrent tagger. `outside_weight` () is
    the factor on the probability of O with which spans are found; it is fitted on dev rows, not trained.
    """

    outside_weight: Tensor

    def __init__(
        self,
        encoder: WordEncoder | None,
        features: SparseFeatures | None,
        crf: Crf | None,
        num_features: int,
        num_tags: int,
        dropout_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.features = features
        self.crf = crf
        self.num_features = num_features
        self.num_tags = num_tags
        self.dropout_rate = dropout_rate
        self.head = nn.Linear(encoder.output_size, num_tags) if encoder else None
        self.register_buffer("outside_weight", torch.ones(()))

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """A score for each tag at each step: (B, T, 1 + A + W) int64, (B,) int64 on the CPU -> (B, T, K) float32."""
        scores: Tensor | None = None
        if self.encoder is not None and self.head is not None:
            states = self.encoder(inputs, lengths).states.to(self.head.weight.dtype)
            with torch.autocast(inputs.device.type, enabled=False):
                scores = self.head(dropout(states, self.dropout_rate, self.training))
        if self.features is not None:
            mask = valid_mask(lengths, inputs.shape[1], inputs.device)
            found = self.features(inputs[..., 1 : 1 + self.num_features], mask)
            scores = found if scores is None else scores + found
        assert scores is not None, "a tagger has an encoder or features"
        return scores

    def loss(self, inputs: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
        """The negative log-likelihood of the tags (B, T), -100 at padding, summed over the steps: () float32."""
        scores = self(inputs, lengths)
        if self.crf is not None:
            return self.crf.loss(scores, targets, lengths)
        return functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="sum")

    def marginals(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The probability of each tag at each step: (B, T, 1 + A + W), (B,) -> (B, T, K)."""
        scores = self(inputs, lengths)
        return self.crf.marginals(scores, lengths) if self.crf is not None else scores.softmax(dim=2)

    def stages(self, batch: str = "B", time: str = "T") -> list[Stage]:
        """The encoder's stages, the head, the features and the CRF."""
        shape = f"({batch}, {time}, {self.num_tags})"
        return [
            *(self.encoder.stages(batch, time) if self.encoder else []),
            *([Stage("head", shape, num_parameters(self.head))] if self.head else []),
            *([Stage("features", shape, num_parameters(self.features))] if self.features else []),
            *([Stage("crf", shape, num_parameters(self.crf))] if self.crf else []),
        ]
