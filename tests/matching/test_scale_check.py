"""When scales other than the stated one are tried, and when they are accepted."""

from math import inf

import pytest

from model.matching.scale_check import (
    MIN_GAIN,
    MIN_GAIN_PER_LOG_SCALE,
    compute_probability_factor,
    describe_scale_deviation,
    explains_better,
    is_scale_doubtful,
)
from tests.matches import make_match


def test_a_poor_match_or_none_makes_the_scale_doubtful() -> None:
    assert is_scale_doubtful(None)
    assert is_scale_doubtful(make_match(r_factor=0.3))
    assert is_scale_doubtful(make_match(r_factor=None))
    assert not is_scale_doubtful(make_match(r_factor=0.08))


@pytest.mark.parametrize("scale", [1.1, 1 / 1.1])
def test_a_larger_scale_deviation_needs_a_larger_gain(scale: float) -> None:
    margin = MIN_GAIN + MIN_GAIN_PER_LOG_SCALE * 0.0953
    assert explains_better(make_match(scale=scale, score=100 + margin + 0.1, extra=0.0), 100.0)
    assert not explains_better(make_match(scale=scale, score=100 + margin - 0.1, extra=0.0), 100.0)
    assert explains_better(make_match(scale=scale, score=-500.0, extra=0.0), -inf)


def test_a_match_with_a_quarter_of_the_spots_extra_does_not_overrule_the_scale() -> None:
    assert not explains_better(make_match(scale=0.78, score=1000.0, extra=0.25), -inf)


def test_probabilities_fall_with_the_scale_deviation() -> None:
    factors = [compute_probability_factor(scale) for scale in (1.05, 1.1, 1.3)]
    assert compute_probability_factor(1.0) == 1
    assert compute_probability_factor(1.1) == pytest.approx(compute_probability_factor(1 / 1.1))
    assert 0.9 > factors[0] > factors[1] > factors[2] > 0.3


def test_the_warning_says_how_the_scale_deviates() -> None:
    assert "a scale 10.0 % larger (match.scale is 1.100)" in describe_scale_deviation(1.1)
    assert "a scale 20.0 % smaller (match.scale is 0.800)" in describe_scale_deviation(0.8)
