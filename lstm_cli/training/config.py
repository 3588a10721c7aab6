"""The `train:` and `pretrain:` sections of the config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from lstm_cli.schema import Config

SaveEvery = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^[1-9][0-9]*s$")]


class TrainConfig(Config):
    """The `train:` section."""

    epochs: int = Field(10, ge=1, description="maximum number of passes over the training rows")
    batch_size: int = Field(64, ge=1, description="maximum number of rows in a batch")
    batch_tokens: int = Field(
        32_768, ge=1, description="maximum number of tokens in a batch, padding included"
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="number of batches whose gradients are combined into one optimizer step; not the rows that would "
        "meet in one larger batch",
    )
    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate")
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "cosine",
        description="learning rate after warm-up: constant, cosine (decays to zero) or plateau (falls when the dev "
        "score stops improving)",
    )
    warmup: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="fraction of the training in which the learning rate rises linearly, from 1 % of its highest value",
    )
    plateau_patience: int = Field(
        1,
        ge=0,
        description="plateau: epochs without improvement that are tolerated before the learning rate is cut",
    )
    plateau_factor: float = Field(
        0.5, gt=0, lt=1, description="plateau: factor by which the learning rate is multiplied"
    )
    weight_decay: float = Field(
        0.01, ge=0, description="weight decay of AdamW, on matrices only (not on biases)"
    )
    clip_norm: float = Field(
        1.0, gt=0, description="maximum norm of the gradient; a larger one is scaled down to it"
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of the exponential moving average of the weights, which is scored and saved; 0: no average",
    )
    select_by: str = Field(
        "macro_f1",
        description="dev metric that decides which epoch is best; the dev loss settles equal scores",
    )
    patience: int = Field(3, ge=0, description="stop after this many epochs without improvement; 0: never")
    pretrained_rate: float = Field(
        1.0, gt=0, description="factor on the learning rate of the weights from task.encoder.init_from"
    )
    frozen_epochs: float = Field(
        0.0, ge=0, description="number of epochs in which the weights from task.encoder.init_from are frozen"
    )
    max_bad_steps: int = Field(
        10,
        ge=1,
        description="after this many steps in a row with a NaN or infinite loss or gradient, go back to the last "
        "checkpoint with half the learning rate; the second time, stop",
    )
    save_every: SaveEvery = Field(
        "60s",
        description="save a checkpoint after this many steps (100) or seconds (60s), and also after every epoch",
    )

    @field_validator("select_by", mode="before")  # so that the message for a number lists the metrics too
    @classmethod
    def _is_a_metric_of_the_task(cls, value: object, info: ValidationInfo) -> object:
        """Refuse a metric that the task does not have, if the validation context names the task's metrics."""
        metrics = (info.context or {}).get("metrics")
        if metrics is not None and value not in metrics:
            raise PydanticCustomError(
                "not_a_choice", "must be one of {choices}", {"choices": ", ".join(metrics)}
            )
        return value


class PretrainConfig(Config):
    """The `pretrain:` section: settings that replace those of `train:`.

    The other keys of `train:` apply to pretraining too.
    """

    epochs: int = Field(4, ge=1, description="maximum number of passes over the text")
    budget: int = Field(
        100_000_000,
        ge=1,
        description="maximum number of tokens to read in all passes; a large text gets fewer passes, but at least one",
    )
    batch_size: int = Field(
        64, ge=1, description="maximum number of rows in a batch; a long text is split into several rows"
    )
    learning_rate: float = Field(3e-3, gt=0, description="peak learning rate")
    sampled_tokens: int = Field(
        1024,
        ge=1,
        description="negative samples per step; the correct token is compared with them, not with the whole vocabulary",
    )

    def settings(self, train: TrainConfig, num_tokens: int) -> TrainConfig:
        """The settings to train language models on `num_tokens` tokens.

        The epoch with the lowest held-out loss is the best. The training stops after two epochs without a lower loss.
        """
        epochs = max(1, min(self.epochs, self.budget // num_tokens))
        own = {"epochs": epochs, "batch_size": self.batch_size, "learning_rate": self.learning_rate}
        plain = {"select_by": "log_loss", "patience": 2, "pretrained_rate": 1.0, "frozen_epochs": 0.0}
        return train.model_copy(update={**own, **plain})
