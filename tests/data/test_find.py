"""Paths, globs and lists to sources, and what is said of a path that is not there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lstm_cli.errors import DataError
from tests.data.conftest import Open

Made = Callable[[str, str | bytes], str]
Pairs = Callable[..., list[tuple[str, str | None]]]

CSV = "text,label\n{},x\n"


def test_globs_are_sorted_and_lists_keep_their_order(made: Made, opened: Open) -> None:
    for name in ("p/b.csv", "p/a.csv", "q/deep/c.csv", "p/.hidden.csv"):
        made(name, CSV.format(name))
    made("z.jsonl", '{"text": "z", "label": "x"}')
    rows = opened(["z.jsonl", "**/*.csv", "p/b.csv"])
    assert rows.sources == ("z.jsonl", "p/a.csv", "p/b.csv", "q/deep/c.csv", "p/b.csv")
    assert [row.content.text for row in rows] == ["z", "p/a.csv", "p/b.csv", "q/deep/c.csv", "p/b.csv"]
    assert [row.path for row in rows] == list(rows.sources)
    assert opened(str(Path("p").absolute() / "*.csv")).sources == tuple(
        str(Path("p").absolute() / name) for name in ("a.csv", "b.csv")
    )


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(made: Made, pairs: Pairs) -> None:
    assert pairs(made("a[1].csv", CSV.format("here"))) == [("here", "x")]


def test_a_home_folder_is_expanded(
    made: Made, pairs: Pairs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made("a.csv", CSV.format("here"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pairs("~/a.csv") == [("here", "x")]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("trian.csv", r'^data\.train: no file or folder trian\.csv\. Did you mean "train\.csv"\?'),
        (
            "nothing/like.csv",
            r"no file or folder nothing/like\.csv: there is no folder nothing \(the working folder is /",
        ),
        ("*.parquet", r"^data\.train: no file matches \*\.parquet \(/.* has: notes\.pdf, train\.csv\)"),
        ("x*/y?.csv", r"no file matches x\*/y\?\.csv"),
        (
            "notes.pdf",
            r"notes\.pdf: the file name does not show the format \(known: \.csv .*data\.format: csv",
        ),
    ],
)
def test_a_path_that_cannot_be_read_says_what_there_is(
    made: Made, opened: Open, path: str, said: str
) -> None:
    made("train.csv", CSV)
    made("notes.pdf", "text,label\na,x\n")
    with pytest.raises(DataError, match=said):
        opened(path)


def test_the_key_is_that_of_the_role(made: Made, opened: Open) -> None:
    made("a.csv", CSV)
    with pytest.raises(DataError, match=r"^data\.dev: no file"):
        opened("b", role="dev")
    with pytest.raises(DataError, match=r"^no file"):
        opened("b", role="predict")


def test_data_format_overrides_the_file_name(made: Made, pairs: Pairs) -> None:
    assert pairs(made("notes.pdf", "text\tlabel\na,b\tx\n"), format="tsv") == [("a,b", "x")]
    with pytest.raises(DataError, match=r"a file, but data\.format is folder"):
        pairs("notes.pdf", format="folder")
    assert pairs(made("a.csv", CSV.format("a")), format="folder", labelled=False) == [("a", None)]


def test_a_pipe_is_refused_because_it_can_be_read_only_once(made: Made, opened: Open) -> None:
    made("a.csv", CSV)
    if sys.platform == "win32":
        pytest.skip("needs named pipes")
    os.mkfifo("pipe.csv")
    with pytest.raises(DataError, match="not a regular file"):
        opened("pipe.csv")


def test_a_file_that_is_gone_when_it_is_read_is_named(made: Made, opened: Open) -> None:
    rows = opened(made("a.csv", CSV))
    Path("a.csv").unlink()
    with pytest.raises(DataError, match=r"^a\.csv: cannot be read: No such file or directory$"):
        list(rows)
    with pytest.raises(DataError, match=r"^a\.csv: cannot be read"):
        rows.digest()


def test_an_unknown_built_in_corpus_is_refused(opened: Open) -> None:
    with pytest.raises(
        DataError, match=r'builtin:review: no such built-in corpus .*Did you mean "builtin:reviews"\?'
    ):
        opened("builtin:review")


def test_the_built_in_corpus_has_the_rows_of_the_role(opened: Open) -> None:
    splits = {
        role: [row.content.text for row in opened("builtin:reviews", role=role)]
        for role in ("train", "dev", "test")
    }
    assert min(len(texts) for texts in splits.values()) >= 100
    assert len(splits["train"]) > len(splits["test"])
    assert not set(splits["train"]) & set(splits["test"])
    first = next(iter(opened("builtin:reviews", role="dev")))
    assert (first.where(), first.content.label is None) == ("builtin:reviews@dev:1", False)
