"""What names rows, what names a config, and what is refused as neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_cli.config.guess import Given, config_for, guess
from lstm_cli.config.source import is_data
from lstm_cli.errors import ConfigError, DataError, LstmclsError


def test_what_names_no_rows_is_a_config(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: {train: x.csv}", "utf-8")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("", "utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "half" / "checkpoints").mkdir(parents=True)
    assert not any(
        is_data(str(tmp_path / name)) for name in ("a.yaml", "run", "empty", "half", "nothing.csv")
    )
    (tmp_path / "empty.csv").write_text("text,label\n", "utf-8")
    with pytest.raises(DataError, match="no rows"):
        guess(str(tmp_path / "empty.csv"), Given())
    (tmp_path / "texts.txt").write_text("one\ntwo\n", "utf-8")
    with pytest.raises(LstmclsError, match="plain text has no labels"):
        guess(str(tmp_path / "texts.txt"), Given())


def test_what_cannot_be_rows_is_refused_with_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "runs" / "first" / "checkpoints").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "reviews.csv").write_text("text,label\n", "utf-8")
    (tmp_path / "sheet.xlsx").write_bytes(b"PK\x03\x04\x00\x01")
    (tmp_path / "posts.zip").write_bytes(b"PK\x03\x04\x00\x01")
    for name, said in {
        "": "holds runs, such as .*first.* give the file of labelled rows, such as .*reviews.csv",
        "runs": "holds runs, such as .*first",
        "empty": "an empty folder; give a file of labelled rows",
        "sheet.xlsx": ".xlsx files are not read; save the sheet as CSV",
        "posts.zip": ".zip files are not read; unpack it",
        "reviws.csv": 'no such file. Did you mean "reviews.csv"',
        "nowhere/a.csv": "no such file, and no folder",
    }.items():
        with pytest.raises(ConfigError, match=said):
            config_for(str(tmp_path / name), Given(), print)


def test_a_glob_names_data(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = "".join(f"a {word} film,{word}\n" for word in ("good", "bad") * 10)
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{rows}", "utf-8")
    said: list[str] = []
    config = config_for(str(tmp_path / "*.csv"), Given(), said.append, trains=True)
    assert "labels: good (20), bad (20)" in said
    assert config.run.dir == f"runs/{tmp_path.name}"
    with pytest.raises(DataError, match="no file matches"):
        config_for(str(tmp_path / "*.tsv"), Given(), print)
    assert not is_data(str(tmp_path / "*.yaml"))
    (tmp_path / "c[1].csv").write_text("text,label\n", "utf-8")
    with pytest.raises(DataError, match="no rows"):  # brackets in the name of a file are no glob
        config_for(str(tmp_path / "c[1].csv"), Given(), print)
