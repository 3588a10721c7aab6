"""The encoders of the tasks that read numbers, in the config."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lstm_cli.nn import DenseEncoder, FrameEncoder
from lstm_cli.schema import Config


class PastEncoderConfig(Config):
    """The `task.encoder:` section of a forecaster: the layers that read the past."""

    embedding_size: int = Field(64, ge=1, le=2**16, description="size of the vector of a step")
    cell: Literal["rnn", "gru", "lstm"] = Field(
        "lstm", description="type of the recurrent layers: rnn, gru or lstm"
    )
    hidden_size: int = Field(64, ge=1, le=2**16, description="units per layer and direction")
    num_layers: int = Field(1, ge=1, le=100, description="number of stacked recurrent layers")
    bidirectional: bool = Field(False, description="read the past in both directions")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout rate between recurrent layers")
    path: Literal["auto", "packed", "split"] = Field(
        "auto",
        description="implementation of the layers, packed or split; both give the same results, auto takes the faster",
    )

    def build(self, num_inputs: int) -> DenseEncoder:
        """A new encoder of steps with `num_inputs` numbers."""
        return DenseEncoder(
            num_inputs,
            self.embedding_size,
            self.cell,
            self.hidden_size,
            self.num_layers,
            self.bidirectional,
            self.dropout,
            path=self.path,
        )


class SequenceEncoderConfig(PastEncoderConfig):
    """The `task.encoder:` section of a classifier of sequences."""

    bidirectional: bool = Field(True, description="read each sequence in both directions")
    kernel_size: int | None = Field(
        None,
        ge=1,
        le=1_000,
        description="steps of the kernel of a convolution over each frame, followed by a relu and the maximum over the "
        "frame; null: a linear layer over the frame",
    )

    def build_frames(self, num_features: int, frame_size: int) -> DenseEncoder | FrameEncoder:
        """A new encoder of frames of `frame_size` steps with `num_features` numbers each."""
        if self.kernel_size is None:
            return self.build(num_features * frame_size)
        return FrameEncoder(
            num_features,
            self.kernel_size,
            self.embedding_size,
            self.cell,
            self.hidden_size,
            self.num_layers,
            self.bidirectional,
            self.dropout,
            path=self.path,
        )
