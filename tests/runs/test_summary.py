"""What several runs come to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lstm_cli.metrics.classification import METRICS
from lstm_cli.metrics.metric import Metric
from lstm_cli.runs.group import RunGroup
from lstm_cli.runs.summary import conclusions, page, summarize, table

GROUP = RunGroup(Path("runs/x"), "folds", ("fold-1", "fold-2", "fold-3"))


def metrics(accuracy: float, verdict: str | None = None, **others: float) -> dict[str, Any]:
    baselines = {"majority": {"accuracy": 0.5, "macro_f1": 0.3, "note": "most"}} if verdict else {}
    return {
        "split": "test",
        "chosen_on": False,
        "n": 10,
        "accuracy": accuracy,
        "macro_f1": accuracy,
        "log_loss": 1.0,
        "ece": 0.1,
        **others,
        "baselines": baselines,
        "parts": {"network alone, uncalibrated": {"accuracy": accuracy - 0.1, "ece": 0.2}},
        "verdict": verdict,
    }


def test_the_spread_is_a_samples_and_verdicts_are_counted() -> None:
    scored = [metrics(0.7, "beats"), metrics(0.8, "ties"), metrics(0.9, "beats")]
    summary = summarize(GROUP, METRICS, scored, [1.0, 2.0, 4.5])
    assert summary["scores"]["accuracy"] == pytest.approx({"mean": 0.8, "sd": 0.1, "min": 0.7, "max": 0.9})
    assert summary["baselines"]["majority"]["macro_f1"]["mean"] == pytest.approx(0.3)
    assert summary["verdicts"] == {"beats": 2, "ties": 1, "loses to": 0}
    assert summary["seconds"] == 7.5
    assert summary["parts"]["network alone, uncalibrated"]["accuracy"]["mean"] == pytest.approx(0.7)
    assert "| network alone, uncalibrated | 0.7000 ± 0.1000 | 0.2000 ± 0.0000 |" in page(summary, METRICS)
    assert "| this model | 0.8000 ± 0.1000 | 0.1000 ± 0.0000 |" in page(summary, METRICS)
    assert ["majority accuracy", "0.5000 ± 0.0000", "0.5000", "0.5000"] in table(summary, METRICS)[1]
    assert conclusions(summary) == ["of 3 runs 2 beat the best baseline, 1 tie, 0 lose"]


def test_a_score_that_one_run_lacks_is_left_out_and_so_are_baselines_that_were_not_fitted() -> None:
    scored = [metrics(0.7, roc_auc=0.9), metrics(0.8, roc_auc=0.8), metrics(0.9)]
    summary = summarize(GROUP, METRICS, scored, [1, 2, 3])
    assert "roc_auc" not in summary["scores"]
    assert (summary["baselines"], conclusions(summary)) == ({}, [])
    assert "ROC AUC" not in page(summary, METRICS)
    assert "| fold-3 | 10 | 0.9000 | 0.9000 | 1.0000 | 0.1000 |  | 3 |" in page(summary, METRICS)


def test_a_summary_of_rows_that_chose_the_models_says_so_and_claims_nothing() -> None:
    scored = [{**metrics(score), "split": "dev", "chosen_on": True, "ece": None} for score in (0.5, 0.6, 0.7)]
    summary = summarize(GROUP, METRICS, scored, [1, 2, 3])
    assert summary["chosen_on"] is True
    assert "ece" not in summary["scores"]
    first, *others = page(summary, METRICS).splitlines()
    assert first == "# dev over 3 folds: rows on which the best epochs were chosen"
    assert any("the scores are too good" in line for line in others)
    assert not any(word in page(summary, METRICS) for word in ("beat", "ECE"))


def test_only_the_tasks_own_metrics_are_summed_up_and_those_kept_out_of_summaries_are_not() -> None:
    scored = [{**metrics(score), "micro_f1": score, "rmse": score} for score in (0.7, 0.8, 0.9)]
    assert list(summarize(GROUP, METRICS, scored, [1, 2, 3])["scores"]) == [
        "accuracy",
        "macro_f1",
        "log_loss",
        "ece",
    ]
    own = [Metric("rmse", "RMSE", higher_is_better=False)]
    summary = summarize(GROUP, own, scored, [1, 2, 3])
    assert list(summary["scores"]) == ["rmse"]
    assert table(summary, own)[1] == [["RMSE", "0.8000 ± 0.1000", "0.7000", "0.9000"]]
    assert "| fold-3 | 10 | 0.9000 |  | 3 |" in page(summary, own)


def test_a_group_reads_back_and_what_is_none_is_not_read(tmp_path: Path) -> None:
    group = RunGroup(tmp_path, "seeds", tuple(f"seed-{i}" for i in range(12)))
    assert RunGroup.read(tmp_path) is None
    group.write()
    assert RunGroup.read(tmp_path) == group
    assert group.resume == f"lstmcls train {tmp_path} --seeds 12 --resume"
    assert group.choices().endswith("seed-9, …")
    for text in (
        "",
        "7",
        "[]",
        '{"by": "x", "members": ["a"]}',
        '{"by": "seeds", "members": []}',
        "[" * 100_000,
    ):
        (tmp_path / "members.json").write_text(text, encoding="utf-8")
        assert RunGroup.read(tmp_path) is None
