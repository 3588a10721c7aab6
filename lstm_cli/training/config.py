"""The `train:` and `pretrain:` sections: what a training is asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from lstm_cli.schema import Config

SaveEvery = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^[1-9][0-9]*s$")]


class TrainConfig(Config):
    """The `train:` section."""

    epochs: int = Field(10, ge=1, description="passes over the training rows, at most")
    batch_size: int = Field(64, ge=1, description="rows in a batch, at most")
    batch_tokens: int = Field(32_768, ge=1, description="tokens in a batch with its padding, at most")
    accumulate: int = Field(1, ge=1, description="batches whose gradients make up one step")
    learning_rate: float = Field(2e-3, gt=0, description="the highest rate of the schedule")
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "cosine",
        description="of the rate after warm-up: constant, cosine to zero, or cut when dev stops improving",
    )
    warmup: float = Field(
        0.05, ge=0, lt=1, description="share of the training in which the rate rises from zero"
    )
    plateau_patience: int = Field(
        1, ge=0, description="plateau: epochs without improvement before the rate is cut"
    )
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="plateau: what the rate is multiplied with")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's, on matrices only")
    clip_norm: float = Field(1.0, gt=0, description="the gradient's norm, at most")
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of the averaged weights that are scored and kept; 0: none"
    )
    select_by: str = Field("macro_f1", description="the dev metric that says which epoch is best")
    patience: int = Field(3, ge=0, description="stop after so many epochs without improvement; 0: never")
    pretrained_rate: float = Field(
        1.0, gt=0, description="factor on the rate of what task.encoder.init_from gave"
    )
    frozen_epochs: float = Field(
        0.0, ge=0, description="for so many epochs what task.encoder.init_from gave is held still"
    )
    max_bad_steps: int = Field(
        10,
        ge=1,
        description="go back to the last checkpoint, with half the rate, after so many NaN or infinite steps in a row",
    )
    save_every: SaveEvery = Field(
        "60s", description="besides every epoch's end: a number of steps, or of seconds as in 60s"
    )

    @field_validator("select_by")
    @classmethod
    def _is_a_metric_of_the_task(cls, value: str, info: ValidationInfo) -> str:
        """Where the context of the validation has the names of the task's metrics it must be one of them."""
        metrics = (info.context or {}).get("metrics")
        if metrics is not None and value not in metrics:
            raise PydanticCustomError(
                "not_a_choice", "must be one of {choices}", {"choices": ", ".join(metrics)}
            )
        return value


class PretrainConfig(Config):
    """The `pretrain:` section: what differs from `train:`, the other keys of which hold for `lstmcls pretrain` too."""

    epochs: int = Field(4, ge=1, description="passes over the text, at most")
    budget: int = Field(
        100_000_000,
        ge=1,
        description="tokens to read in all these passes: of much text fewer are made, and always one",
    )
    batch_size: int = Field(64, ge=1, description="rows in a batch, at most; a long text is several rows")
    learning_rate: float = Field(3e-3, gt=0, description="the highest rate of the schedule")
    sampled_tokens: int = Field(
        1024,
        ge=1,
        description="drawn in each step, to hold the right token against, instead of the vocabulary",
    )

    def settings(self, train: TrainConfig, num_tokens: int) -> TrainConfig:
        """How the language models are trained on `num_tokens`: the epoch of the lowest held-out loss is kept, and
        after two that are no lower, it is over."""
        epochs = max(1, min(self.epochs, self.budget // num_tokens))
        own = {"epochs": epochs, "batch_size": self.batch_size, "learning_rate": self.learning_rate}
        plain = {"select_by": "log_loss", "patience": 2, "pretrained_rate": 1.0, "frozen_epochs": 0.0}
        return train.model_copy(update={**own, **plain})
