"""Forecasts of time series: the next H steps of a series at once, with intervals.

A row is a window, one origin of one series with its past and, in training and scoring, its future (`data.series`): so
the loop, resume, scoring and `predict` treat an origin as they treat a text. The network forecasts what is left of the
last or the seasonal value, or of a ridge regression on the lags (`features: lags`), in units of the series' scale:
levels would fail when the series drifts. Scales, season and ridge come from the training windows alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from lstm_cli.answers import PredictOptions
from lstm_cli.arrays import Float32, Float64, Ragged
from lstm_cli.batch import Batch
from lstm_cli.data.cache import cache_key, cached, cached_bytes
from lstm_cli.data.rows import Row
from lstm_cli.data.series import Window, listed
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import Store
from lstm_cli.data.times import Calendar
from lstm_cli.errors import ConfigError, DataError
from lstm_cli.features.lags import FORMAT as LAGS_FORMAT
from lstm_cli.features.lags import Lags
from lstm_cli.metrics.metric import Metric
from lstm_cli.metrics.regression import (
    FIRST_MAE,
    MAE,
    MASE,
    METRICS,
    PINBALL,
    RMSE,
    SMAPE,
    Forecasts,
    diebold_mariano,
    middle,
    score_forecasts,
)
from lstm_cli.nn import reference
from lstm_cli.nn.forecaster import Forecaster
from lstm_cli.nn.recurrent import Recurrent
from lstm_cli.tasks.base import Answer, Baseline, Comparison, Evaluation, Loss, Outputs, Task, TaskConfig
from lstm_cli.tasks.dense_encoder import PastEncoderConfig
from lstm_cli.tasks.forecast_report import forecast_report
from lstm_cli.tasks.forecast_scales import Scaling, SeriesScales
from lstm_cli.tasks.forecast_windows import (
    WindowEncoder,
    learn_lags,
    simple_forecasts,
    synthetic_rows,
    windows_in_chunks,
)
from lstm_cli.tasks.report import Report

_STORE_FORMAT = 6
"""Increased whenever the same rows and settings would be encoded in another way, so that no old cache is read."""
_LAGS_FILE = "lags.safetensors"
_SYNTHETIC_WINDOWS = 24


class ForecastConfig(TaskConfig):
    """The `task:` section of a forecaster."""

    content: ClassVar[type[Window]] = Window
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    select_by: ClassVar[str] = PINBALL.name

    kind: Literal["forecast"] = Field(
        "forecast", description="kind of task; forecast: the next steps of series"
    )
    calendar: list[Calendar] = Field(
        [], description="parts of the calendar that the network sees: minute, hour, weekday, day, month"
    )
    season: int | None = Field(
        None, ge=2, le=100_000, description="season in steps, such as 24; null: found in the training rows"
    )
    features: Literal["none", "lags"] = Field(
        "lags",
        description="linear part that the network is added to; lags: a ridge regression on all values of the window "
        "and on the calendar",
    )
    residual: Literal["last", "season"] = Field(
        "last",
        description="without lags, what the network is added to: the last value, or that of the last season",
    )
    scaling: Scaling = Field(
        "window",
        description="what the network's numbers are in units of: series, its standard deviation in train; "
        "window: that of the window's own past, for series whose amplitude changes",
    )
    quantiles: list[float] = Field(
        [0.1, 0.5, 0.9], description="quantiles to forecast, in order; the one nearest to 0.5 is the forecast"
    )
    max_steps: int = Field(
        48, ge=1, description="how many of the last steps the network reads; the lags see the whole window"
    )
    encoder: PastEncoderConfig = Field(PastEncoderConfig(), description="layers that read the past")
    head_size: int = Field(128, ge=1, le=2**16, description="units of the layer of each future step")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="dropout rate before and after the layer of each step"
    )

    @field_validator("quantiles")
    @classmethod
    def _in_order(cls, value: list[float]) -> list[float]:
        if not value or sorted(set(value)) != value or not 0 < value[0] <= value[-1] < 1:
            raise ValueError("must be one or more different numbers between 0 and 1, in order")
        return value

    @field_validator("calendar")
    @classmethod
    def _each_once(cls, value: list[Calendar]) -> list[Calendar]:
        if len(set(value)) < len(value):
            raise ValueError("must name each part once")
        return value

    def conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.encoder.dropout and self.encoder.num_layers == 1:
            yield (
                ("encoder", "dropout"),
                f"is dropout between layers and there is only one layer, got {self.encoder.dropout}; "
                f"try task.encoder.num_layers: 2, or task.dropout",
            )
        if self.features == "lags" and self.residual != "last":
            yield (
                ("residual",),
                f"is read without lags only, got {self.residual}; try task.features: none",
            )

    def fit(self, rows: Rows[Window], origin: Any = None) -> Forecast:  # noqa: ARG002
        """Learn scales, season and the ridge from the training windows. Raises DataError if they cannot be used."""
        first = next(iter(rows)).content
        if self.calendar and first.frequency.unit == "number":
            raise DataError(
                f"{', '.join(rows.sources)}: the times are numbers and have no calendar; leave out task.calendar, or "
                f"write dates"
            )
        scales = SeriesScales.learn(rows, self.season)
        if self.features == "none":
            return Forecast(self, scales)
        key = cache_key([LAGS_FORMAT, rows.digest(), self.scaling, self.calendar])
        learned = cached_bytes(key, lambda: learn_lags(rows, scales, self.scaling, self.calendar).to_bytes())
        return Forecast(self, scales, Lags.from_bytes(learned, scales.config.horizon))

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Forecast:
        config = cls.model_validate(json.loads(files["config.json"])["task"])
        scales = SeriesScales.from_json(files["series.json"])
        if config.features == "none":
            return Forecast(config, scales)
        lags = Lags.from_bytes(files[_LAGS_FILE], scales.config.horizon)
        return Forecast(config, scales, lags)


@dataclass(frozen=True, slots=True)
class Forecast(Task):
    """A fitted forecaster: it has learned the scales of its series, the season and the ridge on the lags."""

    config: ForecastConfig
    scales: SeriesScales
    lags: Lags | None = None

    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    loss_metric: ClassVar[Metric] = PINBALL
    compared_by: ClassVar[tuple[Metric, ...]] = (MAE, FIRST_MAE, RMSE, MASE, SMAPE)

    @property
    def prediction_keys(self) -> tuple[str, ...]:
        return ("unique_id", "ds", "forecast", *map(_key, self.config.quantiles))

    @property
    def encoder(self) -> WindowEncoder:
        """How windows are encoded."""
        config = self.config
        return WindowEncoder(
            self.scales, tuple(config.calendar), config.max_steps, config.residual, config.scaling, self.lags
        )

    def describe(self) -> str | None:
        season = f"a season of {self.scales.season} steps" if self.scales.season > 1 else "no season"
        ridge = (
            f"; ridge on {self.scales.config.window} lags, penalty {self.lags.penalty:g}" if self.lags else ""
        )
        return f"{len(self.scales.names):,} series, {season}{ridge}"

    def build_model(self) -> Forecaster:
        config = self.config
        return Forecaster(
            config.encoder.build(self.encoder.num_inputs),
            self.encoder.num_known,
            self.scales.config.horizon,
            len(config.quantiles),
            config.head_size,
            config.dropout,
        )

    def encode(self, rows: Rows[Window], scored: bool = True) -> Store:  # noqa: ARG002
        inputs = {
            "format": _STORE_FORMAT,
            "rows": rows.digest(),
            "task": {name: value.decode("latin-1") for name, value in self.files().items()},
        }

        def chunks() -> Iterator[Store]:
            for windows in windows_in_chunks(rows):
                yield self.encoder.encode(windows, targets=True)

        return cached(cache_key(inputs), chunks)

    def row_fault(self, row: Row[Window]) -> str | None:
        window, config = row.content, self.scales.config
        if window.config.model_copy(update={"step": config.step}) != config:
            return "cut by another data.series than the model was trained with; leave out --set data.series"
        if self.config.calendar and window.frequency.unit == "number":
            return "the time is a number, and the model reads the calendar"
        return None

    def encode_window(self, rows: Sequence[Row[Window]]) -> Store:
        return self.encoder.encode([row.content for row in rows], targets=False)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The pinball loss in units of the series' scale, a mean over the quantiles, summed over the known steps."""
        targets, base = batch.known_targets, batch.extras["base"]
        scaled = ((targets - base) / batch.extras["scale"][:, None]).float()
        known = ~scaled.isnan()
        error = scaled.nan_to_num().unsqueeze(2) - model(batch.inputs, batch.lengths, batch.extras["known"])
        quantiles = torch.tensor(self.config.quantiles, device=error.device)
        losses = torch.maximum(quantiles * error, (quantiles - 1) * error).mean(dim=2)
        return Loss((losses * known).sum(), int(known.sum()))

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, H, Q) quantiles in units of the data, in order (Chernozhukov et al. 2010)."""
        residual = model(batch.inputs, batch.lengths, batch.extras["known"]).cpu().double()
        base, scale = batch.extras["base"].cpu(), batch.extras["scale"].cpu()
        found: Tensor = (base.unsqueeze(2) + scale[:, None, None] * residual).sort(dim=2).values
        return found

    def score(self, outputs: Outputs, store: Store) -> Forecasts:
        scale, mase_scale = (np.asarray(store.extras[name]) for name in ("unit", "mase_scale"))
        return score_forecasts(_targets(store), _quantiles(outputs), self.config.quantiles, scale, mase_scale)

    def accept(self, options: PredictOptions) -> None:
        given = {"--top-k": options.top_k > 1, "--probs": options.probs, "--min-score": options.min_score > 0}
        if refused := [option for option, is_set in given.items() if is_set]:
            raise ConfigError(
                f"{', '.join(refused)}: a forecast has no classes; its quantiles are written anyway. Leave it out"
            )

    def prediction(self, row: Row[Window], output: Float64, options: PredictOptions) -> dict[str, Any]:  # noqa: ARG002
        window = row.content
        times = window.shown(window.origin + 1, len(output))
        return {"unique_id": window.series, "ds": times, **self._line(output)}

    def _line(self, output: Float64) -> dict[str, Any]:
        quantiles = self.config.quantiles
        named = {_key(one): output[:, at].tolist() for at, one in enumerate(quantiles)}
        return {"forecast": output[:, middle(quantiles)].tolist(), **named}

    def answer(self, output: Float64, target: Float64) -> Answer:
        return Answer({**self._line(output), "target": listed(target)}, None)

    def baselines(self, train: Rows[Window], rows: Rows[Window]) -> list[Baseline]:
        """The last value, that of the last season, and ridge on the lags."""
        return simple_forecasts(train, rows, self.scales)

    def compare(self, outputs: Outputs, baseline: Baseline, store: Store) -> Comparison:
        targets, predicted = _targets(store), baseline.predicted
        theirs = np.array(list(predicted), np.float64)
        if theirs.shape != targets.shape or not np.isfinite(theirs).all():
            raise ValueError(
                f"{baseline.name}: must have {targets.shape[1]} steps for each of {len(targets)} rows"
            )
        scores = self.score(theirs[:, :, None].repeat(len(self.config.quantiles), axis=2), store)
        median = _quantiles(outputs)[:, :, middle(self.config.quantiles)]
        config = self.scales.config
        verdict, p = diebold_mariano(
            np.abs(targets - median),
            np.abs(targets - theirs),
            np.asarray(store.extras["time"]),
            lags=-(-config.horizon // config.step) - 1,
        )
        scalars = scores.scalars()
        compared = {metric.name: scalars[metric.name] for metric in self.compared_by}
        return Comparison(
            compared, verdict, p, "Diebold-Mariano test of the absolute errors of the same origins"
        )

    def report(self, evaluation: Evaluation) -> Report:
        return forecast_report(evaluation, self.config.quantiles, _targets(evaluation.store))

    def output_names(self) -> Sequence[str]:
        """The step and the quantile of each number."""
        steps = range(1, self.scales.config.horizon + 1)
        return [f"step {step}, {quantile}" for step in steps for quantile in self.config.quantiles]

    def files(self) -> dict[str, bytes]:
        content = {"kind": "forecast", "task": self.config.model_dump(mode="json")}
        files = {"config.json": json.dumps(content, indent=2).encode(), "series.json": self.scales.to_json()}
        return files | ({_LAGS_FILE: self.lags.to_bytes()} if self.lags else {})

    def synthetic_rows(self, rng: np.random.Generator) -> list[Row[Window]]:
        """A series of one step, and random walks."""
        return synthetic_rows(self.scales, rng, _SYNTHETIC_WINDOWS)

    def random_inputs(self, rng: np.random.Generator, length: int) -> Float32:
        return rng.standard_normal((length, self.encoder.num_inputs), np.float32)

    def layers(self, model: nn.Module) -> Recurrent:
        assert isinstance(model, Forecaster)
        return model.encoder.recurrent

    def reference(self, model: nn.Module, store: Store) -> Float64:
        """(N, H, Q) quantiles, computed from the weights in float64."""
        weights = {name: value.cpu().double().numpy() for name, value in model.state_dict().items()}
        known = np.asarray(store.extras["known"], np.float64)
        rows = [
            reference.forecast(self.config.encoder.cell, weights, inputs.astype(np.float64), of_steps)
            for inputs, of_steps in zip(store.inputs, known, strict=True)
        ]
        scale = np.asarray(store.extras["scale"])[:, None, None]
        found: Float64 = np.sort(store.extras["base"][:, :, None] + scale * np.stack(rows), axis=2)
        return found

    def stored_outputs(self, lines: Sequence[Mapping[str, Any]]) -> Float64:
        keys = [_key(quantile) for quantile in self.config.quantiles]
        stored = np.array([[line[key] for key in keys] for line in lines], np.float64).swapaxes(1, 2)
        if stored.shape[1:] != (self.scales.config.horizon, len(keys)):
            raise ValueError(f"must have {self.scales.config.horizon} steps of {len(keys)} quantiles")
        return stored


def _key(quantile: float) -> str:
    return f"q{quantile:g}"


def _targets(store: Store) -> Float64:
    """(N, H), NaN where a value is not known."""
    targets = store.known_targets
    assert not isinstance(targets, Ragged)
    return np.asarray(targets, np.float64)


def _quantiles(outputs: Outputs) -> Float64:
    assert not isinstance(outputs, Ragged)
    return outputs
