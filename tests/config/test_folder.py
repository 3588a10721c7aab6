"""Folders: texts in classes are read, whatever else lies about; a folder that is hardly text is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lstm_cli.config.guess import Given, Guess, guess
from lstm_cli.errors import DataError

PICTURE = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 4
CODE = b"let a = 1; // an index\n"
TEXT = b"a fine film, and a moving one\n"
ROWS = b"id,text\n1,a fine film\n"


def made(folder: Path, files: dict[str, bytes], count: int = 6) -> str:
    """A folder with these files; `#` in a name stands for the numbers below `count`."""
    for name, content in files.items():
        for i in range(count) if "#" in name else (0,):
            path = folder / name.replace("#", str(i))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return str(folder)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"cats/#.jpg": PICTURE, "dogs/#.jpg": PICTURE},
            r"12 of 12 files cannot be read as text\. The first: .*cats.0\.jpg:1: not text: byte 0xFF .* Give text",
        ),
        (
            {"cats/#.jpg": PICTURE, "dogs/#.jpg": PICTURE, "cats/a.txt": TEXT, "dogs/a.txt": TEXT},
            r"12 of 14 files cannot be read as text",
        ),
        (
            {"#.jpg": PICTURE},
            r"no sub-folders, 0 text files and 6 other files, such as 0\.jpg; give a folder with",
        ),
        (
            {"#.jpg": PICTURE, "#.png": PICTURE, "notes.txt": TEXT * 3, "todo.txt": TEXT * 3},
            r"2 text files and 12 other files, such as 0\.jpg",
        ),
        ({"#.csv": ROWS, "a.pdf": PICTURE}, r"give one of them, such as .*0\.csv, or all: '.*\*\.csv'"),
        (
            {"a/#.csv": ROWS, "b/#.csv": ROWS},
            r"12 of 12 files in its sub-folders are tables.* give '.*\.csv'; if",
        ),
        (
            {"src/#.js": CODE, "style/#.css": CODE, "docs/#.md": TEXT, "package.json": b"{}"},
            r"the source of a program: package\.json, and 12 of 18 files .* are code, such as .*src.0\.js; .* if each",
        ),
        (
            {"train/pos/#.txt": TEXT, "test/pos/#.txt": TEXT},
            r"named after splits \(test, train\).*; give .*train, with --set data\.test=.*test",
        ),
        (
            {"a/#": bytes(40), "b/#": bytes(40)},
            r"12 of 12 files hold zero bytes, such as .*--set data\.encoding=utf-16",
        ),
        ({"a/#": "è".encode("utf-16"), "b/#": TEXT[:0]}, r"too few|not valid UTF-8"),
        ({"a/#.txt": "é".encode("latin-1") * 9, "b/#.txt": "é".encode("latin-1")}, r"data\.encoding=latin-1"),
        ({"src/#.js": CODE * 2}, r"rows that can be read are too few|all 6 rows have the label 'src'"),
    ],
)
def test_a_folder_that_is_hardly_text_is_refused(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(str(tmp_path))}.*{said}"):
        guess(made(tmp_path, files), Given())


CLASSES = {"pos/#.txt": TEXT, "neg/#.txt": TEXT}


@pytest.mark.parametrize(
    "files",
    [
        CLASSES,
        CLASSES
        | {".DS_Store": bytes(9), "pos/.DS_Store": bytes(9), "README": TEXT, "pos/Thumbs.db": PICTURE},
        CLASSES | {"terms.pdf": PICTURE, "setup.py": CODE, "pos/cover.jpg": PICTURE},
        {"sci.med/#": TEXT, "rec.autos/#": TEXT},
        {"python/#.py": CODE, "java/#.java": CODE},
        {"train/#.txt": TEXT, "car/#.txt": TEXT},
        {"pos.txt": TEXT * 9, "neg.txt": TEXT * 9, "raw.csv": ROWS, "README.md": TEXT, "cover.jpg": PICTURE},
    ],
)
def test_a_folder_of_texts_is_read_whatever_else_lies_about(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert read(made(tmp_path, files)).said[0].startswith("labels: ")


def read(source: str, *overrides: str) -> Guess:
    return guess(source, Given(), overrides)


def test_one_key_says_that_the_sub_folders_are_classes_whatever_their_names(tmp_path: Path) -> None:
    source = made(tmp_path, {"js/#.js": CODE, "css/#.css": CODE, "package.json": b"{}"})
    assert read(source, "data.format=folder").said[0] == "labels: css (6), js (6)"
    with pytest.raises(DataError, match=r"the source of a program.*--set data\.format=folder"):
        read(source)
