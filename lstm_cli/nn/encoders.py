"""From a row's steps to states: an embedding of each step, dropout while training, and the recurrent layers.

The steps are token ids or vectors. The encoder embeds both, so that the same poolings and heads work for both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_cli.nn.dropout import PAD_ID, drop_words, dropout
from lstm_cli.nn.model import Stage, num_parameters
from lstm_cli.nn.recurrent import Cell, Encoded, LayerPath, Recurrent

_EMBEDDING_RANGE = 0.1  # torch's N(0, 1) costs several epochs


class Encoder(nn.Module):
    """Embedding of each step -> embedding dropout -> recurrent layers with dropout between them.

    A subclass creates the embedding for its kind of inputs and applies it in `embed`. Dropout acts in train mode only.
    """

    embedding: nn.Embedding | nn.Linear | nn.Conv1d

    def __init__(
        self,
        embedding: nn.Embedding | nn.Linear | nn.Conv1d,
        recurrent: Recurrent,
        embedding_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.recurrent = recurrent
        self.embedding_dropout = embedding_dropout

    @property
    def output_size(self) -> int:
        """Width D*H of a state."""
        return self.recurrent.output_size

    def forward(self, inputs: Tensor, lengths: Tensor) -> Encoded:
        """Inputs as in `embed`, (B,) int64 on the CPU -> states (B, T, D*H), final (B, L, D*H).

        The content of the padding changes neither states nor gradients.

        Raises:
            ValueError: a length is not in 1..T, or `lengths` is not (B,) on the CPU.
        """
        return self.read(self.embed(inputs), lengths)

    def embed(self, inputs: Tensor) -> Tensor:
        """Each step's vector: (B, T, …) -> (B, T, E)."""
        raise NotImplementedError

    def read(self, embedded: Tensor, lengths: Tensor) -> Encoded:
        """`forward` from the result of `embed`, which may have been changed: (B, T, E), (B,) -> states, final."""
        embedded = dropout(embedded, self.embedding_dropout, self.training)
        encoded: Encoded = self.recurrent(embedded, lengths)
        return encoded

    def stages(self, batch: str = "B", time: str = "T") -> list[Stage]:
        """The embedding, then each recurrent layer."""
        recurrent = self.recurrent
        directions = "bidirectional " if recurrent.bidirectional else ""
        embedded_size = recurrent.get_parameter("weight_ih_l0").shape[1]
        return [
            Stage("embedding", f"({batch}, {time}, {embedded_size})", num_parameters(self.embedding)),
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


class TokenEncoder(Encoder):
    """An encoder of token ids (B, T) int64.

    Word dropout turns a whole token into `UNK_ID`. The embedding of `PAD_ID` is zero and gets no gradient, so that no
    optimizer moves it.
    """

    embedding: nn.Embedding

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
        path: LayerPath = "auto",
    ) -> None:
        super().__init__(
            nn.Embedding(vocab_size, embedding_size, padding_idx=PAD_ID),
            Recurrent(cell, embedding_size, hidden_size, num_layers, bidirectional, dropout, path),
            embedding_dropout,
        )
        self.word_dropout = word_dropout
        self.reset_embedding()

    @torch.no_grad()
    def reset_embedding(self) -> None:
        """Draw every row from U(-0.1, 0.1), except the row of padding, which is zero."""
        nn.init.uniform_(self.embedding.weight, -_EMBEDDING_RANGE, _EMBEDDING_RANGE)
        self.embedding.weight[PAD_ID].zero_()

    def embed(self, inputs: Tensor) -> Tensor:
        """The tokens' vectors, some of them unknown while training: (B, T) int64 -> (B, T, E)."""
        if self.training and self.word_dropout > 0.0:
            inputs = drop_words(inputs, self.word_dropout)
        embedded: Tensor = self.embedding(inputs)
        return embedded


class DenseEncoder(Encoder):
    """An encoder of vectors (B, T, F) float32: a linear layer takes the place of the embedding.

    Its weights start Xavier-uniform, its bias at 0.
    """

    embedding: nn.Linear

    def __init__(
        self,
        num_features: int,
        embedding_size: int,
        cell: Cell,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        path: LayerPath = "auto",
    ) -> None:
        super().__init__(
            nn.Linear(num_features, embedding_size),
            Recurrent(cell, embedding_size, hidden_size, num_layers, bidirectional, dropout, path),
            embedding_dropout,
        )
        nn.init.xavier_uniform_(self.embedding.weight)
        nn.init.zeros_(self.embedding.bias)

    def embed(self, inputs: Tensor) -> Tensor:
        """The linear layer at each step: (B, T, F) float32 -> (B, T, E).

        A step with a value that is not finite becomes NaN and gives the weights no gradient. So NaN in the padding,
        which the layers above ignore, changes nothing, and NaN in a real step makes the loss NaN.
        """
        finite = inputs.isfinite().all(dim=-1, keepdim=True)
        # the weight's gradient is a product with the inputs, and 0 * NaN is NaN
        inputs = inputs.where(finite, 0.0)
        # in the weights' own precision, as the rows of an embedding are: features may be beyond the range of fp16
        with torch.autocast(inputs.device.type, enabled=False):
            embedded: Tensor = self.embedding(inputs.to(self.embedding.weight.dtype))
        return embedded.masked_fill(~finite, torch.nan)


class FrameEncoder(Encoder):
    """An encoder of frames (B, T, S * F) float32, S steps of F numbers each, one after the other.

    A convolution over the steps of a frame takes the place of the embedding: its kernel has K steps, then comes a relu,
    and of the S - K + 1 places in the frame the maximum. So a frame tells what occurs in it, not at which step.
    """

    embedding: nn.Conv1d

    def __init__(
        self,
        num_features: int,
        kernel_size: int,
        embedding_size: int,
        cell: Cell,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        path: LayerPath = "auto",
    ) -> None:
        super().__init__(
            nn.Conv1d(num_features, embedding_size, kernel_size),
            Recurrent(cell, embedding_size, hidden_size, num_layers, bidirectional, dropout, path),
        )

    def embed(self, inputs: Tensor) -> Tensor:
        """The vector of each frame: (B, T, S * F) float32 -> (B, T, E).

        A frame with a value that is not finite becomes NaN and gives the weights no gradient, as in `DenseEncoder`.
        """
        finite = inputs.isfinite().all(dim=-1, keepdim=True)
        with torch.autocast(inputs.device.type, enabled=False):
            clean = inputs.where(finite, 0.0).to(self.embedding.weight.dtype)
            steps = clean.reshape(
                -1, inputs.shape[2] // self.embedding.in_channels, self.embedding.in_channels
            )
            found: Tensor = self.embedding(steps.transpose(1, 2)).relu().amax(dim=2)
        return found.view(*inputs.shape[:2], -1).masked_fill(~finite, torch.nan)
