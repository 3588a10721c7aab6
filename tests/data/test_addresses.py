"""Files at addresses: the same rows as from the disk, one error for each fault, and no other scheme."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lstm_cli.cli import app
from lstm_cli.data import addresses
from lstm_cli.data.config import DataConfig
from lstm_cli.data.sources import Rows, open_rows
from lstm_cli.data.text import Text
from lstm_cli.errors import ConfigError, DataError
from tests.conftest import small_rows

RUN = str(Path(__file__).parents[1] / "golden" / "lstm")
TEXTS = ["a good film", "bad", "never good", "größer"]
CSV = "text,label\n" + "".join(f"{text},positive\n" for text in TEXTS)
NAMES = ["rows.csv", "rows.csv.gz", "rows.jsonl", "rows.parquet"]


@pytest.fixture(autouse=True)
def memory() -> Iterator[Any]:
    """The empty file system of memory:// addresses."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture
def folder(tmp_path: Path, memory: Any) -> Path:
    """The same rows in four formats, on the disk and at memory://data/."""
    (tmp_path / "rows.csv").write_text(CSV, encoding="utf-8")
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    lines = [json.dumps({"text": text, "label": "positive"}) for text in TEXTS]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    columns = {"text": TEXTS, "label": ["positive"] * len(TEXTS)}
    pq.write_table(
        pa.table({name: list(values) for name, values in columns.items()}), tmp_path / "rows.parquet"
    )
    for name in NAMES:
        memory.pipe(f"/data/{name}", (tmp_path / name).read_bytes())
    return tmp_path


def opened(*paths: str | Path, labelled: bool = True) -> Rows[Text]:
    config = DataConfig(train="none", text_column="text", label_column="label")
    return open_rows(list(map(str, paths)), config, "train", labelled, content=Text)


@pytest.mark.parametrize("name", NAMES)
def test_rows_at_an_address_are_those_of_the_same_file_on_the_disk(folder: Path, name: str) -> None:
    local, remote = opened(folder / name), opened(f"memory://data/{name}")
    assert [row.content for row in remote] == [row.content for row in local]
    assert remote.digest() == local.digest()
    assert next(iter(remote)).path == f"memory://data/{name}"


def test_a_star_names_files_at_an_address(folder: Path) -> None:
    assert len(opened("memory://data/*.csv*")) == 2 * len(TEXTS)
    assert [path.rpartition("/")[2] for path in opened("memory://data/rows.*").sources] == sorted(NAMES)


@pytest.mark.parametrize(("name", "ending"), [("rows.csv", "jsonl"), ("rows.parquet", "parquet")])
def test_predict_reads_addresses(folder: Path, name: str, ending: str) -> None:
    outputs = [folder / f"{number}.{ending}" for number in (1, 2)]
    for source, output in zip((str(folder / name), f"memory://data/{name}"), outputs, strict=True):
        result = CliRunner().invoke(app, ["predict", RUN, source, "-o", str(output)])
        assert result.exit_code == 0, result.output
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_a_training_reads_addresses(small_yaml: str, memory: Any, tmp_path: Path) -> None:
    keys = []
    for split in ("train", "dev", "test"):
        memory.pipe(f"/{split}.csv", (tmp_path / f"{split}.csv").read_bytes())
        keys += ["--set", f"data.{split}=memory://{split}.csv"]
    result = CliRunner().invoke(app, ["train", small_yaml, *keys, "--no-baselines", "--epochs", "1"])
    assert result.exit_code == 0, result.output
    assert "memory://train.csv" in (tmp_path / "run" / "config.yaml").read_text("utf-8")


def test_a_training_on_an_address_needs_no_config(memory: Any, tmp_path: Path) -> None:
    lines = "".join(f"{text},{label}\n" for text, label in small_rows(60))
    memory.pipe("/reviews.csv", f"text,label\n{lines}".encode())
    command = ["train", "memory://reviews.csv", "--run", str(tmp_path / "run"), "--dry-run"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "memory://reviews.csv" in result.stdout


def test_a_file_that_changes_between_two_readings_is_noticed(folder: Path, memory: Any) -> None:
    rows = opened("memory://data/rows.csv")
    assert len(rows) == len(TEXTS)
    memory.pipe("/data/rows.csv", CSV.replace("bad", "sad").encode())
    with pytest.raises(DataError, match="has changed"):
        list(rows)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("memory://data/none.csv", "no file memory://data/none.csv"),
        ("memory://data/*.txt", "no file matches"),
        ("memory://data", r"a folder; write a glob such as memory://data/\*.parquet"),
    ],
)
def test_what_is_not_there_is_an_error_with_the_address(folder: Path, address: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        opened(address)


@pytest.mark.parametrize(
    "address",
    ["simplecache::memory://data/rows.csv", "github://a:b@/rows.csv", "reference://x", "ZIP://a.csv"],
)
def test_schemes_that_unpack_or_cache_are_refused(folder: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="are not read; known are"):
        opened(address)


@pytest.mark.parametrize(
    ("address", "package"), [("s3://bucket/rows.csv", "s3fs"), ("gs://b/rows.csv", "gcsfs")]
)
def test_without_the_driver_the_error_names_the_package(
    address: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"try pip install fsspec {package}"):
        opened(address)


def test_an_exception_of_a_driver_is_an_error_of_the_file(
    folder: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ExpiredError(Exception):
        pass

    def refuse(*_: Any, **__: Any) -> Any:
        raise ExpiredError("the token is too old")

    rows = opened("memory://data/rows.csv")
    monkeypatch.setattr(type(memory), "open", refuse)
    with pytest.raises(
        DataError, match=r"memory://data/rows.csv: cannot be read: ExpiredError: the token is too"
    ):
        list(rows)


@pytest.mark.parametrize("path", ["rows.csv", "/data/rows.csv", "C:\\rows.csv", "hub:a/b", "a:b/c.csv"])
def test_the_path_of_a_file_is_no_address(path: str) -> None:
    assert not addresses.is_address(path)
