"""Sequences of numbers: .ts files, long tables, lists, and the built-in sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lstm_cli.data.builtin_sessions import sessions
from lstm_cli.data.config import DataConfig
from lstm_cli.data.dense import Dense
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import load_splits, open_rows
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError
from lstm_cli.metrics.classification import _roc_auc

Made = Callable[[str, str | bytes], str]

HEAD = "# a comment\n@problemName Two\n@timeStamps false\n@classLabel true a b\n@data\n"
TS = HEAD + "1,2,?:4,5,6:a\n\n7:8:b\n"
LONG = "user,t,x,y,label,note\nu1,2,3,,a,n1\nu2,1,5,6,b,n2\nu1,1,1,2,a,n3\n"
OF_LONG: dict[str, Any] = {"sequences": {"id_column": "user", "value_columns": ["x", "y"]}}


def read(path: str, *, labelled: bool = True, **keys: Any) -> list[Row[Dense]]:
    return list(open_rows(path, DataConfig(train=path, **keys), "train", labelled, content=Dense))


def fault(path: str, **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **keys)
    return str(caught.value)


def test_a_ts_file_has_a_sequence_a_line(made: Made) -> None:
    first, second = read(made("a.ts", TS))
    np.testing.assert_array_equal(first.content.values, [[1, 4], [2, 5], [np.nan, 6]])
    np.testing.assert_array_equal(second.content.values, [[7, 8]])
    assert [(row.content.label, row.line) for row in (first, second)] == [("a", 6), ("b", 8)]
    assert [row.content.label for row in read("a.ts", labelled=False)] == [None, None]
    made("b.ts", HEAD.replace("true a b", "false") + "1,2,3:4,5,6\n")
    assert read("b.ts", labelled=False)[0].content.values.shape == (3, 2)


def test_the_lines_of_a_long_table_are_gathered_by_their_id_and_ordered_by_their_time(made: Made) -> None:
    name = made("a.csv", LONG)
    first, second = read(name, **OF_LONG)
    np.testing.assert_array_equal(first.content.values, [[3, np.nan], [1, 2]])
    assert (first.content.name, first.content.label, first.line) == ("u1", "a", 2)
    assert (second.content.name, second.content.label, second.line) == ("u2", "b", 3)
    timed: dict[str, Any] = {"sequences": {**OF_LONG["sequences"], "time_column": "t"}}
    np.testing.assert_array_equal(read(name, **timed)[0].content.values, [[1, 2], [3, np.nan]])


def test_rows_of_one_group_stay_on_one_side(made: Made) -> None:
    lines = [f"s{i},{i % 7},{i},{'ab'[i % 2]}" for i in range(70) for _ in range(2)]
    name = made("a.csv", "\n".join(["id,user,x,label", *lines]) + "\n")
    keys: dict[str, Any] = {"sequences": {"id_column": "id", "value_columns": ["x"]}, "group_column": "user"}
    splits = load_splits(DataConfig(train=name, dev=0.3, **keys), 0, content=Dense)
    train, dev = ({row.group for row in rows} for rows in (splits.train, splits.dev))
    assert train
    assert dev
    assert not train & dev


def test_lists_are_read_from_json_lines_and_from_cells(made: Made) -> None:
    made("a.jsonl", '{"values": [[1, null], [3, 4]], "label": "a"}\n{"values": [[5, 6]], "label": 1}\n')
    made("a.csv", 'label,values\na,"[1, 2, 3]"\n')
    first, second = read("a.jsonl")
    np.testing.assert_array_equal(first.content.values, [[1, np.nan], [3, 4]])
    assert second.content.label == "1"
    np.testing.assert_array_equal(read("a.csv")[0].content.values, [[1], [2], [3]])
    assert read("a.csv", sequences={"values_column": "Values "})[0].content.values.shape == (3, 1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.ts", HEAD + "1,2:3:a\n", "a.ts:6: channel 2 has 1 numbers and channel 1 has 2"),
        ("a.ts", HEAD + "1,x:3,4:a\n", "a.ts:6: channel 1: 'x' is no number"),
        ("a.ts", HEAD + "1,inf:a\n", "a.ts:6: channel 1: an infinite number"),
        ("a.ts", HEAD + "1,2\n", "a.ts:6: no colon, which stands before the label"),
        ("a.ts", HEAD + "1,2:\n", "a.ts:6: no label after the last colon"),
        ("a.ts", HEAD + "1,2:c\n", 'a.ts:6: label "c" is not in @classLabel (have: a, b)'),
        ("a.ts", "@data\n1:a\n", "a.ts:1: the head has no @classLabel true"),
        ("a.ts", "@timeStamps true\n@data\n", "a.ts:1: sequences with time stamps are not supported"),
        ("a.ts", "@targetLabel true\n@data\n", "a.ts:1: the targets are numbers"),
        ("a.ts", "1,2:a\n", "a.ts:1: expected a line that begins with @"),
        ("a.ts", "@classLabel true a\n", "a.ts: no line @data"),
        (
            "a.jsonl",
            '{"values": "1 2", "label": "a"}',
            'a.jsonl:1: column "values" holds a text where a list',
        ),
        ("a.jsonl", '{"values": [], "label": "a"}', 'a.jsonl:1: column "values" is an empty list'),
        (
            "a.jsonl",
            '{"values": [[1], [1, 2]], "label": "a"}',
            'column "values" has 2 numbers in step 2 and 1',
        ),
        ("a.jsonl", '{"values": [[1], ["x"]], "label": "a"}', "column \"values\": 'x' is no number"),
        ("a.jsonl", '{"values": 3, "label": "a"}', 'column "values" holds a int where a list of numbers'),
        ("a.jsonl", '{"text": "x", "label": "a"}', 'no column "values" (have: text, label)'),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(made: Made, name: str, content: str, said: str) -> None:
    assert said in fault(made(name, content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            LONG.replace("u1,1,1,2,a", "u1,1,1,2,b"),
            'sequence \'u1\' has two labels: "a" on line 2, "b" on line 4',
        ),
        (
            LONG.replace("u2,1,5", " ,1,5"),
            'a.csv:3: column "user": empty, so the step belongs to no sequence',
        ),
        (LONG.replace("u2,1,5", "u2,1,five"), "a.csv:3: column \"x\": 'five' is no number"),
        (LONG.replace("u2,1,5,6,b", "u2,1,5,6,"), "a.csv:3: the label"),
    ],
)
def test_what_is_wrong_in_a_long_table_is_named_with_its_line(made: Made, content: str, said: str) -> None:
    assert said in fault(made("a.csv", content), **OF_LONG)


def test_dates_and_numbers_are_not_mixed_in_the_times_of_a_sequence(made: Made) -> None:
    name = made("a.csv", LONG.replace("u1,1,1", "u1,2024-01-01,1"))
    timed = {**OF_LONG["sequences"], "time_column": "t"}
    assert "a.csv:4: the time is a date, that of line 2 is a number" in fault(name, sequences=timed)


def test_a_task_that_reads_texts_refuses_sequences(made: Made) -> None:
    name = made("a.ts", TS)
    for source in (name, "builtin:sessions"):
        with pytest.raises(DataError, match=r"sequences of numbers, .* try task\.kind: sequence"):
            list(open_rows(source, DataConfig(train=source), "train", True, content=Text))


def test_the_built_in_sessions_are_the_same_in_every_call() -> None:
    rows = list(sessions("train"))
    again = next(iter(sessions("train")))
    np.testing.assert_array_equal(rows[0][0], again[0])
    assert len(rows) == 2_000
    assert {len(values) for values, _ in rows} == set(range(3, 21))
    bought = np.concatenate([values for values, label in rows if label == "bought"])
    left = np.concatenate([values for values, label in rows if label == "left"])
    assert 0.27 < np.mean([label == "bought" for _, label in rows]) < 0.33
    np.testing.assert_allclose(bought.mean(axis=0) - left.mean(axis=0), [0.4] * 2 + [0.0] * 14, atol=0.06)


def test_no_method_can_separate_the_sessions_better_than_the_documentation_says() -> None:
    rows = list(sessions("test"))
    bought = np.array([label == "bought" for _, label in rows])
    likelihood = np.array([(0.4 * values[:, :2] - 0.08).sum() for values, _ in rows])
    assert _roc_auc(bought, likelihood) == pytest.approx(0.905, abs=0.0005)
