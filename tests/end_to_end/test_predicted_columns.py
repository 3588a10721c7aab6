"""What a prediction's row has beside the prediction: the input's own columns, what was not known, what was not read."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app

RUN = str(Path(__file__).parents[1] / "golden" / "lstm")


def predict(*arguments: str, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(app, ["predict", RUN, *arguments], input=stdin)
    assert result.exit_code == 0, result.output
    return result


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def written(folder: Path, content: str, name: str = "in.csv") -> str:
    (folder / name).write_text(content, encoding="utf-8")
    return str(folder / name)


def test_the_text_stays_where_it_was_among_the_inputs_columns_and_can_be_left_out(tmp_path: Path) -> None:
    source = written(tmp_path, "id,text,note\n1,a good film,x\n2,,y\n")
    whole, bare = lines(predict(source)), lines(predict(source, "--no-text"))
    assert [list(line)[-3:] for line in whole] == [["id", "text", "note"]] * 2
    assert [line["text"] for line in whole] == ["a good film", ""]
    assert bare == [{key: value for key, value in line.items() if key != "text"} for line in whole]


def test_a_text_without_a_column_is_called_text(tmp_path: Path) -> None:
    texts = ["a good film", "", "bad"]
    source = written(tmp_path, "\n".join(texts), "in.txt")
    for result in (predict(source), predict("-", stdin="\n".join(texts))):
        assert [line["text"] for line in lines(result)] == texts
    for result in (predict(source, "--no-text"), predict("-", "--no-text", stdin="\n".join(texts))):
        assert not any("text" in line for line in lines(result))
    folder = tmp_path / "texts"
    folder.mkdir()
    written(folder, "of two\nlines", "one.txt")
    (line,) = lines(predict(str(folder)))
    assert (line["text"], line["id"]) == ("of two\nlines", "one.txt")


def test_no_character_of_a_text_ends_a_line_of_json_for_any_reader() -> None:
    text = "one\x85two\u2028three\u2029four\x0bfive\x1c"
    out = predict("-", stdin=f"{text}\n").stdout
    assert len(out.splitlines()) == 1
    assert json.loads(out)["text"] == text


def test_columns_of_one_name_keep_their_values_under_names_of_their_own(tmp_path: Path) -> None:
    source = written(tmp_path, "note.2,text,note,note,note\n0,the film was good,first,second,third\n")
    (line,) = lines(predict(source))
    assert {key: value for key, value in line.items() if key.startswith("note")} == {
        "note.2": "0",
        "note": "first",
        "note.3": "second",
        "note.4": "third",
    }


def test_no_column_of_the_input_takes_the_place_of_a_prediction(tmp_path: Path) -> None:
    source = written(
        tmp_path, "label,input.label,probs.positive,top.1.label,unknown,text\nA,B,C,D,E,a good film\n"
    )
    (line,) = lines(predict(source, "--probs", "--top-k", "2"))
    (row,) = csv.DictReader(io.StringIO(predict(source, "--probs", "--top-k", "2", "--format", "csv").stdout))
    for given in (line, row):
        names = ("input.label", "input.label.2", "input.probs.positive", "input.top.1.label", "input.unknown")
        assert [given[name] for name in names] == ["A", "B", "C", "D", "E"]
    assert row["label"] == line["label"]
    assert row["probs.positive"] == f"{line['probs']['positive']:.6g}"
    assert row["top.1.label"] == line["top"][0]["label"]


@pytest.mark.parametrize("options", [[], ["--probs"], ["--top-k", "2", "--no-text"]])
def test_a_table_without_a_row_has_the_header_that_it_would_have_with_one(
    tmp_path: Path, options: list[str]
) -> None:
    header = "text,label,note,note\n"
    empty, full = (
        written(tmp_path, header),
        written(tmp_path, f"{header}a good film,positive,a,b\n", "full.csv"),
    )
    for format in ("csv", "tsv"):
        expected = predict(full, "--format", format, *options).stdout.splitlines(keepends=True)[0]
        assert "note.2" in expected
        assert predict(empty, "--format", format, *options).stdout == expected
    assert predict(empty, *options).stdout == ""


@pytest.mark.parametrize("content", ["", "\n"])
def test_a_table_of_no_line_and_of_no_text_has_a_header(tmp_path: Path, content: str) -> None:
    out = predict("-", "--format", "csv", stdin=content).stdout
    assert out.splitlines()[0] == "row,label,score,truncated,unknown,error,text"
    assert predict(written(tmp_path, content, "in.txt"), "--format", "csv").stdout == out


def test_a_first_row_that_cannot_be_read_does_not_decide_the_columns(tmp_path: Path) -> None:
    source = written(tmp_path, "text,note\none field too many,x,y\na good film,z\n")
    result = predict(source, "--format", "csv", "--probs")
    broken, fine = csv.DictReader(io.StringIO(result.stdout))
    assert (fine["note"], broken["note"], bool(broken["error"])) == ("z", "", True)
    alone = written(tmp_path, "text,note\none field too many,x,y\n", "broken.csv")
    assert predict(alone, "--format", "csv", "--probs").stdout.splitlines() == result.stdout.splitlines()[:2]


def test_a_table_has_six_digits_and_json_lines_have_all(tmp_path: Path) -> None:
    source = written(tmp_path, "a good film\nbad\n", "in.txt")
    full = lines(predict(source, "--probs"))
    table = list(csv.DictReader(io.StringIO(predict(source, "--probs", "--format", "csv").stdout)))
    for line, row in zip(full, table, strict=True):
        assert row["score"] == f"{line['score']:.6g}" != repr(line["score"])
        assert {name: row[f"probs.{name}"] for name in line["probs"]} == {
            name: f"{value:.6g}" for name, value in line["probs"].items()
        }


def test_a_byte_order_mark_is_written_once_and_only_for_tables(tmp_path: Path) -> None:
    source, out = written(tmp_path, "gut, é\n", "in.txt"), tmp_path / "out.csv"
    predict(source, "--bom", "-o", str(out))
    content = out.read_bytes()
    assert content.startswith(b"\xef\xbb\xbfrow,label,")
    assert content.count(b"\xef\xbb\xbf") == 1
    predict(source, "-o", str(out))
    assert content == b"\xef\xbb\xbf" + out.read_bytes()
    result = CliRunner().invoke(app, ["predict", RUN, source, "--bom"])
    assert (result.exit_code, "--bom: works on CSV and TSV only" in result.stderr) == (2, True)


def test_a_row_of_which_nothing_was_known_says_so_and_the_last_line_counts_it() -> None:
    known, nothing = b"a good film", "вовсе неизвестно".encode()
    result = predict("-", stdin=b"\n".join([known, nothing, b"", b"\xff\xfe", known + b" " + nothing]))
    found = lines(result)
    assert [line.get("unknown") for line in found] == [None, 1.0, 1.0, None, None]
    assert all("label" in line for line in found if "error" not in line)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("5 rows in")
    assert last.endswith("; 1 could not be read (`error` says why); of 2 nothing was known (`unknown`)")
    assert not predict("-", stdin=known).stderr.splitlines()[-1].endswith(")")


def test_texts_of_the_command_line_are_predicted_as_those_of_a_file(tmp_path: Path) -> None:
    texts = ["a good film", "", "bad"]
    expected = predict(written(tmp_path, "".join(f"{text}\n" for text in texts), "in.txt")).stdout
    assert predict("--text", texts[0], "--text", texts[1], "--text", texts[2]).stdout == expected
    refused = CliRunner().invoke(app, ["predict", RUN, "--text", "a", "in.txt"])
    assert (refused.exit_code, "--text: cannot be combined with in.txt" in refused.stderr) == (2, True)
    resumed = CliRunner().invoke(
        app, ["predict", RUN, "--text", "a", "-o", str(tmp_path / "o.csv"), "--resume"]
    )
    assert (resumed.exit_code, "cannot be read again" in resumed.stderr) == (2, True)


def test_a_label_below_the_least_score_is_null_and_the_best_guess_stands_beside_it(tmp_path: Path) -> None:
    source = written(tmp_path, "a good film\nbad\n\n", "in.txt")
    plain = lines(predict(source))
    least = sorted(line["score"] for line in plain)[1]
    doubtful = lines(predict(source, "--min-score", str(least)))
    for before, after in zip(plain, doubtful, strict=True):
        assert after["best"] == before["label"]
        assert after["label"] == (before["label"] if before["score"] >= least else None)
        assert after["score"] == before["score"]
    assert [line["label"] for line in doubtful].count(None) == 1
    table = predict(source, "--min-score", "1", "--format", "csv").stdout
    assert [row["label"] for row in csv.DictReader(io.StringIO(table))] == ["", "", ""]


def test_a_line_of_a_pipe_that_stays_open_is_answered_at_once() -> None:
    command = [sys.executable, "-m", "lstm_cli", "predict", RUN, "-", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for row in range(2):
            process.stdin.write(f"film {row}\n".encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["row"] == row  # or the test waits for ever
        process.stdin.close()
        assert process.wait() == 0
