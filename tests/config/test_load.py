"""The border: every fault at once, each with its line, its path, what was got and what to try."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lstm_cli.cli import app
from lstm_cli.config.load import RunConfig, json_schema, load_config
from lstm_cli.errors import ConfigError
from lstm_cli.metrics.classification import METRICS
from lstm_cli.tasks import TASKS
from lstm_cli.tasks.classify import ClassifyConfig


def write(folder: Path, text: str) -> str:
    path = folder / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def faults(folder: Path, text: str, *overrides: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return [fault.replace(path, "my.yaml") for fault in caught.value.faults]


def task_of(config: RunConfig) -> ClassifyConfig:
    assert isinstance(config.task, ClassifyConfig)
    return config.task


MINIMAL = "data:\n  train: rows.csv\n"


def test_a_config_needs_nothing_but_its_training_rows(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert config.data.train == "rows.csv"
    assert config.data.dev == 0.1
    assert task_of(config).pooling == "final"
    assert config.run.dir == "runs/my"


def test_the_resolved_config_reads_back_as_itself(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, MINIMAL), ["task.tokenizer.kind=bpe", "data.text_column=[title, body]"]
    )
    again = tmp_path / "again.yaml"
    again.write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(str(again)) == config


def test_every_fault_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    text = (
        "data:\n"
        "  train: rows.csv\n"
        "  text_colum: review\n"
        "task:\n"
        "  pooling: maximum\n"
        "  encoder:\n"
        "    hidden_size: many\n"
        "    cell: lst\n"
        "train:\n"
        "  epochs: 0\n"
        "runs: {}\n"
    )
    found = faults(tmp_path, text)
    assert [fault.split(": ")[:2] for fault in found] == [
        ["my.yaml:3", "data.text_colum"],
        ["my.yaml:5", "task.pooling"],
        ["my.yaml:7", "task.encoder.hidden_size"],
        ["my.yaml:8", "task.encoder.cell"],
        ["my.yaml:10", "train.epochs"],
        ["my.yaml:11", "runs"],
    ]
    assert 'Did you mean "text_column"?' in found[0]
    assert "got 'maximum'" in found[1]
    assert "mean+max" in found[1]
    assert "valid integer" in found[2]
    assert "got 'many'" in found[2]
    assert 'Did you mean "lstm"?' in found[3]
    assert "greater than or equal to 1, got 0" in found[4]
    assert 'Did you mean "run"?' in found[5]


def test_a_missing_key_is_named_where_its_section_is(tmp_path: Path) -> None:
    assert faults(tmp_path, "train:\n  epochs: 3\ndata:\n  dev: 0.2\n") == [
        "my.yaml:3: data.train: required, but not given"
    ]


def test_a_section_that_is_no_section_is_said_to_be_none(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, MINIMAL + "task: lstm\n")
    assert fault == "my.yaml:3: task: must be a section with keys of its own, got 'lstm'"


def test_an_unknown_tokenizer_names_those_there_are(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, MINIMAL + "task:\n  tokenizer:\n    kind: words\n")
    assert fault.startswith(
        "my.yaml:5: task.tokenizer.kind: must be one of word, bpe, unigram, char, got 'words'"
    )
    assert 'Did you mean "word"?' in fault


def test_a_key_of_another_tokenizer_kind_is_refused_with_the_kind_that_has_it(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, MINIMAL + "task:\n  tokenizer:\n    kind: unigram\n    min_count: 3\n")
    assert fault.startswith(
        "my.yaml:6: task.tokenizer.min_count: a key of kind word, bpe, char only; known here: kind, lowercase"
    )


def test_a_tokenizer_without_a_kind_is_of_words(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL), ["task.tokenizer.min_count=7"])
    tokenizer = task_of(config).tokenizer
    assert tokenizer.kind == "word"
    assert tokenizer.min_count == 7


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    assert faults(tmp_path, "data:\n  train: a.csv\n  train: b.csv\n") == [
        "my.yaml:3: data.train: given twice"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("- a\n- b\n", "must consist of sections"),
        ("data: {train: a.csv\n", "my.yaml:2: not YAML"),
        ("data:\n\ttrain: a.csv\n", "my.yaml:2: not YAML"),
        ("data: !!python/object/apply:os.system [echo]\n", "my.yaml:1: not YAML"),
        ("\x00", "not YAML"),
        ("[" * 5_000, "not YAML"),
    ],
)
def test_what_is_no_config_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (fault,) = faults(tmp_path, text)
    assert said in fault


def test_overrides_are_typed_by_the_schema(tmp_path: Path) -> None:
    overrides = [
        "train.learning_rate=1e-3",
        "run.dir=2024",
        "data.label_column=yes",
        "data.dev=0.25",
        "data.columns=[label, text]",
        "task.encoder.bidirectional=false",
        "data.test=null",
    ]
    config = load_config(write(tmp_path, MINIMAL), overrides)
    assert config.train.learning_rate == 1e-3
    assert config.run.dir == "2024"
    assert config.data.label_column == "yes"
    assert config.data.dev == 0.25
    assert config.data.columns == ["label", "text"]
    assert task_of(config).encoder.bidirectional is False
    assert config.data.test is None


def test_a_fault_of_an_override_names_the_override(tmp_path: Path) -> None:
    found = faults(tmp_path, MINIMAL, "train.epoch=3", "train.batch_size=x", "epochs", ".=1")
    assert found[0] == "--set epochs: must have the form key=value, such as --set train.epochs=5"
    assert found[1].startswith("--set .=1: must have the form key=value")
    assert found[2].startswith("--set train.batch_size=x: train.batch_size: must be a valid integer")
    assert found[3].startswith("--set train.epoch=3: train.epoch: unknown key")
    assert found[3].endswith('Did you mean "epochs"?')


def test_a_fault_of_a_section_that_only_an_override_has_names_the_override(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, MINIMAL, "trian.epochs=3")
    assert fault.startswith("--set trian.epochs=3: trian: unknown key")
    (fault,) = faults(tmp_path, f"{MINIMAL}trian: {{}}\n", "trian.epochs=3")
    assert fault.startswith("my.yaml:3: trian: unknown key")


def test_impossible_combinations_are_faults(tmp_path: Path) -> None:
    text = MINIMAL + (
        "task:\n  pooling: final-all-layers\n  encoder: {dropout: 0.5}\nrun:\n  device: cpu\n  precision: fp16\n"
    )
    found = faults(tmp_path, text)
    assert [fault.split(": ")[1] for fault in found] == [
        "task.pooling",
        "task.encoder.dropout",
        "run.precision",
    ]


@pytest.mark.parametrize("dev", ["0.0", "1.5", "-0.1", "1"])
def test_a_dev_share_lies_between_zero_and_one(tmp_path: Path, dev: str) -> None:
    (fault,) = faults(tmp_path, f"data:\n  train: a.csv\n  dev: {dev}\n")
    assert fault.startswith("my.yaml:3: data.dev: ")


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    with pytest.raises(ConfigError, match=r'no such config\. Did you mean "my\.yaml"\?'):
        load_config(str(tmp_path / "mi.yaml"))
    (tmp_path / "runs" / "reviews").mkdir(parents=True)
    (tmp_path / "runs" / "reviews" / "config.yaml").write_text(MINIMAL, "utf-8")
    with pytest.raises(ConfigError, match=r'no such run, config or preset\. Did you mean ".*reviews"\?'):
        load_config(str(tmp_path / "runs" / "review"))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\0")
    with pytest.raises(ConfigError, match=r"a\.png: holds zero bytes, so it is no config but a picture"):
        load_config(str(tmp_path / "a.png"))


def test_a_config_can_come_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(MINIMAL.encode())))
    assert load_config("-").run.dir == "runs/stdin"


def test_a_runs_folder_is_a_config_and_knows_where_it_is_now(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL), run_dir="runs/elsewhere")
    run = tmp_path / "moved"
    run.mkdir()
    (run / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(str(run)).run.dir == str(run)
    with pytest.raises(ConfigError, match=r"a folder without config\.yaml"):
        load_config(str(tmp_path))


def test_a_huge_file_is_no_config(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "# " + "x" * 2**20)
    assert "is too large" in fault


def test_the_resolved_config_is_plain_yaml(tmp_path: Path) -> None:
    assert yaml.safe_load(load_config(write(tmp_path, MINIMAL)).to_yaml())["run"]["seed"] == 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["run.dir.a=1", "run.dir=2024", "run.seed=x"], "run.seed"),
        (["run.dir=2024", "run.dir.a=1"], "run.dir: must be a valid string, got {'a': 1}"),
    ],
)
def test_overrides_of_one_key_and_of_what_is_below_it_are_read_in_their_order(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    (fault,) = faults(tmp_path, MINIMAL, *overrides)
    assert said in fault


_LAUGHS = "".join(f"- &b{i} [{','.join([f'*b{i - 1}' if i else 'x'] * 9)}]\n" for i in range(9))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_LAUGHS, "10,000 values"),
        ("a: &a [*a]", "nested too deep"),
        ("run: {seed: " + ":".join("1" * 3_000) + "}", "4,096 characters"),
        ("a: " + "[" * 100_000, "nested too deep"),
        ("run: {seed: !!int ''}", "not of the type"),
        ("run: {seed: !!bool x}", "not of the type"),
        ("run: {seed: !!timestamp x}", "not of the type"),
        ("run: {seed: 2001-99-99}", "not of the type"),
        (MINIMAL + "run: {seed: 0x" + "f" * 4_000 + "}", "run.seed: must be a number of at most"),
        ("# " + "x" * 2**18, "is too large"),
    ],
)
def test_yaml_that_would_grow_or_that_its_library_trips_over_is_a_fault(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(write(tmp_path, text))
    assert len(str(caught.value)) < 2_000


def test_a_value_is_shown_in_a_length_that_a_person_reads(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, MINIMAL + "run: {device: " + "x" * 4_000 + "}\n")
    assert len(fault) < 500


@pytest.mark.parametrize("override", [".".join("k" * 400) + "=1", "task.tokenizer=" + "{a: " * 50 + "}" * 50])
def test_what_no_key_can_lie_in_is_refused_before_it_is_checked(small_yaml: str, override: str) -> None:
    with pytest.raises(ConfigError) as fault:
        load_config(small_yaml, [override])
    assert len(str(fault.value)) < 1000
    assert "levels" in str(fault.value) or "task.tokenizer" in str(fault.value)


def test_a_config_nested_out_of_all_proportion_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("data: " + "[" * 30 + "]" * 30, encoding="utf-8")
    with pytest.raises(ConfigError, match="nested too deep"):
        load_config(str(path))


# --- the metrics of the task -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [metric.name for metric in METRICS])
def test_an_epoch_may_be_chosen_by_any_metric_of_the_task(tmp_path: Path, name: str) -> None:
    assert load_config(write(tmp_path, MINIMAL), [f"train.select_by={name}"]).train.select_by == name


def test_without_a_word_the_task_says_what_an_epoch_is_chosen_by(tmp_path: Path) -> None:
    for text in (MINIMAL, MINIMAL + "train: {epochs: 2}\n", MINIMAL + "task: {kind: classify}\n"):
        assert load_config(write(tmp_path, text)).train.select_by == ClassifyConfig.select_by


def test_a_metric_that_the_task_has_not_is_a_fault_among_the_others(tmp_path: Path) -> None:
    text = MINIMAL + "task:\n  pooling: maximum\ntrain:\n  select_by: acuracy\n  epochs: 0\nruns: {}\n"
    found = faults(tmp_path, text, "task.encoder.hidden_size=many")
    assert [fault.split(": ")[1] for fault in found] == [
        "task.encoder.hidden_size",
        "task.pooling",
        "train.select_by",
        "train.epochs",
        "runs",
    ]
    assert found[2].startswith(
        "my.yaml:6: train.select_by: must be one of accuracy, macro_f1, micro_f1, weighted_f1, roc_auc, "
        "pr_auc, log_loss, ece, got 'acuracy'"
    )
    assert 'Did you mean "accuracy"?' in found[2]


def test_a_metric_given_with_set_is_checked_as_well(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, MINIMAL, "train.select_by=rmse")
    assert fault.startswith("--set train.select_by=rmse: train.select_by: must be one of accuracy, ")


@pytest.mark.parametrize("value", ["5", "null", "[accuracy]", "{a: b}", "true"])
def test_a_metric_that_is_not_a_text_gets_the_list_of_metrics_too(tmp_path: Path, value: str) -> None:
    for found, where in (
        (faults(tmp_path, MINIMAL + f"train:\n  select_by: {value}\n"), "my.yaml:4"),
        (faults(tmp_path, MINIMAL, f"train.select_by={value}"), f"--set train.select_by={value}"),
    ):
        (fault,) = found
        assert fault.startswith(f"{where}: train.select_by: must be one of accuracy, macro_f1, ")


def test_where_the_kind_of_task_is_unknown_a_metric_of_any_kind_will_do(tmp_path: Path) -> None:
    text = MINIMAL + "task:\n  kind: clasify\ntrain:\n  select_by: "
    (kind,) = faults(tmp_path, text + "accuracy\n")
    assert kind.startswith("my.yaml:4: task.kind: must be one of classify, ")
    assert faults(tmp_path, text + "nonsense\n")[0] == kind
    assert faults(tmp_path, text + "nonsense\n")[1].startswith(
        "my.yaml:6: train.select_by: must be one of accuracy, "
    )


def test_a_default_reaches_no_section_that_shares_its_keys_by_an_alias(tmp_path: Path) -> None:
    text = MINIMAL + "train: &same {epochs: 3, batch_size: 8}\npretrain: *same\n"
    config = load_config(write(tmp_path, text))
    assert (config.train.epochs, config.pretrain.epochs) == (3, 3)
    (fault,) = faults(tmp_path, "data: &same {train: rows.csv}\ntask: *same\n")
    assert "task.train: unknown key" in fault


def test_the_schema_for_editors_lists_the_metrics() -> None:
    select_by = json_schema()["$defs"]["TrainConfig"]["properties"]["select_by"]
    assert select_by["enum"] == list(dict.fromkeys(one.name for kind in TASKS for one in kind.metrics))
    assert select_by["default"] in select_by["enum"]
    assert select_by["type"] == "string"


def test_a_config_from_stdin_is_utf_8_whatever_the_locale_and_not_endless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for content, said in (
        (b"data: {train: \xff}", "stdin: not UTF-8 at byte 14"),
        (b"#" * 2**19, "stdin: too large"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="latin-1"))
        with pytest.raises(ConfigError, match=said):
            load_config("-")


def test_a_config_is_a_regular_file_and_nothing_that_waits_or_never_ends(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("needs named pipes")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match=r"pipe.yaml: cannot be read \(not a regular file\).* name -"):
        load_config(str(tmp_path / "pipe.yaml"))
    with pytest.raises(ConfigError, match="not a regular file"):
        load_config("/dev/zero")
    (tmp_path / "large.yaml").touch()
    os.truncate(tmp_path / "large.yaml", 5 * 2**30)
    with pytest.raises(ConfigError, match="5,368,709,120 bytes is too large"):
        load_config(str(tmp_path / "large.yaml"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", b"text,label\ngood: yes,x\n"),
        ("data.csv", b"text,label\n" + b"good,x\n" * 100_000),
        ("data.csv", "text,label\ncafé,x\n".encode("latin-1")),
        ("my data.jsonl", b'{"text": "good"}\n{"text": "bad"}\n'),
        ("data.tsv.gz", b"\x1f\x8b\x08"),
        ("data.txt", b"good\n"),
        ("data.parquet", b"PAR1\x00"),
    ],
)
def test_data_in_the_place_of_the_config_shows_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(name)
    shown = f"'{name}'" if " " in name else name
    assert str(caught.value) == (
        f"{name}: data, and not a config. `lstmcls train {shown}` trains on it; then name the folder of the run here"
    )


def test_a_folder_or_a_data_set_in_the_place_of_the_config_shows_the_way(tmp_path: Path) -> None:
    for source in (str(tmp_path), "builtin:reviews", "hub:OWNER/NAME"):
        with pytest.raises(ConfigError, match=f"`lstmcls train {source}` trains on it"):
            load_config(source)


def test_a_config_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "config.txt"
    path.write_text(MINIMAL, encoding="utf-8")
    assert load_config(str(path)).data.train == "rows.csv"


@pytest.mark.parametrize(
    ("content", "overrides", "blamed"),
    [
        (MINIMAL, ["run=3", "run.seed.x=2"], "--set run.seed.x=2: run.seed: "),
        (MINIMAL, ["run={seed: 1}", "run.seed.x=2"], "--set run.seed.x=2: run.seed: "),
        (MINIMAL + "run: {seed: 1}\n", ["run.seed.x=2"], "--set run.seed.x=2: run.seed: "),
        (MINIMAL + "run: {seed: 1}\n", ["run.seed.x=2", "run.dir=a"], "--set run.seed.x=2: run.seed: "),
        (MINIMAL, ["run={seed: x}", "run.dir=a"], "--set run={seed: x}: run.seed: "),
        (MINIMAL, ["run.seed.x=2", "run=3"], "--set run=3: run: "),
    ],
)
def test_of_several_overrides_the_one_that_made_the_fault_is_named(
    tmp_path: Path, content: str, overrides: list[str], blamed: str
) -> None:
    (fault,) = faults(tmp_path, content, *overrides)
    assert fault.startswith(blamed)


def test_files_can_be_named_by_label_in_the_file_and_on_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, "data:\n  train:\n    positive: a.txt\n    negative: [b.txt, c.txt]\n")
    assert load_config(path).data.train == {"positive": "a.txt", "negative": ["b.txt", "c.txt"]}
    typed = load_config(path, ["data.train={1: a.txt, 0: b.txt}", "data.test={text: c.txt, labels: d.txt}"])
    assert typed.data.train == {"1": "a.txt", "0": "b.txt"}
    assert typed.data.test == {"text": "c.txt", "labels": "d.txt"}
    again = tmp_path / "again.yaml"
    again.write_text(typed.to_yaml(), encoding="utf-8")
    assert load_config(str(again)) == typed
    assert load_config(path, ["data.train=x.csv"]).data.train == "x.csv"
    (fault,) = faults(tmp_path, "data:\n  train:\n    yes: a.txt\n    no: b.txt\n")
    assert fault.startswith("my.yaml:2: data.train: the label True must be a text")


@pytest.mark.parametrize(
    ("given", "key", "reader"),
    [
        ({"train": {"plateau_patience": 3}}, "train.plateau_patience", "set train.schedule to plateau"),
        ({"train": {"plateau_factor": 0.1}}, "train.plateau_factor", "set train.schedule to plateau"),
        ({"pretrain": {"epochs": 9}}, "pretrain.epochs", "set task.encoder.init_from to pretrain"),
        ({"pretrain": {"budget": 9}}, "pretrain.budget", "set task.encoder.init_from to pretrain"),
        ({"data": {"unlabelled": "u.txt"}}, "data.unlabelled", "set task.encoder.init_from to pretrain"),
        ({"data": {"join": " | "}}, "data.join", "set data.text_column to a list of columns"),
    ],
)
def test_a_key_that_no_training_would_read_is_a_fault_of_a_training_alone(
    tmp_path: Path, given: dict[str, Any], key: str, reader: str
) -> None:
    content = {**given, "data": {"train": "x.csv", **given.get("data", {})}}
    path = tmp_path / "idle.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    load_config(str(path))
    with pytest.raises(
        ConfigError, match=rf"idle\.yaml:\d+: {key}: nothing in this training reads it; .*{reader}"
    ):
        load_config(str(path), trains=True)
    section, name = key.split(".")
    value = json.dumps(content[section][name])
    with pytest.raises(ConfigError, match=rf"^--set {key}=.*: {key}: nothing"):
        load_config(str(path), [f"{key}={value}"], trains=True)


def test_a_key_that_is_read_or_at_its_default_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "read.yaml"
    path.write_text(
        """
data: {train: x.csv, unlabelled: u.txt, text_column: [a, b], join: " | "}
task: {encoder: {init_from: pretrain}}
pretrain: {epochs: 9}
train: {schedule: plateau, plateau_patience: 3}
""",
        "utf-8",
    )
    load_config(str(path), trains=True)
    path.write_text(load_config(str(path)).to_yaml(), "utf-8")  # with all defaults written out
    load_config(str(path), trains=True)
    # what an override turns off need not be taken out of the file as well
    off = ["task.encoder.init_from=null", "train.schedule=cosine", "data.text_column=a"]
    load_config(str(path), off, trains=True)
    with pytest.raises(ConfigError, match=r"^--set pretrain\.epochs=8: pretrain\.epochs: nothing"):
        load_config(str(path), [*off, "pretrain.epochs=8"], trains=True)


def test_train_and_check_refuse_a_key_that_nothing_reads_and_resume_does_not(small_yaml: str) -> None:
    idle = ["--set", "train.plateau_patience=3"]
    for command in (["train", small_yaml], ["check", small_yaml], ["train", small_yaml, "--seeds", "2"]):
        refused = CliRunner().invoke(app, [*command, *idle])
        assert refused.exit_code == 2
        assert "train.plateau_patience: nothing in this training reads it" in refused.stderr
    short = ["--set", "train.epochs=1", "--no-baselines", "--quiet"]
    assert CliRunner().invoke(app, ["train", small_yaml, *short]).exit_code == 0
    run = Path(small_yaml).parent / "run"
    config = (run / "config.yaml").read_text("utf-8")  # as an earlier version accepted it
    (run / "config.yaml").write_text(config.replace("plateau_patience: 1", "plateau_patience: 3"), "utf-8")
    assert CliRunner().invoke(app, ["train", str(run), "--resume", "--no-baselines"]).exit_code == 0


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("epochs=5", "train.epochs"),
        ("lr=1", "train.learning_rate"),
        ("train.lr=1", "train.learning_rate"),
        ("text=a", "data.text_column"),
        ("task.hidden_size=8", "task.encoder.hidden_size"),
        ("seed=3", "run.seed"),
        ("min_count=2", "task.tokenizer.min_count"),
    ],
)
def test_the_nearest_key_is_found_in_any_section_and_under_other_names(
    tmp_path: Path, typed: str, meant: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("data: {train: x.csv}", "utf-8")
    with pytest.raises(ConfigError, match=f'unknown key; .* Did you mean "{meant}"'):
        load_config(str(path), [typed])
