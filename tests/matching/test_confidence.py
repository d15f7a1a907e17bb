"""What an answer says about how sure it is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.matching.confidence import COVERAGES, ConfidenceCalibration, estimate_confidence
from model.matching.verify import verify
from model.pattern.spots import Spots
from tests.matches import match_of
from tests.matching.patterns import LAYERS, Lying, pattern

GOOD = match_of()
BAD = replace(GOOD, explained=0.4, missing=0.8, extra=0.7, r_factor=0.6)
CALIBRATION = ConfidenceCalibration(
    temperature=2.0,
    growth=0.5,
    astray=0.01,
    known=(4.0, -4.0, -4.0, -1.0, 0.0, -2.0, -0.7),
    unknown_below=0.3,
    missed=0.1,
    masses=(0.2, 0.3, 0.45, 0.6, 0.8, 0.9, 0.96, 0.985),
)
ALIKE = 3


@given(st.lists(st.floats(-200, 500), min_size=1, max_size=30))
def test_probabilities_sum_to_at_most_one_and_follow_the_ranking(values: list[float]) -> None:
    found = estimate_confidence([GOOD] * len(values), np.array(values), 40, ALIKE, CALIBRATION)
    assert 0 < found.probability.sum() < 1
    assert found.probability[int(np.argmax(values))] == found.probability.max()


def test_a_clear_winner_that_explains_all_is_a_match_and_two_equals_are_ambiguous() -> None:
    clear = estimate_confidence([GOOD, GOOD], np.array([50.0, 20.0]), 40, ALIKE, CALIBRATION)
    assert clear.verdict == "match"
    assert clear.probability[0] > 0.9
    equal = estimate_confidence([GOOD, GOOD], np.array([50.0, 50.0]), 40, ALIKE, CALIBRATION)
    assert equal.verdict == "ambiguous"
    assert equal.probability[0] == pytest.approx(equal.probability[1])


def test_what_explains_little_is_no_match_however_far_ahead() -> None:
    found = estimate_confidence([BAD, BAD], np.array([50.0, 0.0]), 40, ALIKE, CALIBRATION)
    assert found.verdict == "no_match"
    assert found.probability.sum() < 0.3


def test_among_many_that_are_alike_the_crystal_is_easily_missed() -> None:
    known = [
        estimate_confidence([GOOD, GOOD], np.array([50.0, 20.0]), 40, alike, CALIBRATION).known
        for alike in (1, 10, 100)
    ]
    assert known == sorted(known, reverse=True)
    assert known[0] > 0.9 > 0.7 > known[2]
    crowd = estimate_confidence([GOOD, GOOD], np.array([50.0, 20.0]), 40, 100, CALIBRATION)
    alone = estimate_confidence([GOOD, GOOD], np.array([50.0, 20.0]), 40, 1, CALIBRATION)
    assert crowd.set_size(0.99, 1000, CALIBRATION) > alone.set_size(0.99, 1000, CALIBRATION)


def test_candidates_that_were_not_refined_have_no_probability() -> None:
    found = estimate_confidence([None, GOOD], np.array([-np.inf, 1.0]), 40, ALIKE, CALIBRATION)
    assert np.isnan(found.probability[0])
    assert found.probability[1] > 0
    nothing = estimate_confidence([None, None], np.array([-np.inf, -np.inf]), 40, ALIKE, CALIBRATION)
    assert nothing.verdict == "no_match"
    assert np.isnan(nothing.probability).all()


def test_a_lone_layer_is_likely_in_its_pattern_and_nothing_is_in_random_spots() -> None:
    rng = np.random.default_rng(5)
    layers = [LAYERS["graphene"], LAYERS["oblique"], LAYERS["black phosphorus"]]
    spots = pattern(LAYERS["oblique"], Lying(2.0, 80.0, 200.0), rng)
    sure = verify(layers, [0.5] * 3, spots, 80.0).confidence
    assert sure is not None
    assert sure.verdict != "no_match"
    assert sure.probability[1] > 0.5
    clean = verify(layers, [0.5] * 3, pattern(LAYERS["oblique"], Lying(2.0, 80.0, 200.0)), 80.0).confidence
    assert clean is not None
    assert clean.verdict == "match"
    scattered = Spots(rng.uniform(-1.2, 1.2, (60, 2)), np.exp(rng.normal(0, 1, 60)))
    none = verify(layers, [0.5] * 3, scattered, 80.0).confidence
    assert none is not None
    assert none.verdict == "no_match"


def test_without_intensities_nothing_is_claimed() -> None:
    spots = pattern(LAYERS["MoS2"], Lying())
    assert verify([LAYERS["MoS2"]], [0.5], Spots(spots.q_inv_angstrom), 80.0).confidence is None


@given(
    st.lists(st.floats(-60, 60), min_size=1, max_size=20),
    st.floats(0.5, 0.99),
    st.integers(0, 400),
)
def test_a_set_ends_where_its_candidates_have_enough_probability(
    values: list[float], coverage: float, place: int
) -> None:
    total = 500
    found = estimate_confidence([GOOD] * len(values), np.array(values), 40, ALIKE, CALIBRATION)
    size = found.set_size(coverage, total, CALIBRATION)
    assert 1 <= size <= total
    mass = np.interp(coverage, COVERAGES, CALIBRATION.masses)
    if place < size:
        assert found.mass_before(place, CALIBRATION) <= mass + 1e-6
    elif place >= size:
        assert found.mass_before(place, CALIBRATION) >= mass - 1e-6


def test_a_wider_coverage_needs_no_fewer_and_doubt_needs_more() -> None:
    sure = estimate_confidence([GOOD] * 3, np.array([60.0, 20.0, 10.0]), 40, ALIKE, CALIBRATION)
    unsure = estimate_confidence([GOOD] * 3, np.array([20.0, 20.0, 20.0]), 40, ALIKE, CALIBRATION)
    sizes = [sure.set_size(coverage, 1000, CALIBRATION) for coverage in COVERAGES]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert unsure.set_size(0.99, 1000, CALIBRATION) >= 3
    assert unsure.set_size(0.8, 1000, CALIBRATION) > sure.set_size(0.8, 1000, CALIBRATION)


def test_candidates_that_are_nearly_as_likely_share_a_group() -> None:
    found = estimate_confidence(
        [GOOD, GOOD, None, GOOD, GOOD], np.array([10.0, 30.0, -np.inf, 29.0, 9.0]), 40, ALIKE, CALIBRATION
    )
    assert found.equivalence_groups.tolist() == [2, 1, 0, 1, 2]
