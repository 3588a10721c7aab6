"""The `data.sequences:` section of the config: which columns hold the numbers of a sequence."""

from __future__ import annotations

from pydantic import Field, field_validator

from lstm_cli.schema import Config


class SequencesConfig(Config):
    """The `data.sequences:` section, read by `task.kind: sequence`."""

    values_column: str = Field(
        "values",
        description="column that holds a whole sequence: a list with one number, or one list of numbers, for each step "
        "(JSON Lines, Parquet); without value_columns only",
    )
    id_column: str | None = Field(
        None, description="long tables with one step a line: column that names the sequence of a step"
    )
    value_columns: list[str] = Field(
        [], description="long tables: columns with the numbers of a step, its channels; needs id_column"
    )
    time_column: str | None = Field(
        None,
        description="long tables: column that orders the steps of a sequence: dates or whole numbers; null: the order "
        "of the lines",
    )

    @field_validator("value_columns")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("must name each column once")
        return value
