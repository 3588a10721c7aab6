"""Folders that hold something else than texts in classes: they are refused with what they hold and what to give.

`data.format: folder` says that each sub-folder is a class and each file a text, whatever their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lstm_cli.config.guess_columns import MOST_ROWS, first_error
from lstm_cli.data.class_files import describes_data, is_split, text_files_in
from lstm_cli.data.config import DataConfig
from lstm_cli.data.documents import class_folders, files_below
from lstm_cli.data.find import kind_of_name
from lstm_cli.data.rows import Row
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError

_NEEDED = "give a folder with one sub-folder for each class and a text in each file"
_AS_CLASSES = "if each sub-folder is a class and each file a text: --set data.format=folder"
_MANY_OTHERS = 10
# fmt: off
_CODE = {
    ".js", ".jsx", ".mjs", ".ts", ".tsx", ".vue", ".svelte", ".css", ".scss", ".less", ".html", ".map", ".svg",
    ".py", ".pyi", ".ipynb", ".java", ".kt", ".scala", ".c", ".h", ".cc", ".cpp", ".hpp", ".cs", ".go", ".rs", ".rb",
    ".php", ".swift", ".lua", ".pl", ".r", ".sh", ".bat", ".ps1", ".sql", ".json", ".toml", ".yaml", ".yml", ".lock",
    ".ini", ".cfg", ".xml",
}
_OF_A_PROGRAM = {
    ".git", "node_modules", "package.json", "tsconfig.json", "composer.json", "index.html", "index.js", "index.ts",
    "main.js", "main.ts", "app.js", "pyproject.toml", "setup.py", "requirements.txt", "__init__.py", "main.py",
    "app.py", "manage.py", "cargo.toml", "go.mod", "main.go", "pom.xml", "build.gradle", "makefile", "gemfile",
    "cmakelists.txt", "dockerfile",
}
"""What lies at the top of a program's source, in lower case. Sub-folders of code alone may be classes."""
# fmt: on


def refuse_by_names(source: str, reading: DataConfig) -> None:
    """Raise DataError for a folder that by the names of its files is not one of texts in classes."""
    folder = Path(source)
    if not folder.is_dir() or reading.format != "auto":
        return
    if classes := class_folders(source):
        _refuse_splits(folder, classes)
        inside = [Path(one, name) for one in classes for name in files_below(str(folder / one))]
        _refuse_tables(folder, inside)
        _refuse_program(folder, inside)
    else:
        _refuse_other_files(folder)


def _refuse_splits(folder: Path, classes: Sequence[str]) -> None:
    splits = {one.lower()[:4]: folder / one for one in classes if is_split(one)}
    if len(splits) == len(classes):
        test = f", with --set data.test={splits['test']}" if {"test", "trai"} <= splits.keys() else ""
        raise DataError(
            f"{folder}: its sub-folders are named after splits ({', '.join(classes)}) and not after classes; give "
            f"{splits.get('trai', folder / classes[0])}{test}"
        )


def _refuse_tables(folder: Path, inside: Sequence[Path]) -> None:
    tables = [path for path in inside if kind_of_name(path.name) not in (None, "text")]
    if 2 * len(tables) > len(inside):
        rows = folder / "*" / f"*{_usual_ending(tables)}"
        raise DataError(
            f"{folder}: {len(tables):,} of {len(inside):,} files in its sub-folders are tables, such as "
            f"{folder / tables[0]}; if their rows have labels, give '{rows}'; {_AS_CLASSES}"
        )


def _refuse_program(folder: Path, inside: Sequence[Path]) -> None:
    code = [path for path in inside if path.suffix.lower() in _CODE]
    signs = sorted(one.name for one in folder.iterdir() if one.name.lower() in _OF_A_PROGRAM)
    if signs and 2 * len(code) > len(inside):
        raise DataError(
            f"{folder}: the source of a program: {signs[0]}, and {len(code):,} of {len(inside):,} files in its "
            f"sub-folders are code, such as {folder / code[0]}; {_NEEDED}; {_AS_CLASSES}"
        )


def _refuse_other_files(folder: Path) -> None:
    """Raise DataError for a folder without sub-folders in which few files or none are texts."""
    texts = text_files_in(folder)
    visible = [one for one in folder.iterdir() if one.name[0] != "." and not describes_data(one)]
    others = sorted(one for one in visible if str(one) not in texts)
    if len(others) < (max(_MANY_OTHERS, len(texts)) if len(texts) >= 2 else 1):
        return
    if tables := [one for one in others if kind_of_name(one.name)]:
        instead = f"give one of them, such as {tables[0]}, or all: '{folder / f'*{_usual_ending(tables)}'}'"
    else:
        instead = f"{_NEEDED}, or with one text file for each class and a text on each line"
    raise DataError(
        f"{folder}: no sub-folders, {_count(texts, 'text file')} and {_count(others, 'other file')}, such as "
        f"{(tables or others)[0].name}; {instead}"
    )


def _count(files: Sequence[object], what: str) -> str:
    return f"{len(files):,} {what}{'s' * (len(files) != 1)}"


def _usual_ending(paths: Sequence[Path]) -> str:
    return Counter(path.suffix for path in paths).most_common(1)[0][0]


def refuse_unreadable(source: str, read: Sequence[Row[Text]]) -> None:
    """Raise DataError for a folder of which more than half of the files read are not text."""
    if not Path(source).is_dir():
        return
    what = "files" if len({row.path for row in read}) == len(read) else "lines"
    of = f"of {'the first ' if len(read) == MOST_ROWS else ''}{len(read):,} {what}"
    broken = [row for row in read if row.error is not None]
    if 2 * len(broken) > len(read):
        raise DataError(
            f"{source}: {len(broken):,} {of} cannot be read as text. The first: {first_error(source, broken)}"
        )
    zeros = [row for row in read if "\0" in row.content.text]
    if 2 * len(zeros) > len(read):
        raise DataError(
            f"{source}: {len(zeros):,} {of} hold zero bytes, such as {zeros[0].where()}, so they are not text, or not "
            f"in UTF-8; try --set data.encoding=utf-16-le, or {_NEEDED}"
        )
