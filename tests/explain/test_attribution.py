"""What each word adds to a prediction: it adds up, it stands where it belongs, and it is what leaving it out shows."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_cli.data.labels import Labels
from lstm_cli.data.text import text_row
from lstm_cli.data.tokenizer import TextTokenizer
from lstm_cli.errors import ConfigError
from lstm_cli.explain import attribution, gradients
from lstm_cli.explain.attribution import contributions, explain
from lstm_cli.explain.words import shared_out, words_of
from lstm_cli.features.named import class_weights, named_ngrams, strongest_ngrams
from lstm_cli.features.ngrams import Ngrams
from lstm_cli.runtime import RuntimeConfig, start
from lstm_cli.scoring.prediction import predict_rows
from lstm_cli.tasks.classify import Classify, ClassifyConfig
from lstm_cli.tasks.classify_explained import ClassifyExplainer
from tests.conftest import small_rows

CPU = start(RuntimeConfig(device="cpu", threads=1), trains=False)
ROWS = small_rows(60)
TEXTS = [text for text, _ in ROWS]
OTHERS = [
    "",
    " ",
    "xyzzy",
    "GOOD film!",
    "这部电影 good",
    "فيلم good جيد",
    "İ good ﬁne Straße",
    "a\n\tgood  film",
]
NAMES = ("negative", "neutral", "positive")


def explainer_of(kind: str, cell: str, pooling: str, classes: int, *, ngrams: bool) -> ClassifyExplainer:
    config = ClassifyConfig.model_validate(
        {
            "tokenizer": {"kind": kind, "vocab_size": 200},
            "encoder": {"cell": cell, "embedding_size": 6, "hidden_size": 5, "num_layers": 2},
            "pooling": pooling,
            "max_tokens": 30,
            "features": "ngrams" if ngrams else "none",
        }
    )
    targets = np.arange(len(TEXTS)) % classes
    task = Classify(
        config,
        TextTokenizer.learn(config.tokenizer, TEXTS),
        Labels(NAMES[:classes], (20,) * classes),
        Ngrams.learn(TEXTS, targets) if ngrams else None,
    )
    torch.manual_seed(classes)
    model = task.build_model()
    with torch.no_grad():
        for parameter in model.parameters():  # weights that matter, as in a trained model
            parameter.copy_(torch.randn_like(parameter) * 0.4)
        model.encoder.embedding.weight[0].zero_()
        model.scales.copy_(torch.tensor([0.6, 1.4]))
        model.uniform.fill_(0.02)
    return task.explainer(model)


EXPLAINERS = [
    explainer_of("word", "lstm", "final", 3, ngrams=False),
    explainer_of("bpe", "gru", "max", 2, ngrams=True),
    explainer_of("unigram", "rnn", "attention", 3, ngrams=True),
    explainer_of("char", "lstm", "mean+max", 2, ngrams=False),
]
each = pytest.mark.parametrize("explainer", EXPLAINERS, ids=["word", "bpe", "unigram", "char"])
some_text = st.one_of(st.sampled_from([*TEXTS, *OTHERS]), st.text(max_size=30))


@each
def test_the_contributions_add_up_to_the_difference_of_the_logits(explainer: ClassifyExplainer) -> None:
    @settings(max_examples=25, deadline=None)
    @given(some_text)
    def holds(text: str) -> None:
        found = explain(explainer, text, CPU)
        total = found.base + sum(word.contribution for word in found.words)
        assert abs(found.difference - total) <= max(0.01 * abs(found.difference - found.base), 2e-3)
        assert found.error == pytest.approx(found.difference - total, abs=1e-6)

    holds()


@each
def test_label_score_and_difference_are_those_of_predict(explainer: ClassifyExplainer) -> None:
    for text in [*TEXTS[:5], *OTHERS]:
        (row,) = predict_rows(explainer.model, explainer.task, [text_row(text)], CPU)
        assert row.output is not None
        found = explain(explainer, text, CPU)
        np.testing.assert_allclose(list(found.probs.values()), row.output, atol=1e-6)
        assert found.label == found.predicted == explainer.names[int(row.output.argmax())]
        other = explain(explainer, text, CPU, explainer.names[0])
        assert other.label == explainer.names[0] != other.against
        assert other.score == pytest.approx(row.output[0], abs=1e-6)


@each
def test_without_is_the_loss_of_predicting_the_text_without_the_word(explainer: ClassifyExplainer) -> None:
    text = TEXTS[0]
    found = explain(explainer, text, CPU)
    label, against = (list(explainer.names).index(name) for name in (found.label, found.against))
    for word in found.words:
        left = explain(explainer, text[: word.begin] + text[word.end :], CPU, found.label)
        probs = list(left.probs.values())
        uniform = explainer.model.uniform.item() / len(probs)
        difference = np.log((probs[label] - uniform) / (probs[against] - uniform))
        assert word.without == pytest.approx(found.difference - difference, abs=1e-4)
    ends = [text[: word.end] for word in found.words]
    rows = predict_rows(explainer.model, explainer.task, list(map(text_row, ends)), CPU)
    scores = [row.output[label] for row in rows if row.output is not None]
    np.testing.assert_allclose([word.score or 0.0 for word in found.words], scores, atol=1e-6)


@each
def test_every_token_has_a_place_in_the_text(explainer: ClassifyExplainer) -> None:
    @settings(max_examples=50, deadline=None)
    @given(some_text)
    def holds(text: str) -> None:
        tokenizer = explainer.task.tokenizer
        (ids,) = tokenizer.encode([text])
        spans = tokenizer.spans(text)
        assert len(spans) == len(ids)
        assert all(0 <= begin <= end <= len(text) for begin, end in spans)
        assert [begin for begin, _ in spans] == sorted(begin for begin, _ in spans)

    holds()


def test_a_word_tokens_contribution_stands_at_its_word() -> None:
    explainer = EXPLAINERS[0]
    read = explainer.read("A GOOD Film!")
    assert [("A GOOD Film!")[begin:end] for begin, end in read.spans] == ["A", "GOOD", "Film", "!"]


@settings(max_examples=100, deadline=None)
@given(some_text, st.booleans())
def test_the_named_ngrams_of_a_text_add_up_to_its_logits(text: str, two: bool) -> None:
    ngrams = EXPLAINERS[1 if two else 2].task.ngrams
    assert ngrams is not None
    found = named_ngrams(ngrams, text)
    total = class_weights(ngrams, ngrams.bias.astype(np.float64))
    for one in found:
        total = total + one.weights
        for begin, end in one.spans:
            assert 0 <= begin <= end <= len(text)
    np.testing.assert_allclose(total, ngrams.logits([text])[0], atol=1e-4)


def test_an_ngram_has_its_words_as_a_name() -> None:
    ngrams = EXPLAINERS[1].task.ngrams
    assert ngrams is not None
    text = next(text for text in TEXTS if "good" in text).upper()
    names = {one.name for one in named_ngrams(ngrams, text) if one.of == "words"}
    assert "GOOD" in names
    for one in named_ngrams(ngrams, text):
        assert all(text[begin:end] == one.name for begin, end in one.spans) or len(one.spans) > 1


@pytest.mark.parametrize("explainer", EXPLAINERS[1:3])
def test_the_strongest_ngrams_of_a_class_are_those_with_the_largest_weights(
    explainer: ClassifyExplainer,
) -> None:
    ngrams = explainer.task.ngrams
    assert ngrams is not None
    plainly: list[dict[str, float]] = [{} for _ in explainer.names]
    for text in TEXTS:
        for one in named_ngrams(ngrams, text):
            if one.of == "words":
                for of_class, weight in zip(plainly, one.weights.tolist(), strict=True):
                    of_class[" ".join(one.name.lower().split())] = weight
    found = strongest_ngrams(ngrams, TEXTS, 5)
    assert len(found) == len(explainer.names)
    for shown, known in zip(found, plainly, strict=True):
        assert [weight for _, weight in shown] == sorted(known.values(), reverse=True)[:5]
        assert all(known[name] == weight > 0 for name, weight in shown)
    assert strongest_ngrams(ngrams, ["xyzzy"], 5) == [[]] * len(explainer.names)


def test_the_strongest_ngrams_weigh_what_the_explanation_says() -> None:
    explainer = EXPLAINERS[2]
    for found, name in zip(explainer.strongest_ngrams(TEXTS, 3), explainer.names, strict=True):
        assert len(found) == 3
        for ngram, weight in found:
            (same,) = (one for one in explainer.read(ngram).ngrams if one.of == "words" and one.name == ngram)
            assert same.weights[list(explainer.names).index(name)] == pytest.approx(weight)


def test_ngrams_that_the_model_does_not_use_are_not_shown() -> None:
    assert EXPLAINERS[0].strongest_ngrams(TEXTS, 3) == [[], [], []]
    blended = explainer_of("word", "lstm", "final", 2, ngrams=True)
    blended.model.scales[1] = 0.0
    assert blended.strongest_ngrams(TEXTS, 3) == [[], []]


def test_the_quick_contributions_of_many_texts_are_those_of_the_explanation_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gradients, "_STEPS_OF_TEXTS", 100)  # two short texts, or one long one, at once
    texts = [TEXTS[0], *OTHERS, " good, film \n", " ".join(TEXTS[:4]), TEXTS[1]]
    for explainer in EXPLAINERS:
        single = [explain(explainer, text, CPU, explainer.names[0]) for text in texts]
        asked = [(one.text, one.label, one.against) for one in single]
        for whole, pieces in zip(single, contributions(explainer, asked, CPU), strict=True):
            assert "".join(piece for piece, _ in pieces) == whole.text
            values = [word.contribution for word in whole.words]
            np.testing.assert_allclose([value for _, value in pieces], values, atol=0.02)
    assert contributions(EXPLAINERS[0], [], CPU) == []


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_the_words_of_a_text_follow_each_other(text: str) -> None:
    words = words_of(text)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(words))
    assert all(begin < end for begin, end in words) or words == [(0, len(text))]


def test_words_are_those_that_a_person_sees() -> None:
    def seen(text: str) -> list[str]:
        return [text[begin:end] for begin, end in words_of(text)]

    assert seen("I don't like it... at all!") == ["I", "don't", "like", "it", "...", "at", "all", "!"]
    assert seen("这部电影good") == ["这", "部", "电", "影", "good"]
    assert seen("فيلم جيد") == ["فيلم", "جيد"]
    assert seen(" ") == [" "]


def test_what_is_in_several_words_is_shared_out_by_characters() -> None:
    words = [(0, 4), (5, 7)]
    np.testing.assert_allclose(shared_out([3.0], [[(2, 7)]], words), [1.5, 1.5])
    np.testing.assert_allclose(shared_out([3.0], [[(0, 4), (5, 7)]], words), [1.5, 1.5])
    np.testing.assert_allclose(shared_out([1.0, 1.0], [[(4, 5)], [(7, 9)]], words), [0.0, 2.0])
    np.testing.assert_allclose(shared_out([1.0, 2.0], [[(2, 2)], [(3, 6)]], words), [2.0, 1.0])
    np.testing.assert_allclose(shared_out([], [], words), [0.0, 0.0])


def test_attention_is_shared_out_over_the_words_and_sums_to_one() -> None:
    found = explain(EXPLAINERS[2], TEXTS[0], CPU)
    assert sum(word.attention or 0.0 for word in found.words) == pytest.approx(1.0, abs=1e-5)
    assert all(word.attention is None for word in explain(EXPLAINERS[0], TEXTS[0], CPU).words)


def test_a_long_text_is_explained_in_part_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "_NUM_WORDS", (3, 5))
    found = explain(EXPLAINERS[1], " ".join(TEXTS[:4]), CPU)
    assert sum(word.without is not None for word in found.words) == 5
    assert sum(word.score is not None for word in found.words) == 5
    assert found.words[-1].score == pytest.approx(found.score, abs=1e-6)
    assert any("longer than the network reads" in note for note in found.notes)
    assert any("the 5 with the largest contributions" in note for note in found.notes)


def test_a_text_of_which_nothing_is_known_says_so_and_has_no_contribution() -> None:
    found = explain(EXPLAINERS[0], "xyzzy", CPU)
    assert found.notes == ("nothing of the text is known: the label is that of any such text",)
    assert [word.contribution for word in found.words] == [0.0]


def test_the_keys_of_an_explanation_are_promised() -> None:
    value = json.loads(json.dumps(explain(EXPLAINERS[1], TEXTS[0], CPU).as_json()))
    assert list(value) == [
        *("text", "label", "against", "predicted", "score", "probs"),
        *("difference", "base", "error", "words", "ngrams", "notes"),
    ]
    assert list(value["words"][0]) == [
        *("word", "begin", "end", "contribution", "network", "ngrams", "without", "attention", "score")
    ]
    assert list(value["ngrams"][0]) == ["ngram", "of", "contribution"]


def test_a_label_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no label 'positiv'.*Did you mean .positive."):
        explain(EXPLAINERS[0], "good", CPU, "positiv")
