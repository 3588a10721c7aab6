"""From token ids to states: an embedding, its noise while training, and the recurrent layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_cli.nn.dropout import PAD_ID, drop_words, dropout
from lstm_cli.nn.model import Stage
from lstm_cli.nn.recurrent import Cell, Encoded, Path, Recurrent

_EMBEDDING_RANGE = 0.1  # torch's N(0, 1) costs several epochs


class RecurrentEncoder(nn.Module):
    """Embedding -> word dropout -> embedding dropout -> recurrent layers with dropout between them.

    Word dropout turns a whole token into `UNK_ID`; all noise is drawn in train() only. The embedding of
    `PAD_ID` is zero and gets no gradient, so that no optimizer moves it.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        cell: Cell,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        word_dropout: float = 0.0,
        path: Path = "auto",
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size, padding_idx=PAD_ID)
        self.recurrent = Recurrent(
            cell, embedding_size, hidden_size, num_layers, bidirectional, dropout, path
        )
        self.embedding_dropout = embedding_dropout
        self.word_dropout = word_dropout
        self.reset_embedding()

    @property
    def output_size(self) -> int:
        """Width D*H of a state."""
        return self.recurrent.output_size

    @torch.no_grad()
    def reset_embedding(self) -> None:
        """Draw every row but padding's from U(-0.1, 0.1)."""
        nn.init.uniform_(self.embedding.weight, -_EMBEDDING_RANGE, _EMBEDDING_RANGE)
        self.embedding.weight[PAD_ID].zero_()

    def forward(self, inputs: Tensor, lengths: Tensor) -> Encoded:
        """(B, T) int64, (B,) int64 on the CPU -> states (B, T, D*H), final (B, L, D*H).

        Any ids in the padding give the same states and the same gradients.

        Raises:
            ValueError: a length is not in 1..T, or `lengths` is not (B,) on the CPU.
        """
        return self.read(self.embed(inputs), lengths)

    def embed(self, inputs: Tensor) -> Tensor:
        """The tokens' vectors, some of them unknown while training: (B, T) int64 -> (B, T, E)."""
        if self.training and self.word_dropout > 0.0:
            inputs = drop_words(inputs, self.word_dropout)
        embedded: Tensor = self.embedding(inputs)
        return embedded

    def read(self, embedded: Tensor, lengths: Tensor) -> Encoded:
        """`forward` from the vectors of `embed`, which may have been moved: (B, T, E), (B,) -> states, final."""
        embedded = dropout(embedded, self.embedding_dropout, self.training)
        encoded: Encoded = self.recurrent(embedded, lengths)
        return encoded

    def stages(self, batch: str = "B", time: str = "T") -> list[Stage]:
        """The embedding, then each recurrent layer."""
        recurrent = self.recurrent
        directions = "bidirectional " if recurrent.bidirectional else ""
        embedding = self.embedding.weight
        return [
            Stage("embedding", f"({batch}, {time}, {embedding.shape[1]})", embedding.numel()),
            *(
                Stage(
                    f"{directions}{recurrent.cell} layer {layer + 1}",
                    f"({batch}, {time}, {recurrent.output_size})",
                    sum(parameter.numel() for parameter in recurrent.layer_parameters(layer)),
                    recurrent.num_gates * recurrent.output_size,
                )
                for layer in range(recurrent.num_layers)
            ),
        ]
