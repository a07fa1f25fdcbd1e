"""Agreement against its definition, written a second time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgedeploy.agreement import compare, complaints, merged, same_tokens
from edgedeploy.domain.measurement import Agreement, LanguageAgreement, Perplexity
from edgedeploy.domain.recipe import Floors

floats = hnp.arrays(np.float32, 7, elements=st.floats(-100, 100, width=32))


@given(floats, floats)
def test_figures_follow_their_definitions(output: np.ndarray, reference: np.ndarray) -> None:
    found = compare([output], [reference])
    if np.array_equal(output, reference):
        assert found.exact
        return
    o, r = [float(x) for x in output], [float(x) for x in reference]
    assert found.max_abs_error == max(abs(a - b) for a, b in zip(o, r, strict=True))
    noise, signal = sum((a - b) ** 2 for a, b in zip(r, o, strict=True)), sum(a * a for a in r)
    expected = 10 * math.log10(signal / noise) if signal else -999.0
    assert found.sqnr_db == pytest.approx(expected, rel=1e-6, abs=1e-6)
    norms = math.sqrt(sum(a * a for a in o)) * math.sqrt(signal)
    expected_cosine = sum(a * b for a, b in zip(o, r, strict=True)) / norms if norms else 0.0
    assert found.cosine == pytest.approx(expected_cosine, rel=1e-6, abs=1e-6)


def test_the_worst_output_counts() -> None:
    good, bad = np.array([1.0, 2.0]), np.array([-1.0, 2.0])
    found = compare([good, bad], [good, good])
    assert not found.exact
    assert found.max_abs_error == 2.0
    assert found.cosine == pytest.approx(0.6)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_nan_and_infinity_are_never_a_good_number(odd: float) -> None:
    found = compare([np.array([1.0, odd])], [np.array([1.0, 2.0])])
    assert not found.finite
    assert complaints(found, Floors()) == ("the output is NaN or infinite where PyTorch's is not",)


def test_infinity_where_pytorch_has_infinity_is_right() -> None:
    assert compare([np.array([1.0, -np.inf])], [np.array([1.0, -np.inf])]).exact
    assert not compare([np.array([1.0, np.inf])], [np.array([1.0, -np.inf])]).finite


def test_integers_and_booleans_are_compared_too() -> None:
    assert compare([np.array([1, 2], np.int64)], [np.array([1, 2], np.int64)]).exact
    assert compare([np.array([True])], [np.array([False])]).max_abs_error == 1.0


def decisions(right: int, wrong: int) -> tuple[np.ndarray, np.ndarray]:
    reference = np.arange(right + wrong)[:, None]
    return np.where(reference < right, reference, -1), reference


@pytest.mark.parametrize(
    ("right", "wrong", "accepted"), [(10, 0, True), (9, 1, True), (8, 2, False), (0, 1, False), (1, 1, False)]
)
def test_decisions_alone_are_judged_by_their_share(right: int, wrong: int, accepted: bool) -> None:
    outputs, references = decisions(right, wrong)
    found = compare([outputs], [references], ["best"])
    said = complaints(found, Floors(min_sqnr_db=15, min_cosine=0.98, min_same=0.9))
    assert said == (() if accepted else (f"{right} of {right + wrong} values are PyTorch's, below 90% of them",))


def test_one_decision_of_a_few_may_be_another_beside_an_output_that_shows_the_noise() -> None:
    outputs, references = decisions(1, 1)
    scores = np.array([[1.0, 2.0]])
    found = merged([compare([outputs, scores + 0.01], [references, scores], ["best", "scores"])])
    assert found.sqnr_db == pytest.approx(10 * np.log10(5 / 2e-4))
    assert complaints(found, Floors(min_sqnr_db=15, min_same=0.9)) == ()
    assert complaints(found, Floors(min_sqnr_db=15, min_same=1.0)) == ("best: 1 of 2 values are PyTorch's, below 100% of them",)
    outputs, references = decisions(7, 3)
    found = compare([outputs, scores + 0.01], [references, scores], ["best", "scores"])
    assert complaints(found, Floors(min_same=0.9)) == ("best: 7 of 10 values are PyTorch's, below 90% of them",)
    assert complaints(found, Floors()) == ()


def test_decisions_are_never_left_unjudged_by_floors_that_do_not_name_them() -> None:
    outputs, references = decisions(1, 9)
    scores = np.array([[1.0, 2.0]])
    alone = compare([outputs], [references], ["best"])
    beside = compare([outputs, scores], [references, scores], ["best", "scores"])
    assert complaints(alone, Floors(min_sqnr_db=15))
    assert [text.partition(":")[0] for text in complaints(beside, Floors(min_sqnr_db=15))] == ["best"]


def test_another_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match="against"):
        compare([np.zeros(2)], [np.zeros(3)])


def test_floors() -> None:
    found = compare([np.array([1.0, 2.1])], [np.array([1.0, 2.0])])
    assert complaints(found, Floors(min_sqnr_db=20.0, min_cosine=0.9, max_abs_error=0.2)) == ()
    short = complaints(found, Floors(min_sqnr_db=60.0, min_cosine=0.99999, max_abs_error=0.01))
    assert [text.split()[0] for text in short] == ["SQNR", "cosine", "largest"]


def test_each_output_has_its_own_figures_and_its_complaints_its_name() -> None:
    good, bad = np.array([1.0, 2.0]), np.array([-1.0, 2.0])
    found = compare([good, bad], [good, good], ["boxes", "scores"])
    assert [(output.name, output.exact) for output in found.outputs] == [("boxes", True), ("scores", False)]
    assert complaints(found, Floors(min_cosine=0.9)) == ("scores: cosine 0.60000 is below 0.9",)


def test_top1_counts_rows_of_a_classifier_and_nothing_else() -> None:
    reference = np.array([[[1.0, 2.0, 0.0]], [[3.0, 2.0, 0.0]], [[1.0, 2.0, 9.0]], [[1.0, 0.0, 0.0]]])
    output = reference.copy()
    output[3] = [[0.9, 1.0, 0.0]]
    found = compare([output], [reference], ["logits"])
    assert found.top1 == 0.75
    assert complaints(found, Floors(min_top1=0.8)) == ("top-1 agreement 0.750 is below 0.8",)
    assert complaints(found, Floors(min_top1=0.75)) == ()
    assert compare([output.astype(np.int64)], [reference.astype(np.int64)]).top1 is None
    assert compare([np.zeros((2, 1, 1))], [np.zeros((2, 1, 1))]).top1 is None
    assert compare([np.zeros((2, 3, 4, 5))], [np.zeros((2, 3, 4, 5))]).top1 is None


def test_parts_become_one_by_the_worst_and_top1_by_the_number_of_cases() -> None:
    right = np.array([[[0.0, 1.0]]] * 3)
    wrong = np.array([[[1.0, 0.0]]])
    found = merged([compare([right], [right], ["y"]), compare([wrong], [right[:1]], ["y"])])
    (output,) = found.outputs
    assert (output.name, output.cases, output.top1) == ("y", 4, 0.75)
    assert not found.exact
    assert found.max_abs_error == 1.0
    assert merged([compare([right], [right], ["y"])]).exact


def test_one_part_that_is_not_finite_spoils_the_whole() -> None:
    fine, odd = np.array([[1.0]]), np.array([[np.nan]])
    assert not merged([compare([fine], [fine], ["y"]), compare([odd], [fine], ["y"])]).finite


def test_tokens_after_the_first_other_one_do_not_count() -> None:
    found = same_tokens([[1, 2, 3, 4], [5, 6, 9, 8], [7, 7]], [[1, 2, 3], [5, 6, 7, 8], []])
    assert found == LanguageAgreement(tokens=7, same=5)


def _said(same: int, artifact: float) -> Agreement:
    language = LanguageAgreement(tokens=10, same=same, perplexity=Perplexity(pytorch=20.0, artifact=artifact, tokens=99))
    return Agreement(max_abs_error=0.1, cosine=1.0, sqnr_db=90.0, exact=False, language=language)


def test_a_language_model_is_judged_by_its_tokens_and_its_perplexity() -> None:
    floors = Floors(min_same_tokens=1.0, max_perplexity_increase=0.1)
    assert complaints(_said(10, 21.9), floors) == ()
    assert complaints(_said(10, 15.0), floors) == (), "better than PyTorch is no complaint"
    (tokens,) = complaints(_said(9, 20.0), floors)
    assert "9 of 10" in tokens
    (perplexity,) = complaints(_said(10, 23.0), floors)
    assert "+15.0%" in perplexity
    assert complaints(_said(0, 1e9), Floors()) == ()
    assert len(complaints(_said(10, math.inf), floors)) == 1
