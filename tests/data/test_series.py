"""Time series in long tables: windows, frequency, gaps, splits by time, and one error for each mistake."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_cli.data.config import DataConfig
from lstm_cli.data.rows import Row, RowError
from lstm_cli.data.series import Window
from lstm_cli.data.sources import Splits, load_splits, open_rows
from lstm_cli.data.times import calendar, find_frequency, one_hot, parse_time
from lstm_cli.errors import DataError


def table(path: Path, values: list[float | str], start: str = "2024-01-01", hours: int = 1) -> Path:
    """A CSV of one series with a value every `hours` hours."""
    times = np.datetime64(f"{start}T00") + np.arange(len(values)) * np.timedelta64(hours, "h")
    lines = [f"{time},{value}" for time, value in zip(times, values, strict=True)]
    path.write_text("ds,y\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def config(path: Path, **series: Any) -> DataConfig:
    dev = series.pop("dev", 0.3)
    test = series.pop("test", None)
    settings = {"window": 4, "horizon": 2, **series}
    return DataConfig.model_validate({"train": str(path), "dev": dev, "test": test, "series": settings})


def windows(path: Path, labelled: bool = True, **series: Any) -> list[Row[Window]]:
    return list(open_rows(str(path), config(path, **series), "train", labelled, content=Window))


def splits(path: Path, **settings: Any) -> Splits[Window]:
    return load_splits(config(path, **settings), 0, content=Window)


def test_every_origin_is_a_window_of_its_past_and_future(tmp_path: Path) -> None:
    rows = windows(table(tmp_path / "a.csv", [float(value) for value in range(8)]))
    assert [row.content.past.tolist() for row in rows] == [
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 3],
        [1, 2, 3, 4],
        [2, 3, 4, 5],
    ]
    futures = [row.content.future for row in rows]
    assert [None if one is None else one.tolist() for one in futures] == [[n, n + 1] for n in range(2, 7)]
    assert [row.line for row in rows] == [3, 4, 5, 6, 7]  # of the last known value
    assert rows[0].content.shown(rows[0].content.origin + 1, 2) == [
        "2024-01-01T02:00:00",
        "2024-01-01T03:00:00",
    ]


def test_the_last_origin_is_kept_whatever_the_step(tmp_path: Path) -> None:
    rows = windows(table(tmp_path / "a.csv", [float(value) for value in range(10)]), step=3)
    assert [row.content.past[-1] for row in rows] == [1, 4, 7]


def test_without_labels_there_is_one_window_for_each_series_after_its_last_value(tmp_path: Path) -> None:
    rows = windows(table(tmp_path / "a.csv", [1.0, 2.0, 3.0, "", ""]), labelled=False)
    assert [row.content.past.tolist() for row in rows] == [[1, 2, 3]]
    assert rows[0].content.future is None


def test_the_lines_may_come_in_any_order(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", [float(value) for value in range(8)])
    header, *lines = path.read_text("utf-8").splitlines()
    shuffled = tmp_path / "b.csv"
    shuffled.write_text("\n".join([header, *lines[::-1]]) + "\n", encoding="utf-8")
    for one, other in zip(windows(path), windows(shuffled), strict=True):
        np.testing.assert_array_equal(one.content.past, other.content.past)


def test_a_gap_is_filled_with_nan_and_reported_with_its_dates(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = table(tmp_path / "a.csv", [float(value) for value in range(9)])
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(lines[:4] + lines[6:]) + "\n", encoding="utf-8")  # without 3 and 4
    with caplog.at_level(logging.WARNING, "lstm_cli"):
        rows = windows(path)
    assert "missing steps of 1 hour: 2 (2024-01-01T03:00:00 to 2024-01-01T04:00:00)" in caplog.text
    np.testing.assert_array_equal(rows[-1].content.past, [np.nan, np.nan, 5, 6])


def test_copies_of_a_point_are_left_out_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = table(tmp_path / "a.csv", [float(value) for value in range(8)])
    path.write_text(path.read_text("utf-8") + "2024-01-01T02,2.0\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "lstm_cli"):
        assert len(windows(path)) == 5
    assert "copies of points that are left out: 1 (line 10 as line 4)" in caplog.text


def test_no_training_window_reaches_into_dev_and_none_of_dev_into_test(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", [float(value) for value in range(60)])
    found = splits(path, dev=0.25, test="from:2024-01-02T20:00")
    spans = {name: [row.content.span() for row in rows] for name, rows in found.by_name().items()}
    assert max(last for _, last in spans["train"]) < min(first for first, _ in spans["dev"])
    assert max(last for _, last in spans["dev"]) < min(first for first, _ in spans["test"])
    begin = np.datetime64("2024-01-02T20", "s").astype(int)
    assert min(first for first, _ in spans["test"]) == begin
    assert (
        len(next(iter(found.test or ())).content.past) == 4
    )  # the past of the first test window lies in dev


@pytest.mark.parametrize(
    ("times", "name"),
    [
        (["2024-01-01", "2024-01-02", "2024-01-03"], "day"),
        (["2024-01-31", "2024-02-29", "2024-03-31"], "month"),
        (["2023-10-01", "2024-01-01", "2024-04-01"], "3 months"),
        (["2024-01-01 00:00", "2024-01-01 00:15", "2024-01-01 00:30"], "15 minutes"),
        (["2024-01-01", "2024-01-08", "2024-01-15"], "week"),
        (["1", "3", "5"], "step of 2"),
    ],
)
def test_the_frequency_is_found_and_the_times_come_back(times: list[str], name: str) -> None:
    parsed = [parse_time(time) for time in times]
    frequency = find_frequency(parsed[0][0], [np.array([time for _, time in parsed])])
    assert frequency.name == name
    positions, offsets = frequency.positions(np.array([time for _, time in parsed]))
    assert np.diff(positions).tolist() == [1, 1]
    shown = frequency.shown(positions, int(offsets[0]))
    assert [parse_time(one) for one in shown] == parsed


def test_times_are_read_as_people_write_them() -> None:
    day = 20454 * 86400
    for text in ("2026-01-01", "20260101", "2026-01-01 0", "2026-01-01T01:00+01:00", "2026-01-01 00:00:00"):
        assert parse_time(text) == ("date", day), text
    assert parse_time("2026-01-01 5") == ("date", day + 5 * 3600)
    for text in ("", "yesterday", "2026-13-01", "nan"):
        with pytest.raises(RowError, match="is no time"):
            parse_time(text)


def test_the_calendar_of_a_date() -> None:
    codes = calendar(
        np.array(["2024-02-29T13:45:10"], "datetime64[s]"), ("minute", "hour", "weekday", "day", "month")
    )
    assert codes.tolist() == [[45, 13, 3, 28, 1]]
    assert one_hot(codes[:, 2:3], ("weekday",)).tolist() == [[0, 0, 0, 1, 0, 0, 0]]


HEADER = "unique_id,ds,y,price,heat\n"
GOOD = "".join(f"a,2024-01-{day:02},{day},1,2\n" for day in range(1, 13))


@pytest.mark.parametrize(
    ("content", "series", "message"),
    [
        ("ds,value\n2024-01-01,1\n", {}, r'a\.csv:1: no column "y" .*Set data\.series\.target_column'),
        (HEADER + GOOD + "a,soon,5,1,2\n", {}, r"a\.csv:14: 'soon' is no time: write dates as 2011-01-31"),
        (HEADER + GOOD + "a,2024-01-13,much,1,2\n", {}, r"a\.csv:14: column \"y\": 'much' is no number"),
        (HEADER + GOOD + "a,2024-01-13,inf,1,2\n", {}, r'a\.csv:14: column "y": an infinite number'),
        (HEADER + GOOD + "a,2024-01-12,99,1,2\n", {}, r"a\.csv:14: .*a second value for the time of line 13"),
        (HEADER + GOOD + "b,2024-01-12,99,1,2\n", {"id_column": None}, r"name the column .*data\.series\.id_column"),
        (HEADER + GOOD + "a,2024-01-13 07:00,9,1,2\n", {}, r"a\.csv:14: .*no whole number of steps .* is 1 day"),
        (HEADER + GOOD + "a,17,9,1,2\n", {}, r"a\.csv:14: the time is a number, those above are dates"),
        (HEADER + GOOD + ",2024-01-13,9,1,2\n", {}, r'a\.csv:14: column "unique_id": empty'),
        (HEADER + "a,2024-01-01,1,1,2\n", {}, r"a\.csv: no series is long enough .* has 1 steps.*lower data\.series"),
        (HEADER + "a,2024-01-01,,1,2\n", {}, r"a\.csv:2: series 'a': no value of y is known"),
        (HEADER + GOOD + "a,9024-01-13,9,1,2\n", {}, r"a\.csv:14: .*is this time right\?"),
        (HEADER + GOOD, {"dev": "from:2031-01-01"}, r"data\.dev: from:2031-01-01 leaves no row for dev"),
        (HEADER + GOOD, {"dev": "from:spring"}, r"from:spring: 'spring' is no time"),
        (HEADER + GOOD, {"test": "fold:1/3"}, r"data\.test: fold:1/3: folds would mix past and future"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_table_gives_one_clear_error(
    tmp_path: Path, content: str, series: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        splits(path, **{"id_column": "unique_id", **series} if "unique_id" in content else series)


def test_a_forecast_needs_the_covariates_whose_future_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + GOOD, encoding="utf-8")
    series = {"id_column": "unique_id", "known_columns": ["price"], "past_columns": ["heat"]}
    rows = list(
        open_rows(str(path), config(path, **series), "predict", False, on_error="row", content=Window)
    )
    assert [row.error for row in rows] == [
        "series 'a': 2 of the next 2 steps lack price; add them as rows with an empty y"
    ]
    path.write_text(HEADER + GOOD + "a,2024-01-13,,5,\na,2024-01-14,,6,\n", encoding="utf-8")
    [row] = open_rows(str(path), config(path, **series), "predict", False, on_error="row", content=Window)
    assert row.error is None
    assert row.content.known[-2:].tolist() == [[5], [6]]
    assert row.content.measured.shape == (4, 1)
