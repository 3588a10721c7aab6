"""Rows that can be read again, and the splits of a config."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lstm_cli.data.sources import DataConfig, Rows, load_splits, open_rows
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError
from tests.data.conftest import Open

Made = Callable[[str, str | bytes], str]


def csv_of(count: int) -> str:
    return "text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(count))


def test_rows_are_the_same_in_every_reading(made: Made, opened: Open) -> None:
    rows = opened([made("a.csv", csv_of(5)), made("b.csv", csv_of(3))])
    first = list(rows)
    assert list(rows) == first
    assert len(rows) == len(first) == 8
    one, other = iter(rows), iter(rows)
    assert next(one) == next(other) == first[0]


def test_a_selection_is_a_view_and_can_be_selected_from(made: Made, opened: Open) -> None:
    rows = opened(made("a.csv", csv_of(6)))
    odd = rows.select(np.array([False, True] * 3))
    assert [row.content.text for row in odd] == ["text 1", "text 3", "text 5"]
    assert [row.line for row in odd] == [3, 5, 7]
    assert len(odd) == 3
    last = odd.select(np.array([False, False, True]))
    assert [row.content.text for row in last] == ["text 5"]
    assert len(rows) == 6
    with pytest.raises(ValueError, match="shape"):
        odd.select(np.ones(6, np.bool_))


@pytest.mark.parametrize("count", [3, 9])
def test_a_file_that_changes_its_length_under_a_selection_is_noticed(
    made: Made, opened: Open, count: int
) -> None:
    view = opened(made("a.csv", csv_of(6))).select(np.ones(6, np.bool_))
    made("a.csv", csv_of(count))
    with pytest.raises(DataError, match=r"^a\.csv: has changed since it was read first"):
        list(view)


def test_the_digest_changes_with_everything_that_determines_the_rows(made: Made, opened: Open) -> None:
    name = made("a.csv", csv_of(4))
    base = opened(name)
    others = [
        opened(name, join="-"),
        opened(name, encoding="latin-1"),
        opened(name, text_column="label", label_column="text"),
        opened(name, labelled=False),
        opened(name, keep_fields=True),
        opened(name, format="tsv"),
        opened([name, name]),
        base.select(np.array([True, True, False, True])),
        base.select(np.array([True, True, True, False])),
        opened(made("b.csv", csv_of(5))),
    ]
    assert len({rows.digest() for rows in [base, *others]}) == len(others) + 1
    assert base.digest() == opened(name).digest()


def test_the_path_of_a_file_has_no_influence_on_the_digest(made: Made, opened: Open) -> None:
    first = opened(made("a.csv", csv_of(4))).digest()
    assert opened(made("else/where.csv", csv_of(4)), format="csv").digest() == first
    for folder in ("one", "two"):
        made(f"{folder}/pos/1", "good")
        made(f"{folder}/neg/1", "bad")
    assert opened("one").digest() == opened("two").digest()
    made("two/pos/2", "")
    assert opened("one").digest() != opened("two").digest()
    Path("one/pos").rename("one/positive")
    assert opened("one").digest() not in (opened("two").digest(), first)


def test_files_gives_the_hash_of_every_source(made: Made, opened: Open) -> None:
    made("d/x/1", "good")
    files = opened([made("a.csv", "text,label\n"), "d"]).files()
    assert list(files) == ["a.csv", "d"]
    assert files["a.csv"] == hashlib.sha256(b"text,label\n").hexdigest()
    assert len(files["d"]) == 64


def splits_of(**keys: Any) -> tuple[list[str], list[str]]:
    splits = load_splits(DataConfig(**keys), seed=3, content=Text)
    return [row.content.text for row in splits.train], [row.content.text for row in splits.dev]


def test_a_fraction_for_dev_is_cut_from_train(made: Made) -> None:
    name = made("a.csv", csv_of(40))
    train, dev = splits_of(train=name, dev=0.2)
    assert (len(train), len(dev)) == (32, 8)
    assert sorted(train + dev) == sorted(f"text {i}" for i in range(40))
    assert [int(text.split()[1]) for text in dev] == sorted(int(text.split()[1]) for text in dev)
    assert (train, dev) == splits_of(train=name, dev=0.2)
    assert (
        load_splits(DataConfig(train=name), seed=0, content=Text).dev.digest()
        != load_splits(DataConfig(train=name), seed=1, content=Text).dev.digest()
    )


def test_splits_may_be_files_of_different_formats(made: Made) -> None:
    config = DataConfig(
        train=made("a.csv", csv_of(4)),
        dev=made("b.txt", "__label__a fine\n"),
        test=[made("c.jsonl", '{"text": "last", "label": "b"}')],
    )
    splits = load_splits(config, seed=0, content=Text)
    assert splits.test is not None
    assert [len(rows) for rows in (splits.train, splits.dev, splits.test)] == [4, 1, 1]
    assert load_splits(config.model_copy(update={"test": None}), seed=0, content=Text).test is None


def test_a_fraction_that_leaves_no_dev_row_is_refused(made: Made) -> None:
    with pytest.raises(
        DataError, match=r"^data\.dev: no label of the 2 training rows has more than 1 different"
    ):
        load_splits(DataConfig(train=made("a.csv", csv_of(2))), seed=0, content=Text)


def test_a_label_of_three_texts_gives_one_each_to_train_dev_and_test(made: Made) -> None:
    rare = "".join(f"rare {i},rare\n" for i in range(3)) + "".join(f"two {i},two\n" for i in range(2))
    name = made("a.csv", csv_of(200) + rare)
    for seed in range(5):
        splits = load_splits(DataConfig(train=name, dev=0.1, test=0.1), seed=seed, content=Text).by_name()
        labels = {split: [row.content.label for row in rows] for split, rows in splits.items()}
        assert [labels[split].count("rare") for split in ("train", "dev", "test")] == [1, 1, 1]
        assert [labels[split].count("two") for split in ("train", "dev", "test")] == [1, 1, 0]


def test_test_rows_are_cut_from_train_before_dev_is(made: Made) -> None:
    name = made("a.csv", csv_of(40))
    splits = load_splits(DataConfig(train=name, dev=0.4, test=0.25), seed=3, content=Text)
    assert splits.test is not None
    parts = [[row.content.text for row in rows] for rows in (splits.train, splits.dev, splits.test)]
    assert [len(part) for part in parts] == [18, 12, 10]  # dev: of the 30 rows that test leaves
    assert sorted(text for part in parts for text in part) == sorted(f"text {i}" for i in range(40))
    other_dev = load_splits(DataConfig(train=name, dev=0.1, test=0.25), seed=3, content=Text).test
    other_seed = load_splits(DataConfig(train=name, test=0.25), seed=4, content=Text).test
    assert other_dev is not None
    assert other_seed is not None
    assert other_dev.digest() == splits.test.digest() != other_seed.digest()


def test_folds_cover_train_whatever_the_seed_and_dev(made: Made) -> None:
    name = made("a.csv", csv_of(40))
    held_out = []
    for number in (1, 2, 3):
        config = DataConfig(train=name, dev=0.2, test=f"fold:{number}/3")
        splits, again = (
            load_splits(config, seed=0, content=Text),
            load_splits(config, seed=number, content=Text),
        )
        assert splits.test is not None
        assert again.test is not None
        assert splits.test.digest() == again.test.digest()
        here = [row.content.text for row in splits.test]
        assert len(splits.train) + len(splits.dev) + len(here) == 40
        assert not {row.content.text for row in splits.train} & set(here)
        held_out += here
    assert sorted(held_out) == sorted(f"text {i}" for i in range(40))


def test_folds_without_a_row_are_refused(made: Made) -> None:
    name = made("a.csv", csv_of(6))
    with pytest.raises(
        DataError, match=r"^data\.test: no label of the 4 training rows has more than 2 different"
    ):
        load_splits(DataConfig(train=made("b.csv", csv_of(4)), dev=0.5, test=0.1), seed=0, content=Text)
    for number in (1, 8):
        with pytest.raises(DataError, match=r"^data\.test: 8 folds of 6 training rows leave 2 folds without"):
            load_splits(DataConfig(train=name, dev=0.5, test=f"fold:{number}/8"), seed=0, content=Text)


# --- groups ------------------------------------------------------------------------------------------------------

GROUPED = [(f"text {i}", "ab"[i % 2], f"author {i // 10}" if i < 90 else "") for i in range(100)]


def grouped_file(made: Made, kind: str) -> str:
    """Texts of nine authors, ten each, and ten texts whose author is unknown, in a file of this kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    match kind:
        case "csv":
            return made("a.csv", "text,label, Author\n" + "".join(f"{t},{c},{a}\n" for t, c, a in GROUPED))
        case "jsonl":
            lines = [json.dumps({"text": t, "label": c, "by": {"author": a or None}}) for t, c, a in GROUPED]
            return made("a.jsonl", "\n".join(lines))
        case _:
            name = made("a.parquet", "")
            columns = zip(*GROUPED, strict=True)
            pq.write_table(pa.table(dict(zip(("text", "label", "author"), columns, strict=True))), name)
            return name


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_of_one_group_go_to_one_split(made: Made, kind: str) -> None:
    name = grouped_file(made, kind)
    column = "by.author" if kind == "jsonl" else "author"
    config = DataConfig(train=name, dev=0.2, test=0.2, group_column=column)
    author = {text: by for text, _, by in GROUPED}
    for seed in range(2):
        splits = load_splits(config, seed=seed, content=Text)
        found = {
            split: {author[row.content.text] for row in rows} - {""}
            for split, rows in splits.by_name().items()
        }
        assert found["train"] | found["dev"] | found["test"] == {f"author {i}" for i in range(9)}
        assert not found["dev"] & found["train"]
        assert not found["test"] & (found["dev"] | found["train"])
        assert found["dev"]
        assert found["test"]
    alone = config.model_copy(update={"group_column": None})
    assert (
        load_splits(alone, 0, content=Text).dev.digest() != load_splits(config, 0, content=Text).dev.digest()
    )


def test_a_group_column_that_does_nothing_or_too_much_is_refused(made: Made) -> None:
    def refused(said: str, **keys: Any) -> None:
        with pytest.raises(DataError, match=said):
            load_splits(DataConfig(**{"dev": 0.2, "group_column": "author", **keys}), 0, content=Text)

    name = grouped_file(made, "csv")
    refused(
        r'^a\.csv:1: no column "autor" .* Did you mean " Author"\? Set data.group_column',
        train=name,
        group_column="autor",
    )
    refused(
        "^data.group_column: nothing reads author, because no rows are cut from train", train=name, dev=name
    )
    refused(
        r"^data.group_column: names a column, author, and a.txt has none",
        train={"a": made("a.txt", "one\ntwo\n")},
    )
    one = made("one.csv", "text,label,author\n" + "".join(f"text {i},{'ab'[i % 2]},me\n" for i in range(40)))
    refused(r"^data\.dev: no label of the 40 training rows is in more than 1 of the 1 groups", train=one)
    refused(r"^data\.test: 3 folds .* \(all rows of one author are in one fold\)", train=one, test="fold:1/3")


@pytest.mark.parametrize("split", ["dev", "test"])
def test_rows_without_a_time_cannot_be_cut_by_one(made: Made, split: str) -> None:
    name = grouped_file(made, "csv")
    config = DataConfig(**{"train": name, "dev": 0.2, split: "from:2024-01-01"})
    with pytest.raises(
        DataError, match=rf"^data\.{split}: from:2024-01-01 cuts rows by their time, and only"
    ):
        load_splits(config, 0, content=Text)
    with pytest.raises(ValidationError, match="must name rows"):
        DataConfig(train="from:2024-01-01")


def test_rows_to_score_or_predict_need_no_group(made: Made) -> None:
    name = made("b.csv", "text,label\nhello,a\n")
    config = DataConfig(train="a.csv", group_column="author")
    assert [row.group for row in open_rows(name, config, "test", labelled=True, content=Text)] == [None]
    assert len(list(open_rows(name, config, "predict", labelled=False, content=Text))) == 1


# --- files that change while they are in use ---------------------------------------------------------------------


def packed(name: str, content: bytes) -> bytes:
    import pyarrow as pa

    match name.rpartition(".")[2]:
        case "gz":
            return gzip.compress(content, mtime=0)
        case "xz":
            return lzma.compress(content)
        case "zst":
            return bytes(pa.Codec("zstd").compress(content, asbytes=True))
        case _:
            return content


def parquet(text: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"text": [text, "x"], "label": ["a", "b"], "other": ["y", "z"]}), out)
    return out.getvalue()


CSV, JSONL = "text,label\n{},a\nx,b\n", '{{"text": "{}", "label": "a"}}\n{{"text": "x", "label": "b"}}\n'
KINDS: dict[str, tuple[Any, dict[str, str], dict[str, Any]]] = {
    "csv": ("a.csv", {"a.csv": CSV}, {}),
    "tsv": ("a.tsv", {"a.tsv": "text\tlabel\n{}\ta\nx\tb\n"}, {}),
    "jsonl": ("a.jsonl", {"a.jsonl": JSONL}, {}),
    "json": ("a.json", {"a.json": '[{{"text": "{}", "label": "a"}}, {{"text": "x", "label": "b"}}]'}, {}),
    "fasttext": ("a.txt", {"a.txt": "__label__a {}\n__label__b x\n"}, {}),
    "lines": ("a.txt", {"a.txt": "{}\nx\n"}, {"labelled": False}),
    "gz": ("a.csv.gz", {"a.csv.gz": CSV}, {}),
    "xz": ("a.csv.xz", {"a.csv.xz": CSV}, {}),
    "zst": ("a.jsonl.zst", {"a.jsonl.zst": JSONL}, {}),
    "parquet": ("a.parquet", {"a.parquet": ""}, {}),
    "class folders": ("d", {"d/a/1": "{}", "d/b/2": "x", "d/readme": "no row"}, {}),
    "documents": ("d", {"d/1": "{}", "d/e/2": "x"}, {"labelled": False}),
    "a glob": ("*.csv", {"a.csv": CSV, "b.csv": CSV}, {}),
    "a list": (["b.tsv", "a.csv"], {"b.tsv": "text\tlabel\nx\tb\n", "a.csv": CSV}, {}),
    "a file a class": ({"a": "a.txt", "b": "b.txt"}, {"a.txt": "{}\n", "b.txt": "x\n"}, {}),
    "texts": ({"text": "t", "labels": "l"}, {"t": "{}\nx\n", "l": "a\nb\n"}, {}),
    "labels": ({"text": "t", "labels": "l"}, {"t": "x\ny\n", "l": "{}\nb\n"}, {}),
    "names": ({"text": "t", "labels": "l", "names": "n"}, {"t": "x\ny\n", "l": "0\n1\n", "n": "{}\nb\n"}, {}),
}


def written(kind: str, text: str, made: Made) -> None:
    for name, content in KINDS[kind][1].items():
        made(name, parquet(text) if name == "a.parquet" else packed(name, content.format(text).encode()))
        os.utime(name, (1, 1))  # neither size nor time of the file show the change


def rows_of(kind: str) -> Rows[Text]:
    paths, _, keys = KINDS[kind]
    config = DataConfig(train=paths)
    return open_rows(paths, config, "train", keys.get("labelled", True), content=Text)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_hashed_is_what_is_read(made: Made, kind: str) -> None:
    written(kind, "one", made)
    hashed, read = rows_of(kind), rows_of(kind)
    assert len(list(read)) >= 2
    assert list(read) == list(read)
    with pytest.MonkeyPatch.context() as patch:  # the readings have hashed everything that yields rows
        patch.setattr("lstm_cli.data.sources.sha256_of_file", None)
        digest = read.digest()
    assert digest == hashed.digest()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_changes_after_it_was_hashed_or_read_is_refused(made: Made, kind: str) -> None:
    written(kind, "one", made)
    hashed, read = rows_of(kind), rows_of(kind)
    view = read.select(np.arange(len(read)) < 1)
    hashed.digest()
    written(kind, "two", made)
    for rows in (hashed, read, view):
        with pytest.raises(
            DataError, match=r": has changed since it was read first\. Do not change the files"
        ):
            list(rows)
    assert len(list(rows_of(kind))) >= 2


def test_a_document_that_is_new_gone_or_renamed_is_noticed(made: Made, opened: Open) -> None:
    for name in ("d/a/1", "d/a/2", "d/b/3"):
        made(name, name)
    rows = opened("d")
    assert len(rows) == 3
    made("d/a/4", "new")
    with pytest.raises(DataError, match=r"^d: has changed"):
        list(rows)
    Path("d/a/4").unlink()
    assert len(list(rows)) == 3
    Path("d/a/1").rename("d/b/1")
    with pytest.raises(DataError, match=r"^d: has changed"):
        list(rows)


def test_a_parquet_file_that_is_written_to_while_it_is_read_is_refused(made: Made, opened: Open) -> None:
    rows = opened(made("a.parquet", parquet("one")))
    reading = iter(rows)
    next(reading)
    os.utime("a.parquet", (2, 2))
    with pytest.raises(DataError, match="has changed"):
        list(reading)


def test_a_reading_that_stops_early_hashes_nothing(made: Made, opened: Open) -> None:
    rows = opened(made("a.csv", csv_of(50_000)))
    reading = iter(rows)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert len(rows) == 50_000
    assert rows.files() == {"a.csv": hashlib.sha256(csv_of(50_000).encode()).hexdigest()}
