"""JSON as annotation tools export it: arrays, nested objects, lists of one label."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_cli.data import json_rows
from lstm_cli.data.files import open_text
from lstm_cli.errors import DataError
from tests.data.conftest import Open

Made = Callable[[str, str | bytes], str]
Pairs = Callable[..., list[tuple[str, str | None]]]

LABEL_STUDIO = [
    {
        "id": number,
        "annotations": [
            {
                "id": 7,
                "completed_by": 1,
                "result": [{"value": {"choices": [label]}, "from_name": "s", "type": "choices"}],
            }
        ],
        "data": {"text": text},
        "meta": {},
        "created_at": "2024-01-01",
    }
    for number, (text, label) in enumerate([("good", "x"), ("bad", "y")])
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.sampled_from(["x", "y{", "]"])
        ),
        max_size=6,
    ),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    chunk=st.integers(1, 40),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_rows_written_as_an_array_are_read_back_whatever_the_size_of_a_chunk(
    made: Made,
    opened: Open,
    rows: list[tuple[str, str]],
    indent: int | None,
    ascii_only: bool,
    chunk: int,
    line_end: str,
) -> None:
    written = json.dumps(
        [{"text": text, "label": label} for text, label in rows], indent=indent, ensure_ascii=ascii_only
    )
    name = made("a.json", written.replace("\n", line_end) + line_end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_CHUNK_CHARS", chunk)
        found = list(opened(name))
    assert [(row.content.text, row.content.label) for row in found] == rows
    if indent is not None:
        assert [row.line for row in found] == [2 + 4 * number for number in range(len(rows))]


def test_an_array_is_read_in_the_memory_of_one_object(made: Made, opened: Open) -> None:
    made("a.json", json.dumps([{"text": "word " * 1_000, "label": "x"}] * 400))
    with open_text("a.json", "utf-8", newline="") as stream:
        array = json_rows._Array(stream, "a.json", "\n")
        held = [len(array._buffer) for _ in array]
    assert len(held) == 400
    assert max(held) < 2 * json_rows._CHUNK_CHARS
    assert len(opened("a.json")) == 400


def test_an_object_of_a_million_characters_takes_linear_time(
    made: Made, pairs: Pairs, monkeypatch: Any
) -> None:
    parsed = []
    decoder = json.JSONDecoder(strict=False)

    class Counting:
        def raw_decode(self, text: str, at: int) -> Any:
            parsed.append(len(text) - at)
            return decoder.raw_decode(text, at)

    monkeypatch.setattr(json_rows, "_DECODER", Counting())
    long = "word " * 200_000
    assert pairs(made("a.json", json.dumps([{"text": long, "label": "x"}]))) == [(long, "x")]
    assert sum(parsed) < 4 * len(long)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('[{"text": "a", "label": "x"},\n{"text": "b"}]', r'2: no column "label" \(have: text\)'),
        (
            '[\n{"text": "a", "label": "x"},\n{"text": "b" "label": "y"}]',
            "3: not JSON: Expecting ',' delimiter",
        ),
        ('[\n{"text": "a", "label": "x"}\n{"text"', "3: not JSON: expected ] but found {"),
        ('[{"text": "a", "label": "x"},\n\n{"text": "a', "3: not JSON: Unterminated string"),
        ('[{"text": "a", "label": "x"}', "1: not JSON: expected ] but found the end of the file"),
        ('[{"text": "a", "label": "x"}]\n[]', "2: something follows the array"),
        ('["text", "label"]\n["a", "x"]', "1: a JSON str where an object is needed"),
        ("[[[" * 100_000, "1: not usable JSON"),
        ('[{"text": ' + "9" * 5_000 + "}]", "1: not usable JSON"),
        ("[1, 2]", "1: a JSON int where an object is needed"),
        ("[,]", "1: not JSON: Expecting value"),
    ],
)
def test_an_array_that_is_not_json_is_named_with_its_line(
    made: Made, pairs: Pairs, content: str, fault: str
) -> None:
    with pytest.raises(DataError, match=rf"^a\.json:{fault.replace('] but', chr(92) + '] but')}"):
        pairs(made("a.json", content))


def test_an_object_of_an_array_that_does_not_fit_is_an_error_of_its_row(made: Made, opened: Open) -> None:
    rows = [
        {"text": "a", "label": "x"},
        {"review": "b"},
        5,
        {"label": "y", "text": "c"},
        {"text": "\ud800", "label": "x"},
    ]
    found = list(opened(made("a.json", json.dumps(rows, indent=0)), on_error="row"))
    assert [(row.content.text, row.line, row.error is None) for row in found] == [
        ("a", 2, True), ("", 6, False), ("", 9, False), ("c", 10, True), ("", 14, False)
    ]  # fmt: skip


def test_an_empty_array_has_no_rows(made: Made, pairs: Pairs) -> None:
    assert pairs(made("a.json", " [ ]\n")) == []


def test_an_array_is_an_array_under_every_name_and_compressed(made: Made, pairs: Pairs) -> None:
    import gzip

    content = json.dumps([{"text": "good", "label": "x"}])
    assert pairs(made("a.jsonl", content)) == [("good", "x")]
    assert pairs(made("a.data", content), format="jsonl") == [("good", "x")]
    assert pairs(made("a.json.gz", gzip.compress(content.encode()))) == [("good", "x")]
    assert pairs(made("b.json", content.encode("utf-16")), encoding="utf-16") == [("good", "x")]


@pytest.mark.parametrize("as_array", [True, False])
def test_a_label_studio_export_loads_by_naming_two_columns(made: Made, pairs: Pairs, as_array: bool) -> None:
    content = json.dumps(LABEL_STUDIO) if as_array else "\n".join(map(json.dumps, LABEL_STUDIO))
    name = made("a.json", content)
    columns = {"text_column": "data.text", "label_column": "annotations.0.result.0.value.choices.0"}
    assert pairs(name, **columns) == [("good", "x"), ("bad", "y")]
    for shorter in ("annotations.0.result.0.value.choices", "annotations.result.value.choices"):
        assert pairs(name, **columns | {"label_column": shorter}) == [("good", "x"), ("bad", "y")]


def test_the_other_exports_of_annotation_tools_load_by_naming_two_columns(made: Made, pairs: Pairs) -> None:
    label_studio_min = [{"id": 1, "text": "good", "sentiment": "x", "annotator": 1}]
    made("min.json", json.dumps(label_studio_min))
    assert pairs("min.json", label_column="sentiment") == [("good", "x")]
    made("doccano.jsonl", '{"id": 1, "text": "good", "label": ["x"]}\n')
    assert pairs("doccano.jsonl") == [("good", "x")]
    argilla = {
        "id": "u",
        "fields": {"text": "good"},
        "responses": {"label": [{"value": "x", "user_id": "u"}]},
    }
    made("argilla.json", json.dumps([argilla]))
    assert pairs("argilla.json", text_column="fields.text", label_column="responses.label.0.value") == [
        ("good", "x")
    ]
    made("flat.jsonl", '{"text": "good", "label.responses": ["x"], "label": {"responses": ["no"]}}\n')
    assert pairs("flat.jsonl", label_column="label.responses") == [("good", "x")]


def test_a_column_inside_an_object_is_found_for_the_user(made: Made, pairs: Pairs) -> None:
    with pytest.raises(DataError) as caught:
        pairs(made("a.json", json.dumps(LABEL_STUDIO)), label_column="choices")
    said = str(caught.value)
    assert 'Did you mean "data.text"?' in said
    assert 'Did you mean "annotations.0.result.0.value.choices"?' in said


def test_a_row_without_the_value_inside_is_an_error_that_says_what_is_there(made: Made, opened: Open) -> None:
    rows: list[Any] = [
        {"data": {"text": "good"}, "labels": ["x"]},
        {"data": {"title": "good"}, "labels": ["x"]},
        {"data": {"text": "good"}, "labels": []},
        {"data": "good", "labels": ["x"]},
        {"data": None, "labels": ["x"]},
        {"data": [{"text": "good"}], "labels": ["x"]},
        {"data": [{"text": "good"}, {"text": "bad"}], "labels": ["x"]},
    ]
    name = made("a.jsonl", "\n".join(map(json.dumps, rows)))
    found = [
        row.error for row in opened(name, on_error="row", text_column="data.text", label_column="labels.0")
    ]
    assert found == [
        None,
        'column "data.text": no "text" here (have: title)',
        'column "labels.0": no item 0 in a list of 0',
        'column "data.text": no "text" in a str',
        'column "data.text": no "text" in a NoneType',
        None,
        'column "data.text": no item text in a list of 2; name an item by its number, such as 0.text',
    ]


def test_a_list_of_exactly_one_label_is_that_label(made: Made, opened: Open) -> None:
    labels: list[Any] = ["x", ["x"], [["x"]], [1], [], ["x", "y"], [{"label": "x"}]]
    name = made("a.jsonl", "\n".join(json.dumps({"text": "t", "label": label}) for label in labels))
    rows = list(opened(name, on_error="row"))
    assert [row.content.label for row in rows] == ["x", "x", "x", "1", None, None, None]
    errors = [row.error or "" for row in rows]
    assert "is empty" in errors[4]
    assert "2 labels; more than one label per text is not supported yet" in errors[5]
    assert "label.label" in errors[6]


def test_predictions_keep_an_object_that_the_text_was_taken_from(made: Made, opened: Open) -> None:
    name = made("a.jsonl", '{"data": {"text": "good", "id": 7}, "note": 1}\n')
    (row,) = opened(name, role="predict", labelled=False, keep_fields=True, text_column="data.text")
    assert row.content.text == "good"
    assert row.fields == {"data": '{"text": "good", "id": 7}', "note": "1"}


def test_the_objects_of_an_array_may_have_their_keys_in_any_order(made: Made, pairs: Pairs) -> None:
    shuffled = random.Random(0)
    rows = [{"text": f"t{i}", "label": "xy"[i % 2], "id": i} for i in range(20)]
    mixed = [dict(shuffled.sample(list(row.items()), 3)) for row in rows]
    assert pairs(made("a.json", json.dumps(mixed))) == [(row["text"], row["label"]) for row in rows]
