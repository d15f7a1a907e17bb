"""When another scale than the one that was stated is tried, and when it is believed."""

from math import inf

import pytest

from model.matching.scale_check import (
    CLEARLY_BETTER,
    FARTHER_BETTER,
    compute_probability_factor,
    describe_scale_deviation,
    explains_better,
    is_scale_doubtful,
)
from tests.matches import match_of


def test_a_poor_explanation_or_none_is_doubtful() -> None:
    assert is_scale_doubtful(None)
    assert is_scale_doubtful(match_of(r_factor=0.3))
    assert is_scale_doubtful(match_of(r_factor=None))
    assert not is_scale_doubtful(match_of(r_factor=0.08))


@pytest.mark.parametrize("scale", [1.1, 1 / 1.1])
def test_another_scale_has_to_explain_clearly_more_the_farther_it_is(scale: float) -> None:
    margin = CLEARLY_BETTER + FARTHER_BETTER * 0.0953
    assert explains_better(match_of(scale=scale, score=100 + margin + 0.1, extra=0.0), 100.0)
    assert not explains_better(match_of(scale=scale, score=100 + margin - 0.1, extra=0.0), 100.0)
    assert explains_better(match_of(scale=scale, score=-500.0, extra=0.0), -inf)


def test_what_leaves_a_quarter_of_the_spots_does_not_put_a_scale_in_doubt() -> None:
    assert not explains_better(match_of(scale=0.78, score=1000.0, extra=0.25), -inf)


def test_the_trust_falls_with_how_wrong_a_scale_would_be() -> None:
    assert compute_probability_factor(1.0) == 1
    assert compute_probability_factor(1.1) == pytest.approx(compute_probability_factor(1 / 1.1))
    assert (
        0.9
        > compute_probability_factor(1.05)
        > compute_probability_factor(1.1)
        > compute_probability_factor(1.3)
        > 0.3
    )
    assert "off by +10.0 %" in describe_scale_deviation(1.1)
    assert "off by -20.0 %" in describe_scale_deviation(0.8)
