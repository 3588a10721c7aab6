"""Hub data sets, from a local folder of the Hub's layout."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lstm_cli.data.sources import DataConfig, load_splits
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError
from tests.data.conftest import Open

Pairs = Callable[..., list[tuple[str, str | None]]]

README = """---
dataset_info:
- config_name: plain
  features: &features
  - name: id
    dtype: int64
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names: {'0': neg, '1': pos}
- config_name: extra
  features: *features
configs:
- config_name: plain
  default: true
  data_files:
  - {split: train, path: data/train-*}
  - {split: validation, path: data/validation-*}
  - {split: test, path: data/test-*}
- config_name: extra
  data_files:
  - {split: train, path: extra/*}
---
"""
FILES: dict[str, list[tuple[str, int]]] = {
    "data/train-00000-of-00002": [("good", 1), ("bad", 0)],
    "data/train-00001-of-00002": [("NA", 1)],
    "data/validation-00000-of-00001": [("so so", 0)],
    "data/test-00000-of-00001": [("kept back", -1)],
    "extra/train-00000-of-00001": [("more", 1)],
}


def isolate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """`hub:` and the folder of a data set."""
    isolate(tmp_path, monkeypatch)
    repository = tmp_path / "set"
    for name, rows in FILES.items():
        path = repository / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.table({"id": range(len(rows)), "text": [r[0] for r in rows], "label": [r[1] for r in rows]}),
            path,
        )
    (repository / "README.md").write_text(README)
    return f"hub:{repository}"


def test_a_data_set_gives_the_split_of_the_role_and_the_names_of_its_classes(hub: str, opened: Open) -> None:
    splits = load_splits(DataConfig(train=hub, dev=hub), seed=0, content=Text)
    assert [(row.content.text, row.content.label) for row in splits.train] == [
        ("good", "pos"),
        ("bad", "neg"),
        ("NA", "pos"),
    ]
    assert [row.where() for row in splits.train] == [f"{hub}@train:{line}" for line in (1, 2, 3)]
    assert [(row.content.text, row.content.label) for row in splits.dev] == [("so so", "neg")]
    (row,) = opened(hub, role="test", labelled=False, keep_fields=True)
    assert (row.content.text, row.fields) == ("kept back", {"id": "0", "label": ""})


def test_a_config_and_a_split_can_be_named(hub: str, pairs: Pairs) -> None:
    assert pairs(f"{hub}:extra@train", role="dev") == [("more", "pos")]
    assert pairs([f"{hub}@validation", f"{hub}:extra"]) == [("so so", "neg"), ("more", "pos")]


def test_a_label_of_minus_one_is_no_label(hub: str, pairs: Pairs) -> None:
    with pytest.raises(DataError, match=r"@test:1: the label .* is empty"):
        pairs(hub, role="test")


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("@valid", "split valid cannot be loaded: .*train.*validation.*hub:OWNER/NAME"),
        (":other", "other.*plain.*extra"),
        ("-not-there", "neither OWNER/NAME nor a folder; .*hub:FOLDER"),
    ],
)
def test_a_missing_split_or_config_is_named_with_those_that_exist(
    hub: str, pairs: Pairs, ending: str, said: str
) -> None:
    with pytest.raises(DataError, match=f"^{hub}{ending}: .*{said}"):
        pairs(hub + ending)


def test_a_missing_column_of_a_data_set_is_named(hub: str, pairs: Pairs) -> None:
    with pytest.raises(
        DataError, match=r'@train: no column "review" \(have: id, text, label\)\. .*data\.text_column'
    ):
        pairs(hub, text_column="review")


def test_the_digest_of_a_data_set_is_that_of_its_rows(hub: str, opened: Open) -> None:
    rows = opened(hub)
    assert rows.files().keys() == {hub}
    assert rows.digest() == opened(hub).digest() != opened(f"{hub}:extra").digest()


class Canary:
    """What leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def builders() -> dict[str, list[str]]:
    """The names that `datasets` takes for builders of its own, and the endings of the files that each reads."""
    from datasets import packaged_modules

    known = packaged_modules._MODULE_TO_EXTENSIONS
    return {name: known.get(name, []) for name in packaged_modules._PACKAGED_DATASETS_MODULES}


@pytest.fixture
def payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which every kind of file is a pickle."""
    isolate(tmp_path, monkeypatch)
    folder = tmp_path / "work"
    folder.mkdir()
    content = pickle.dumps(Canary(tmp_path / "canary"))
    for ending in {
        ".pkl",
        ".pickle",
        ".pt",
        ".npy",
        *(ending for all in builders().values() for ending in all),
    }:
        (folder / f"train{ending}").write_bytes(content)
    monkeypatch.chdir(folder)
    return folder


def test_the_payload_is_live(payload: Path, tmp_path: Path) -> None:
    pickle.loads((payload / "train.pkl").read_bytes())  # noqa: S301
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", builders())
def test_the_name_of_a_builder_names_no_data_set_and_reads_nothing_of_the_working_folder(
    payload: Path, pairs: Pairs, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import datasets

    asked: list[object] = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *arguments, **options: asked.append(arguments))
    for source in (f"hub:{name}", f"hub:{name}:default@train"):
        with pytest.raises(DataError, match=f"'{name}' is neither OWNER/NAME nor a folder"):
            pairs(source)
    assert not asked


@pytest.mark.filterwarnings("ignore")  # of the readers
@pytest.mark.parametrize("name", builders())
def test_a_folder_with_the_name_of_a_builder_is_a_folder_and_its_pickles_do_not_run(
    payload: Path, tmp_path: Path, pairs: Pairs, name: str
) -> None:
    (payload / name).mkdir()
    for ending in (*builders()[name], ".pkl", ".pt"):
        if not ending.endswith(".zip"):
            (payload / name / f"train{ending}").write_bytes((payload / "train.pkl").read_bytes())
    with pytest.raises(DataError, match=rf"hub:{name}"):
        pairs(f"hub:{name}@train")
    assert not (tmp_path / "canary").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", builders())
def test_no_builder_of_the_installed_release_unpickles_a_file(
    payload: Path, tmp_path: Path, name: str
) -> None:
    import datasets

    files = [str(payload / f"train{ending}") for ending in (".pkl", *builders()[name])]
    for file in files:
        with suppress(Exception):  # of whatever kind
            datasets.load_dataset(name, data_files={"train": [file]}, split="train")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "name", ["", "../x", "a", "/nowhere/at/all", "https://example.org/a", "a/b/c", "a//b"]
)
def test_a_name_of_another_form_is_refused_before_anything_is_loaded(
    pairs: Pairs, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # "../x" may be a folder beside the checkout
    with pytest.raises(DataError, match=r"neither OWNER/NAME nor a folder|cannot be loaded"):
        pairs(f"hub:{name}")


@pytest.mark.parametrize("fault", [KeyError("x"), AssertionError(), ImportError("no module"), MemoryError()])
def test_whatever_the_loader_raises_is_an_error_in_the_data(
    hub: str, pairs: Pairs, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    import datasets

    def fail(*arguments: object, **options: object) -> None:
        raise fault

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match=r"cannot be loaded: .*hub:OWNER/NAME"):
        pairs(f"{hub}@other")
    monkeypatch.undo()
