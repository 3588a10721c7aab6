"""The `data.series:` section of the config: how a table of points in time becomes windows."""

from __future__ import annotations

from pydantic import Field, field_validator

from lstm_cli.schema import Config


class SeriesConfig(Config):
    """The `data.series:` section, read by `task.kind: forecast`."""

    time_column: str | list[str] = Field(
        "ds",
        description="column that holds the time: dates, dates with a time of day, or whole numbers; a list of columns, "
        "such as a date and an hour, is joined",
    )
    target_column: str = Field("y", description="column that holds the value to forecast; empty: not known")
    id_column: str | None = Field(
        None, description="column that names the series of a row; null: all rows are one series"
    )
    known_columns: list[str] = Field(
        [], description="covariates whose future is known, such as holidays and planned prices"
    )
    past_columns: list[str] = Field(
        [], description="covariates that are known up to the present only, such as measurements"
    )
    window: int = Field(
        168,
        ge=1,
        le=100_000,
        description="how many past steps a forecast may use; a younger series has fewer",
    )
    horizon: int = Field(24, ge=1, le=10_000, description="how many future steps are forecast at once")
    step: int = Field(
        1,
        ge=1,
        description="steps from one origin of a forecast to the next, in training and scoring; 1: every origin",
    )

    @field_validator("time_column", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        names = value if isinstance(value, list) else [value]
        if not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError("must be a column's name, or a list of them")
        return value

    @property
    def time_columns(self) -> tuple[str, ...]:
        """The columns of the time, in the order in which they are joined."""
        return (self.time_column,) if isinstance(self.time_column, str) else tuple(self.time_column)

    @property
    def shortest(self) -> int:
        """The least number of past steps of a row in training and scoring."""
        return min(self.window, self.horizon)
