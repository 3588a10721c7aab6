"""A checkpoint is whole or ignored, and nothing in it can run."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lstm_cli.config.load import load_config
from lstm_cli.data.durable import write_file
from lstm_cli.data.sources import load_splits
from lstm_cli.data.text import Text
from lstm_cli.errors import CheckpointError, LstmclsError, NotFiniteError
from lstm_cli.runs import checkpoint
from lstm_cli.runs.checkpoint import MANIFEST, Checkpoint, load_checkpoint, save
from lstm_cli.runtime import start
from lstm_cli.tasks.classify import ClassifyConfig
from lstm_cli.training.fit import EncodedSplits, fit
from lstm_cli.training.state import TrainState

CPU = torch.device("cpu")
GOLDEN = Path(__file__).parents[1] / "golden"


class Saved:
    """A task and a state one epoch into its training."""

    def __init__(self, small_yaml: str, epochs: int = 1) -> None:
        config = load_config(small_yaml, [f"train.epochs={epochs}", "train.ema=0.5"])
        runtime = start(config.run)
        splits = load_splits(config.data, 0, content=Text)
        assert isinstance(config.task, ClassifyConfig)
        self.task = config.task.fit(splits.train)
        self.data = EncodedSplits(self.task.encode(splits.train), self.task.encode(splits.dev))
        self.state = TrainState.start(self.task, config.train, runtime, 0)
        self.config, self.runtime = config, runtime
        for _ in fit(self.state, self.task, self.data, config.train, runtime):
            pass


@pytest.fixture
def saved(small_yaml: str) -> Saved:
    return Saved(small_yaml)


def test_best_holds_the_scored_weights_and_the_task(saved: Saved, tmp_path: Path) -> None:
    save(tmp_path / "best", tmp_path / "last", saved.task, saved.state)
    names = {file.name for file in (tmp_path / "best").iterdir()}
    assert names == {"model.safetensors", "config.json", "tokenizer.json", "labels.json", "manifest.json"}
    loaded = load_checkpoint(tmp_path / "best")
    task, model = loaded.load(CPU)
    assert task.files() == saved.task.files()
    assert not model.training
    for name, value in saved.state.scored_model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
    assert loaded.name.startswith("best, epoch 1, sha256 ")
    assert json.loads((tmp_path / "best" / "labels.json").read_bytes()) == ["negative", "positive"]


def test_last_restores_the_whole_training(saved: Saved, tmp_path: Path) -> None:
    save(None, tmp_path / "last", saved.task, saved.state)
    state = TrainState.start(saved.task, saved.config.train, saved.runtime, 1)
    load_checkpoint(tmp_path / "last").restore(state)
    ours, theirs = saved.state.training_tensors(), state.training_tensors()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert saved.state.training_numbers() == state.training_numbers()


def test_best_and_last_of_one_save_are_of_one_state(saved: Saved, tmp_path: Path) -> None:
    save(tmp_path / "best", tmp_path / "last", saved.task, saved.state)
    best, last = load_checkpoint(tmp_path / "best"), load_checkpoint(tmp_path / "last")
    assert (best.digest, best.about) == (last.digest, last.about)
    assert set(last.files) - set(best.files) == {"training.safetensors", "training.json"}
    assert all(last.files[name] == content for name, content in best.files.items())


def test_saving_the_same_state_twice_gives_the_same_bytes(saved: Saved, tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(None, tmp_path / name, saved.task, saved.state)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


OLD_NAMES = {"num_batches": "position", "num_tokens": "tokens", "num_padded_tokens": "positions"}


def rewritten(saved: Checkpoint, progress: dict[str, Any]) -> Checkpoint:
    """The checkpoint with other numbers of its training's progress."""
    numbers = {**json.loads(saved.files["training.json"]), "progress": progress}
    return dataclasses.replace(saved, files={**saved.files, "training.json": json.dumps(numbers).encode()})


def test_a_training_of_version_0_1_is_restored_by_its_old_names(saved: Saved, tmp_path: Path) -> None:
    saved.state.progress.num_batches = 3
    saved.state.progress.num_tokens, saved.state.progress.num_padded_tokens = 70, 80
    save(None, tmp_path / "last", saved.task, saved.state)
    now = load_checkpoint(tmp_path / "last")
    progress = json.loads(now.files["training.json"])["progress"]
    assert progress.keys() >= OLD_NAMES.keys()
    assert not progress.keys() & set(OLD_NAMES.values())
    old = rewritten(now, {OLD_NAMES.get(name, name): value for name, value in progress.items()})
    state = TrainState.start(saved.task, saved.config.train, saved.runtime, 1)
    old.restore(state)
    assert (state.progress.num_batches, state.progress.num_tokens, state.progress.num_padded_tokens) == (
        3,
        70,
        80,
    )
    assert state.progress == saved.state.progress


@pytest.mark.parametrize(("name", "old_name"), OLD_NAMES.items())
def test_progress_that_is_no_count_is_refused_under_either_name(
    saved: Saved, tmp_path: Path, name: str, old_name: str
) -> None:
    save(None, tmp_path / "last", saved.task, saved.state)
    now = load_checkpoint(tmp_path / "last")
    progress = json.loads(now.files["training.json"])["progress"]
    del progress[name]
    state = TrainState.start(saved.task, saved.config.train, saved.runtime, 1)
    for wrong in ({name: "7"}, {old_name: "7"}, {f"{name}_": 7}):
        with pytest.raises(CheckpointError, match=r"training\.json"):
            rewritten(now, {**progress, **wrong}).restore(state)


def test_the_golden_training_of_version_0_1_is_read_by_its_old_names() -> None:
    golden = load_checkpoint(GOLDEN / "lstm" / "checkpoints" / "last")
    progress = json.loads(golden.files["training.json"])["progress"]
    assert progress.keys() >= set(OLD_NAMES.values())
    assert not progress.keys() & OLD_NAMES.keys()
    config = load_config(str(GOLDEN / "lstm"))
    runtime = start(config.run)
    task, _ = golden.load(CPU)
    state = TrainState.start(task, config.train, runtime, config.run.seed)
    rewritten(golden, {**progress, "position": 4, "tokens": 50, "positions": 60}).restore(state)
    assert (state.progress.epoch, state.progress.step) == (progress["epoch"], progress["step"])
    assert (state.progress.num_batches, state.progress.num_tokens, state.progress.num_padded_tokens) == (
        4,
        50,
        60,
    )
    assert state.progress.losses == progress["losses"]


@pytest.mark.parametrize(
    "name", ["model.safetensors", "training.safetensors", "labels.json", "config.json", MANIFEST]
)
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    saved: Saved, tmp_path: Path, name: str, damage: str
) -> None:
    last = tmp_path / "last"
    save(None, last, saved.task, saved.state)
    save(None, last, saved.task, saved.state)
    file = last / name
    content = bytearray(file.read_bytes())
    match damage:
        case "truncated":
            file.write_bytes(content[: len(content) // 2])
        case "flipped":
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        case "missing":
            file.unlink()
    used = load_checkpoint(last)
    assert used.folder.name == "last.previous"
    assert used.newer_fault is not None
    assert name in used.newer_fault
    shutil.rmtree(tmp_path / "last.previous")
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_checkpoint(last)


@pytest.mark.parametrize("moment", range(1, 9))
def test_a_crash_at_any_file_of_a_save_leaves_a_whole_checkpoint(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    last = tmp_path / "last"
    save(None, last, saved.task, saved.state)
    first = load_checkpoint(last).files
    writes = 0

    def crash(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == moment:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        write_file(path, content)

    monkeypatch.setattr(checkpoint, "write_file", crash)
    if moment <= 7:  # six files and the manifest
        with pytest.raises(LstmclsError, match="No space left"):
            save(None, last, saved.task, saved.state)
    else:
        save(None, last, saved.task, saved.state)
    assert load_checkpoint(last).files == first


@pytest.mark.parametrize("crash_at", [1, 2])
def test_a_crash_between_the_renames_leaves_a_whole_checkpoint(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    last = tmp_path / "last"
    save(None, last, saved.task, saved.state)
    renames = 0
    rename = Path.rename

    def crash(self: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames == crash_at:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        save(None, last, saved.task, saved.state)
    monkeypatch.undo()
    assert load_checkpoint(last).about["step"] == saved.state.progress.step
    save(None, last, saved.task, saved.state)
    assert load_checkpoint(last).folder == last


def test_a_file_cut_anywhere_is_noticed(saved: Saved, tmp_path: Path) -> None:
    last = tmp_path / "last"
    save(None, last, saved.task, saved.state)
    save(None, last, saved.task, saved.state)
    for file in last.iterdir():
        content = file.read_bytes()
        for percent in range(100):
            file.write_bytes(content[: len(content) * percent // 100])
            found = load_checkpoint(last)
            assert found.folder.name == "last.previous"
            assert found.newer_fault is not None
            assert str(file if percent or file.name != MANIFEST else last) in found.newer_fault
        file.write_bytes(content)
    assert load_checkpoint(last).newer_fault is None


def test_a_file_of_another_run_is_noticed(saved: Saved, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    save(ours, tmp_path / "last", saved.task, saved.state)
    torch.nn.init.zeros_(saved.state.scored_model.head.weight)  # type: ignore[union-attr, arg-type]
    save(theirs, tmp_path / "last", saved.task, saved.state)
    for name in ("model.safetensors", MANIFEST):
        whole = (ours / name).read_bytes()
        shutil.copy(theirs / name, ours / name)
        with pytest.raises(
            CheckpointError, match="damaged: its content does not match the SHA-256 in the manifest"
        ):
            load_checkpoint(ours)
        (ours / name).write_bytes(whole)
    load_checkpoint(ours)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(saved: Saved, tmp_path: Path, value: float) -> None:
    last = tmp_path / "last"
    save(None, last, saved.task, saved.state)
    before = load_checkpoint(last).files
    torch.nn.init.constant_(saved.state.model.head.bias, value)  # type: ignore[union-attr, arg-type]
    assert not saved.state.is_good
    with pytest.raises(NotFiniteError, match=r"not saved: model\.head\.bias"):
        save(None, last, saved.task, saved.state)
    assert load_checkpoint(last).files == before


def test_where_nothing_was_saved_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert not checkpoint.exists(tmp_path / "last")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "last")


def test_a_first_save_that_was_cut_off_is_no_checkpoint(saved: Saved, tmp_path: Path) -> None:
    last = tmp_path / "last"
    save(None, last, saved.task, saved.state)
    last.rename(tmp_path / "last.new")
    assert checkpoint.exists(last)
    (tmp_path / "last.new" / MANIFEST).unlink()
    assert not checkpoint.exists(last)
    last.mkdir()  # a checkpoint that was there is damaged, not absent
    assert checkpoint.exists(last)


def test_a_manifest_cannot_name_a_file_outside_its_folder(saved: Saved, tmp_path: Path) -> None:
    save(tmp_path / "best", tmp_path / "last", saved.task, saved.state)
    manifest = tmp_path / "best" / MANIFEST
    content = json.loads(manifest.read_bytes())
    content["files"]["../secret"] = content["files"].pop("labels.json")
    content.pop("sha256")
    content["sha256"] = checkpoint._digest_of(content)
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match="lists a file that does not belong"):
        load_checkpoint(tmp_path / "best")


def test_weights_of_another_model_do_not_fit(saved: Saved, tmp_path: Path, small_yaml: str) -> None:
    save(tmp_path / "best", tmp_path / "last", saved.task, saved.state)
    loaded = load_checkpoint(tmp_path / "best")
    content = json.loads(loaded.files["config.json"])
    content["task"]["encoder"]["hidden_size"] = 9
    other = checkpoint.Checkpoint(
        loaded.folder, loaded.about, {**loaded.files, "config.json": json.dumps(content).encode()}
    )
    with pytest.raises(CheckpointError, match="does not match its own config"):
        other.load(CPU)


def test_no_file_of_a_checkpoint_is_a_pickle(saved: Saved, tmp_path: Path) -> None:
    save(None, tmp_path / "last", saved.task, saved.state)
    for file in (tmp_path / "last").iterdir():
        assert file.suffix in {".json", ".safetensors"}
        if file.suffix == ".json":
            json.loads(file.read_bytes())


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_read_again(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = tmp_path / "last"
    save(None, last, saved.task, saved.state)
    read, num_saves = checkpoint._content, 0

    def read_and_save(path: Path, *arguments: Any) -> Any:
        """A training saves a new checkpoint after each of the first files is read."""
        nonlocal num_saves
        content = read(path, *arguments)
        if num_saves < 3:
            num_saves += 1
            saved.state.progress.step += 1
            with torch.no_grad():
                next(iter(saved.state.scored_model.parameters())).add_(1)
            with monkeypatch.context() as patch:
                patch.setattr(checkpoint, "_content", read)
                save(None, last, saved.task, saved.state)
        return content

    monkeypatch.setattr(checkpoint, "_content", read_and_save)
    found = load_checkpoint(last)
    assert num_saves == 3
    assert found.newer_fault is None
    assert found.about["step"] == saved.state.progress.step
    found.load(CPU)


def test_the_checkpoints_that_were_replaced_are_deleted_only_beside_a_whole_one(
    saved: Saved, tmp_path: Path
) -> None:
    last = tmp_path / "last"
    for _ in range(2):
        save(None, last, saved.task, saved.state)
    weights = (last / "model.safetensors").read_bytes()
    (last / "model.safetensors").write_bytes(weights[:-1])
    checkpoint.delete_older(last)
    assert load_checkpoint(last).folder.name == "last.previous"
    (last / "model.safetensors").write_bytes(weights)
    checkpoint.delete_older(last)
    assert [path.name for path in tmp_path.glob("last*")] == ["last"]
