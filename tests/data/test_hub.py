"""Hub data sets, from a local folder of the Hub's layout."""

from __future__ import annotations

from collections.abc import Callable
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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """`hub:` and the folder of a data set."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
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
        ("@valid", "split valid cannot be loaded: .*train.*validation.*hub:NAME"),
        (":other", "other.*plain.*extra"),
        ("-not-there", "cannot be loaded"),
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
