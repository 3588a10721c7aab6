"""The estimator keeps the rules of scikit-learn: clones, pipelines, pickles, labels of any kind."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

import lstm_cli
from tests.conftest import small_rows

SMALL = {
    "data": {"dev": 0.3},
    "task": {
        "tokenizer": {"min_count": 1},
        "encoder": {"init_from": None, "embedding_size": 8, "hidden_size": 8},
        "features": "none",
        "adversarial": 0.0,
    },
    "train": {"learning_rate": 0.02},
}
TEXTS, LABELS = map(list, zip(*small_rows(120), strict=True))


def small(**given: Any) -> lstm_cli.LstmClassifier:
    return lstm_cli.LstmClassifier(**{"config": SMALL, "epochs": 1, "threads": 1, "random_state": 0, **given})


@pytest.fixture(scope="module")
def fitted() -> lstm_cli.LstmClassifier:
    return small().fit(TEXTS, LABELS)


CHECKS = (
    "estimator_cloneable",
    "get_params_invariance",
    "set_params",
    "no_attributes_set_in_init",
    "parameters_default_constructible",
    "estimator_repr",
    "valid_tag_types",
)
"""The checks of scikit-learn that fit nothing. All others it leaves out itself for estimators that read text."""


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_it_passes_what_scikit_learn_asks_of_estimators_of_text() -> None:
    model = small()
    estimator_checks.check_estimator(model)
    checks = [getattr(estimator_checks, f"check_{name}", None) for name in CHECKS]
    found = [check for check in checks if check]
    assert len(found) >= 6
    for check in found:
        check("LstmClassifier", model)


def test_it_predicts_the_labels_it_was_given(fitted: lstm_cli.LstmClassifier) -> None:
    assert fitted.classes_.tolist() == ["negative", "positive"]
    probs = fitted.predict_proba(np.array(TEXTS))
    assert probs.shape == (120, 2)
    assert np.allclose(probs.sum(axis=1), 1)
    assert fitted.predict(TEXTS).tolist() == [("negative", "positive")[i] for i in probs.argmax(axis=1)]
    assert fitted.predict(np.array(TEXTS, object)[:, None]).shape == (120,)
    assert 0 <= fitted.metrics_["accuracy"] <= 1


@pytest.mark.parametrize("names", [[10, 9], [False, True], ["ü", "a b"], [2.0, -1.0], list(range(12))])
def test_labels_of_any_kind_come_back_as_they_were(names: list[Any]) -> None:
    labels = [names[i % len(names)] for i in range(len(TEXTS))]
    model = small().fit(TEXTS, np.array(labels))
    assert model.classes_.tolist() == sorted(names)
    assert model.predict_proba(TEXTS[:2]).shape == (2, len(names))
    predicted = model.predict(TEXTS)
    assert predicted.dtype == np.array(labels).dtype
    assert set(predicted.tolist()) <= set(names)


def test_the_columns_are_in_the_order_of_the_classes() -> None:
    texts = [f"word{i % 12} " * 3 + f"{i}" for i in range(240)]
    labels = [i % 12 for i in range(240)]  # as text, 10 and 11 sort before 2
    model = small(epochs=60).fit(texts, labels)
    assert (model.predict(texts) == labels).mean() > 0.9


def test_a_clone_and_a_pickle_and_the_same_seed_give_the_same_model(fitted: lstm_cli.LstmClassifier) -> None:
    expected = fitted.predict_proba(TEXTS)
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        again.predict(TEXTS)
    assert (again.fit(TEXTS, LABELS).predict_proba(TEXTS) == expected).all()
    assert (pickle.loads(pickle.dumps(fitted)).predict_proba(TEXTS) == expected).all()  # noqa: S301 - our own bytes
    other = small(random_state=np.random.RandomState(3)).fit(TEXTS, LABELS)
    assert (other.predict_proba(TEXTS) != expected).any()


def test_it_works_in_a_pipeline_and_in_cross_validation() -> None:
    model = make_pipeline(FunctionTransformer(lambda texts: [text.upper() for text in texts]), small())
    assert len(cross_val_score(model, TEXTS, LABELS, cv=2)) == 2


@pytest.mark.parametrize(
    ("texts", "labels", "fault", "said"),
    [
        (["a"] * 4, ["x"] * 4, ValueError, "at least two classes, got 1 class"),
        (["a"] * 4, ["x", "y"], ValueError, "one label for each of the 4 texts"),
        (["a"] * 4, [0.1, 0.2, 0.3, 0.4], ValueError, "continuous"),
        ("one text", ["x"], ValueError, r"must be a list of texts, got one text; try \[text\]"),
        ([], [], ValueError, "at least one text"),
        (["a", 3], ["x", "y"], TypeError, r"X\[1\]: must be a str, got int"),
    ],
)
def test_what_cannot_be_learned_is_said(texts: Any, labels: Any, fault: type[Exception], said: str) -> None:
    with pytest.raises(fault, match=said):
        small().fit(texts, labels)


def test_a_wrong_setting_is_said() -> None:
    with pytest.raises(lstm_cli.ConfigError, match=r'unknown key.*"epochs"'):
        small(config={"train": {"epoch": 2}}).fit(TEXTS, LABELS)
    with pytest.raises(lstm_cli.ConfigError, match=r'no such preset .* Did you mean "sentences"'):
        small(preset="sentence").fit(TEXTS, LABELS)
