"""Tagged sentences: CoNLL-U, columns, and lists of words and tags."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lstm_cli.data.config import DataConfig
from lstm_cli.data.conll import with_tags
from lstm_cli.data.sources import open_rows
from lstm_cli.data.tagged import Words
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError

Made = Callable[[str, str | bytes], str]

CONLLU = """# sent_id = 1
# text = Don't go
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVBP\tMood=Imp\t3\taux\t_\tSpaceAfter=No
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
2.1\tyou\tyou\tPRON\tPRP\t_\t_\t_\t3:nsubj\t_
3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_

# sent_id = 2
1\tNow\tnow\tADV\tRB\t_\t0\troot\t_\t_
"""
COLUMNS = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

Peter\tBlackburn\tI-PER
"""


def read(path: str, *, labelled: bool = True, **keys: Any) -> list[tuple[tuple[str, ...], Any]]:
    rows = open_rows(path, DataConfig(train=path, **keys), "train", labelled, content=Words)
    return [(row.content.words, row.content.tags) for row in rows]


def fault(path: str, *, labelled: bool = True, **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, labelled=labelled, **keys)
    return str(caught.value)


def test_comments_ranges_and_empty_nodes_are_no_words(made: Made) -> None:
    name = made("a.conllu", CONLLU)
    assert read(name) == [(("Do", "n't", "go"), ("AUX", "PART", "VERB")), (("Now",), ("ADV",))]
    assert read(name, tag_column="xpos")[1] == (("Now",), ("RB",))
    assert read(name, tag_column="8")[1] == (("Now",), ("root",))
    assert read(name, labelled=False)[1] == (("Now",), None)
    rows = list(open_rows(name, DataConfig(train=name), "train", True, content=Words))
    assert [row.line for row in rows] == [1, 9]


def test_columns_stand_apart_by_spaces_or_tabs(made: Made) -> None:
    name = made("a.conll", COLUMNS)
    assert read(name) == [(("EU", "rejects"), ("B-ORG", "O")), (("Peter",), ("I-PER",))]
    assert read(name, tag_column="2")[0][1] == ("NNP", "VBZ")
    assert read(made("b.txt", COLUMNS.replace("\n", "\r\n")), format="conll") == read(name)
    assert read(made("c.bio", "one\ntwo\n\nthree\n"), labelled=False) == [
        (("one", "two"), None),
        (("three",), None),
    ]


def test_lines_are_kept_to_be_written_back(made: Made) -> None:
    name = made("a.conllu", CONLLU)
    config = DataConfig(train=name)
    for keeps in (True, False):
        rows = list(
            open_rows(name, config, "predict", False, keep_fields=True, keep_text=keeps, content=Words)
        )
        kept = [row.fields["conll"] for row in rows if row.fields]
        assert kept == (CONLLU.rstrip("\n").split("\n\n") if keeps else [])


def test_lists_of_words_and_tags_in_json_and_in_cells(made: Made) -> None:
    lines = [{"words": ["A", "word"], "tags": ["DET", "NOUN"]}, {"words": ["x"], "tags": ["X"]}]
    expected = [(("A", "word"), ("DET", "NOUN")), (("x",), ("X",))]
    assert read(made("a.jsonl", "\n".join(map(json.dumps, lines)))) == expected
    other = [{"tokens": one["words"], "ner": one["tags"]} for one in lines]
    assert (
        read(made("b.jsonl", "\n".join(map(json.dumps, other))), words_column="tokens", tag_column="ner")
        == expected
    )
    cells = 'words,tags\n"[""A"", ""word""]","[""DET"", ""NOUN""]"\n"[""x""]","[""X""]"\n'
    assert read(made("c.csv", cells)) == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.conllu", "1\tA\tDET\n", "a.conllu:1: 3 columns, where CoNLL-U has 10"),
        ("a.conllu", "# c\nA\ta" + "\t_" * 8, 'a.conllu:2: the line begins with "A"'),
        ("a.conllu", "1\t \t_\tDET" + "\t_" * 6, "a.conllu:1: the word (column 2, form) is empty"),
        ("a.conllu", "1\tA" + "\t_" * 8, "a.conllu:1: the tag (column 4) is empty"),
        ("a.conllu", CONLLU.replace("\t", "    "), "a.conllu:3: 1 columns, where CoNLL-U has 10"),
        ("a.conll", "one A\ntwo\n", "a.conll:2: no column 2 with a tag, only 1 column"),
        ("a.conll", "one\t \n", "a.conll:1: the tag (column 2) is empty"),
        ("a.conll", b"caf\xe9 A\n", "a.conll:1: not valid UTF-8"),
        (
            "a.jsonl",
            '{"words": "A word", "tags": ["X"]}',
            'a.jsonl:1: column "words" holds a text where a list',
        ),
        (
            "a.jsonl",
            '{"words": ["A"], "tags": ["X", "Y"]}',
            'a.jsonl:1: column "tags" has 2 tags for the 1 words',
        ),
        ("a.jsonl", '{"words": ["A", 1], "tags": ["X", "Y"]}', 'column "words" holds a int at place 2'),
        ("a.jsonl", '{"words": ["A", " "], "tags": ["X", "Y"]}', 'column "words" is empty at place 2'),
        ("a.jsonl", '{"words": {"a": 1}, "tags": []}', 'column "words" holds a dict where a list of texts'),
        ("a.jsonl", '{"tokens": ["A"], "tags": ["X"]}', 'no column "words" (have: tokens, tags)'),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(made: Made, name: str, content: str, said: str) -> None:
    assert said in fault(made(name, content))


def test_a_column_that_the_format_does_not_have_is_refused(made: Made) -> None:
    name = made("a.conllu", CONLLU)
    assert fault(name, tag_column="upso").endswith('Did you mean "upos"? Set data.tag_column')
    assert "has no column 11" in fault(name, tag_column="11")
    assert "has no column 1 " in fault(name, tag_column="1")
    assert "the number of a column" in fault(made("a.conll", COLUMNS), tag_column="ner")
    assert (
        fault(made("b.conll", COLUMNS), tag_column="9") == "b.conll:3: no column 9 with a tag, only 4 columns"
    )


def test_a_task_that_reads_texts_refuses_tagged_sentences(made: Made) -> None:
    name = made("a.conllu", CONLLU)
    with pytest.raises(
        DataError, match=r"^a\.conllu: sentences with a tag for each word, .* try task\.kind: tag"
    ):
        list(open_rows(name, DataConfig(train=name), "train", True, content=Text))


@pytest.mark.parametrize(
    ("block", "column", "expected"),
    [
        ("EU  NNP   B-NP O\nx NN I O", None, "EU  NNP   B-NP A\nx NN I B"),
        ("EU NNP O\nx NN O", "2", "EU A O\nx B O"),
        ("a\t\tO\r\nb\tN\tO\r", None, "a\t\tA\nb\tN\tB"),
        ("one\ntwo", None, "one\tA\ntwo\tB"),
        ("one X\ntwo X", "4", "one X A\ntwo X B"),
        ("-DOCSTART- -X- O\none O\ntwo O", None, "-DOCSTART- -X- O\none A\ntwo B"),
    ],
)
def test_tags_are_written_back_in_their_column_alone(block: str, column: str | None, expected: str) -> None:
    assert with_tags(block, ["A", "B"], column) == expected


def test_comments_ranges_and_other_columns_are_written_back_as_they_were() -> None:
    first = CONLLU.split("\n\n", maxsplit=1)[0]
    assert with_tags(first, ["AUX", "PART", "VERB"], None) == first
    changed = with_tags(first, ["X", "Y", "Z"], "xpos").split("\n")
    assert [line.split("\t")[4] for line in changed[3:5]] == ["X", "Y"]
    assert [line for line in changed if line[:1] == "#" or line[:2] in ("1-", "2.")] == [
        line for line in first.split("\n") if line[:1] == "#" or line[:2] in ("1-", "2.")
    ]


def test_lines_without_a_word_that_stand_alone_are_written_back(made: Made) -> None:
    for name, text in (
        ("a.conllu", "# newdoc\n\n" + CONLLU + "\n# the end\n"),
        ("a.conll", COLUMNS + "\n-DOCSTART- O\n\nlast\tO\n\n-DOCSTART- O\n"),
    ):
        path = made(name, text)
        rows = list(
            open_rows(
                path, DataConfig(train=path), "predict", True, keep_fields=True, keep_text=True, content=Words
            )
        )
        blocks = [with_tags(row.fields["conll"], row.content.tags or (), None) for row in rows if row.fields]
        assert "\n\n".join(blocks) + "\n" == text
        assert [text.splitlines()[row.line - 1].startswith("-DOC") for row in rows] == [False] * len(rows)
    lines = made("b.conll", "-DOCSTART- O\n\n-DOCSTART- O\n")
    assert read(lines) == []


def test_an_empty_list_is_refused_with_its_line(made: Made) -> None:
    path = made("a.jsonl", '{"words": ["a"], "tags": ["X"]}\n{"words": [], "tags": []}\n')
    assert fault(path) == f'{path}:2: column "words" is an empty list; remove the row'
