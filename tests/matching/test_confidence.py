"""Probabilities, verdicts and confidence sets."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.matching.confidence import COVERAGES, Confidence, ConfidenceCalibration, estimate_confidence
from model.matching.match import Match
from model.matching.verify import verify
from model.pattern.spots import Spots
from tests.matches import make_match
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern

GOOD = make_match()
BAD = replace(GOOD, explained=0.4, missing=0.8, extra=0.7, r_factor=0.6)
CALIBRATION = ConfidenceCalibration(
    temperature=2.0,
    temperature_exponent=0.5,
    uninformative_probability=0.01,
    evidence_weights=(4.0, -4.0, -4.0, -1.0, 0.0, -2.0, -0.7),
    min_total_probability=0.3,
    unrefined_share=0.1,
    preceding_probabilities=(0.2, 0.3, 0.45, 0.6, 0.8, 0.9, 0.96, 0.985),
)


def estimate(matches: list[Match | None], scores: list[float], similar_count: int = 3) -> Confidence:
    return estimate_confidence(matches, np.array(scores), 40, similar_count, CALIBRATION)


def size(confidence: Confidence, coverage: float, total: int = 1000) -> int:
    return confidence.compute_set_size(coverage, total, CALIBRATION)


@given(st.lists(st.floats(-200, 500), min_size=1, max_size=30))
def test_probabilities_sum_to_at_most_one_and_follow_the_ranking(scores: list[float]) -> None:
    confidence = estimate([GOOD] * len(scores), scores)
    assert 0 < confidence.probability.sum() < 1
    assert confidence.probability[int(np.argmax(scores))] == confidence.probability.max()


def test_a_clear_winner_that_explains_all_is_a_match_and_two_equals_are_ambiguous() -> None:
    clear = estimate([GOOD, GOOD], [50.0, 20.0])
    assert clear.verdict == "match"
    assert clear.probability[0] > 0.9
    equal = estimate([GOOD, GOOD], [50.0, 50.0])
    assert equal.verdict == "ambiguous"
    assert equal.probability[0] == pytest.approx(equal.probability[1])


def test_a_candidate_that_explains_little_is_no_match_however_far_ahead() -> None:
    confidence = estimate([BAD, BAD], [50.0, 0.0])
    assert confidence.verdict == "no_match"
    assert confidence.probability.sum() < 0.3


def test_the_crystal_is_more_easily_missed_among_many_similar_candidates() -> None:
    by_count = {count: estimate([GOOD, GOOD], [50.0, 20.0], count) for count in (1, 10, 100)}
    total = [confidence.total_probability for confidence in by_count.values()]
    assert total == sorted(total, reverse=True)
    assert total[0] > 0.9 > 0.7 > total[2]
    assert size(by_count[100], 0.99) > size(by_count[1], 0.99)


def test_candidates_that_were_not_refined_have_no_probability() -> None:
    confidence = estimate([None, GOOD], [-np.inf, 1.0])
    assert np.isnan(confidence.probability[0])
    assert confidence.probability[1] > 0
    nothing = estimate([None, None], [-np.inf, -np.inf])
    assert nothing.verdict == "no_match"
    assert np.isnan(nothing.probability).all()


def test_a_crystal_is_found_in_its_own_pattern_and_none_in_random_spots() -> None:
    rng = np.random.default_rng(5)
    layers = [LAYERS["graphene"], LAYERS["oblique"], LAYERS["black phosphorus"]]
    pose = FlakePose(2.0, 80.0, 200.0)
    noisy = verify(layers, [0.5] * 3, simulate_pattern(LAYERS["oblique"], pose, rng), 80.0).confidence
    assert noisy is not None
    assert noisy.verdict != "no_match"
    assert noisy.probability[1] > 0.5
    clean = verify(layers, [0.5] * 3, simulate_pattern(LAYERS["oblique"], pose), 80.0).confidence
    assert clean is not None
    assert clean.verdict == "match"
    scattered = Spots(rng.uniform(-1.2, 1.2, (60, 2)), np.exp(rng.normal(0, 1, 60)))
    random = verify(layers, [0.5] * 3, scattered, 80.0).confidence
    assert random is not None
    assert random.verdict == "no_match"


def test_without_intensities_there_is_no_confidence() -> None:
    spots = simulate_pattern(LAYERS["MoS2"], FlakePose())
    assert verify([LAYERS["MoS2"]], [0.5], Spots(spots.q_inv_angstrom), 80.0).confidence is None


@given(
    st.lists(st.floats(-60, 60), min_size=1, max_size=20),
    st.floats(0.5, 0.99),
    st.integers(0, 400),
)
def test_a_set_ends_where_its_candidates_have_enough_probability(
    scores: list[float], coverage: float, place: int
) -> None:
    total = 500
    confidence = estimate([GOOD] * len(scores), scores)
    count = size(confidence, coverage, total)
    assert 1 <= count <= total
    limit = np.interp(coverage, COVERAGES, CALIBRATION.preceding_probabilities)
    preceding = confidence.compute_preceding_probability(place, CALIBRATION)
    if place < count:
        assert preceding <= limit + 1e-6
    else:
        assert preceding >= limit - 1e-6


def test_a_larger_coverage_or_closer_candidates_make_no_smaller_set() -> None:
    clear = estimate([GOOD] * 3, [60.0, 20.0, 10.0])
    equal = estimate([GOOD] * 3, [20.0, 20.0, 20.0])
    sizes = [size(clear, coverage) for coverage in COVERAGES]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert size(equal, 0.99) >= 3
    assert size(equal, 0.8) > size(clear, 0.8)


def test_candidates_that_are_nearly_as_likely_share_a_group() -> None:
    confidence = estimate([GOOD, GOOD, None, GOOD, GOOD], [10.0, 30.0, -np.inf, 29.0, 9.0])
    assert confidence.equivalence_groups.tolist() == [2, 1, 0, 1, 2]
