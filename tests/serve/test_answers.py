"""What the service answers: the keys of `lstmcls predict`, in order, also when many ask at once."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lstm_cli.answers import PredictOptions, class_prediction
from lstm_cli.errors import ConfigError
from lstm_cli.serve.metrics import Metrics
from tests.serve.conftest import LABELS, Client, Explaining, Explanation, Known, Start, served, wait_until


def line(text: str, row: int = 0, options: PredictOptions | None = None) -> dict[str, object]:
    """What `lstmcls predict --no-text` writes."""
    (output,) = Known().predict_proba([text])
    return {"row": row, **class_prediction(LABELS, output, options or PredictOptions())}


def test_one_text_gets_one_prediction(client: Client) -> None:
    answer = client.predict({"text": "a fine film"})
    assert answer.status == 200
    assert answer.json == line("a fine film")


def test_texts_get_predictions_in_their_order(client: Client) -> None:
    texts = [f"text {i} 漢字 ☃" for i in range(300)]
    expected = {"predictions": [line(text, row) for row, text in enumerate(texts)]}
    assert client.predict({"texts": texts}).json == expected
    assert client.predict(texts).json == expected


def test_no_texts_get_no_predictions(client: Client) -> None:
    bodies: list[object] = [{"texts": []}, {"rows": []}, []]
    for body in bodies:
        assert client.predict(body).json == {"predictions": []}


def test_options_are_those_of_predict(client: Client) -> None:
    options = PredictOptions(top_k=2, probs=True, min_score=0.99)
    answer = client.predict({"text": "fine", "top_k": 2, "probs": True, "min_score": 0.99})
    assert answer.json == line("fine", options=options)
    assert {"best", "top", "probs"} <= answer.json.keys()


def test_rows_keep_their_other_columns(client: Client) -> None:
    rows = [{"text": "fine", "label": "x", "id": 7}, {"id": 8, "text": "dull"}]
    expected = [
        {**line("fine"), "input.label": "x", "id": "7"},
        {**line("dull", 1), "id": "8"},
    ]
    assert client.predict(rows).json == {"predictions": expected}
    assert client.predict({"rows": rows, "top_k": 1}).json == {"predictions": expected}


def test_a_row_that_cannot_be_used_says_why_and_keeps_its_place(client: Client) -> None:
    answers = client.predict([{"text": "fine"}, {"other": "dull"}, 3, {"text": "dull"}]).json["predictions"]
    assert answers[0] == line("fine")
    assert 'no column "text" (have: other)' in answers[1]["error"]
    assert "a JSON int where an object is needed" in answers[2]["error"]
    assert answers[3] == line("dull", 3)


def test_a_request_among_many_gets_the_bytes_it_gets_alone(start: Start) -> None:
    model = Known()
    client = start(model)
    bodies = [{"texts": [f"{i} {j}" for j in range(i % 5 + 1)], "probs": True} for i in range(60)]
    alone = [client.predict(body).body for body in bodies]
    model.batches.clear()
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda body: client.predict(body).body, bodies))
    assert together == alone


def test_what_comes_while_the_model_computes_is_one_batch(start: Start) -> None:
    model = Known()
    client = start(model)
    model.free.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(client.predict, {"text": "first"})
        wait_until(lambda: model.batches)
        others = [pool.submit(client.predict, {"texts": [f"{i}", f"{i}'"]}) for i in range(8)]
        wait_until(lambda: client.service.batcher.num_queued == 16)
        model.free.set()
        assert first.result().status == 200
        assert {one.result().status for one in others} == {200}
    assert [len(batch) for batch in model.batches] == [1, 16]


def test_no_batch_has_more_texts_than_the_limit(start: Start) -> None:
    model = Known()
    client = start(model, batch_texts=8)
    assert len(client.predict([f"{i}" for i in range(30)]).json["predictions"]) == 30
    assert max(len(batch) for batch in model.batches) == 8


def test_only_the_request_fails_that_the_model_cannot_answer(start: Start) -> None:
    model = Known(fails_at="poison")
    client = start(model)
    model.free.clear()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(client.predict, {"text": "before"})]
        wait_until(lambda: model.batches)
        asked += [pool.submit(client.predict, {"text": text}) for text in ("a", "poison", "b")]
        wait_until(lambda: client.service.batcher.num_queued == 3)
        model.free.set()
        assert sorted(one.result().status for one in asked) == [200, 200, 200, 500]
    assert client.predict({"text": "after"}).status == 200


def test_explanations_come_with_the_predictions(start: Start) -> None:
    client = start(Explaining())
    answer = client.predict({"texts": ["a b", "c"], "explain": True}).json["predictions"]
    assert [one["explanation"] for one in answer] == [{"words": ["a", "b"]}, {"words": ["c"]}]
    assert "explanation" not in client.predict({"text": "a"}).json


def test_others_are_answered_between_explanations(start: Start) -> None:
    model = Explaining()
    client = start(model)
    model.free.clear()
    with ThreadPoolExecutor(2) as pool:
        explained = pool.submit(client.predict, {"texts": ["a", "b", "c"], "explain": True})
        wait_until(lambda: model.batches)
        other = pool.submit(client.predict, {"texts": ["x", "y"]})
        wait_until(lambda: client.service.batcher.num_queued == 2)
        model.free.set()
        assert other.result().status == 200
        assert [one["explanation"]["words"] for one in explained.result().json["predictions"]] == [
            ["a"],
            ["b"],
            ["c"],
        ]
    assert model.batches == [["a"], ["x", "y"], ["b"], ["c"]]


def test_why_a_model_cannot_explain_is_said(start: Start) -> None:
    class Several(Explaining):
        def explain(self, text: str) -> Explanation:
            raise ConfigError("runs/all: holds several runs")

    answer = start(Several()).predict({"text": "a", "explain": True})
    assert answer.status == 400
    assert answer.error == "body.explain: runs/all: holds several runs; leave it out"


def test_a_model_that_cannot_explain_says_so(client: Client) -> None:
    answer = client.predict({"text": "a", "explain": True})
    assert answer.status == 400
    assert "cannot explain" in answer.error


def test_health_and_model_describe_the_service(client: Client) -> None:
    assert client.ask("GET", "/health").json == {"status": "ok"}
    assert client.ask("GET", "/model").json == {"name": "known", "labels": list(LABELS)}
    assert client.ask("HEAD", "/health").body == b""


def test_another_model_answers_as_soon_as_it_is_there(start: Start) -> None:
    client = start(Known())

    class Sure(Known):
        def predict_proba(self, texts):  # type: ignore[no-untyped-def]
            return super().predict_proba(texts) * 0 + [0.0, 1.0]

    client.service.batcher.served = served(Sure(), name="sure")
    assert client.predict({"text": "a"}).json["score"] == 1.0
    assert client.ask("GET", "/model").json["name"] == "sure"


def test_metrics_count_requests_texts_batches_and_time(start: Start) -> None:
    client = start(Known())
    client.predict({"texts": ["a", "b", "c"]})
    client.predict({"nonsense": 1})
    client.ask("GET", "/secret/place")
    answer = client.ask("GET", "/metrics")
    text = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'lstmcls_requests_total{path="/predict",status="200"} 1' in text
    assert 'lstmcls_requests_total{path="/predict",status="400"} 1' in text
    assert 'lstmcls_requests_total{path="other",status="404"} 1' in text
    assert "lstmcls_texts_total 3" in text
    assert 'lstmcls_batch_texts_bucket{le="2"} 0' in text
    assert 'lstmcls_batch_texts_bucket{le="4"} 1' in text
    assert "lstmcls_predict_seconds_count 2" in text
    assert "lstmcls_queue_texts 0" in text
    for one in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]+"(,\w+="[^"]+")*\})? [0-9.]+', one), one


def test_the_log_has_a_line_per_request_and_no_text(start: Start) -> None:
    client = start(Known())
    client.predict({"text": "my secret"})
    client.ask("GET", "/my%20secret?text=my%20secret")
    client.ask("GET", "/health")
    wait_until(lambda: len(client.log) == 3)
    assert [re.sub(r"[\d.]+ ms$", "N ms", one) for one in client.log] == [
        "POST /predict 200 N ms",
        "GET other 404 N ms",
        "GET /health 200 N ms",
    ]


@pytest.mark.parametrize("text", ["", " ", "\0", "a\u2028b\x85c", "😀" * 50, "<script>"])
def test_any_text_is_answered(client: Client, text: str) -> None:
    assert client.predict({"text": text}).json == line(text)
    assert client.predict(json.dumps({"text": text}, ensure_ascii=False).encode()).json == line(text)


def test_an_answer_is_one_line(client: Client) -> None:
    rows = [{"text": "a", "note": "x\u2028y\x85z\n"}]
    body = client.predict(rows).body.decode()
    assert len(body.splitlines()) == 1
    assert json.loads(body)["predictions"][0]["note"] == rows[0]["note"]


def test_many_threads_may_count() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(500):
            metrics.request("/predict", 200, 0.0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "lstmcls_predict_seconds_count 2000" in metrics.text(0)
