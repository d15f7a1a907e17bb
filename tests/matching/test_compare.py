"""Which of a few crystals made a pattern, and which spots decide."""

import re
from dataclasses import replace

import numpy as np
import pytest

from model.errors import OptionError
from model.matching.compare import MAX_DECIDING, compare, find_deciding_reflections
from model.pattern.spots import Spots
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern
from tests.physics.layers import hexagonal, layer

PRISMATIC = LAYERS["MoS2"]
OCTAHEDRAL = layer(
    "1T-MoS2", hexagonal(3.18), [42, 16, 16], [[0, 0], [1 / 3, 2 / 3], [2 / 3, 1 / 3]], [0, 1.58, -1.58]
)
TUNGSTEN = LAYERS["WS2"]
POSE = FlakePose(tilt_deg=1.5, azimuth_deg=70.0, rotation_deg=33.0)


@pytest.mark.parametrize(("truth", "place"), [(PRISMATIC, 0), (OCTAHEDRAL, 1)])
@pytest.mark.parametrize("scale_is_known", [True, False])
def test_prismatic_and_octahedral_molybdenum_disulfide_are_distinguished(
    truth: object, place: int, scale_is_known: bool
) -> None:
    crystals = [PRISMATIC, OCTAHEDRAL]
    spots = simulate_pattern(crystals[place], POSE, np.random.default_rng(5))
    assert truth is crystals[place]
    if not scale_is_known:
        spots = replace(spots.rescale(0.7), scale_is_known=False)
    comparison = compare(crystals, spots, 80.0)
    assert comparison.ranking.tolist() == [place, 1 - place]
    assert comparison.log_likelihood[place] == 0
    assert comparison.log_likelihood[1 - place] < -20
    assert comparison.probability is not None
    assert comparison.probability[place] > 0.7
    assert comparison.probability[1 - place] < 0.03
    assert comparison.probability.sum() <= 1
    assert comparison.verdict != "no_match"
    assert comparison.deciding_reflections[place] == ()
    lines = comparison.deciding_reflections[1 - place]
    assert 3 <= len(lines) <= MAX_DECIDING
    assert [abs(line.log_likelihood_ratio) for line in lines] == sorted(
        (abs(line.log_likelihood_ratio) for line in lines), reverse=True
    )
    assert sum(line.log_likelihood_ratio for line in lines) > 10


def test_the_lines_of_the_tables_add_up_to_the_likelihoods() -> None:
    """Spots and missing reflections make up the difference, apart from priors and faint reflections."""
    spots = simulate_pattern(PRISMATIC, POSE, np.random.default_rng(1))
    comparison = compare([PRISMATIC, OCTAHEDRAL], spots, 80.0)
    first, other = comparison.matches
    assert first is not None
    assert other is not None
    by_lines = first.reflections.log_likelihood.sum() - other.reflections.log_likelihood.sum()
    assert by_lines == pytest.approx(-comparison.log_likelihood[1], rel=0.2)


def test_a_crystal_whose_lattice_does_not_fit_comes_last_without_a_match() -> None:
    spots = simulate_pattern(PRISMATIC, POSE, np.random.default_rng(2))
    comparison = compare([LAYERS["oblique"], TUNGSTEN, PRISMATIC], spots, 80.0)
    assert comparison.ranking.tolist() == [2, 1, 0]
    assert comparison.matches[0] is None
    assert comparison.log_likelihood[0] == -np.inf
    assert comparison.probability is not None
    assert comparison.probability[0] == 0
    assert comparison.deciding_reflections[0] == ()


def test_two_copies_are_equally_likely_and_nothing_decides() -> None:
    spots = simulate_pattern(PRISMATIC, POSE, np.random.default_rng(3))
    comparison = compare([PRISMATIC, PRISMATIC], spots, 80.0)
    assert comparison.verdict == "ambiguous"
    assert comparison.log_likelihood == pytest.approx([0, 0], abs=1e-6)
    first, other = comparison.matches
    assert first is not None
    assert other is not None
    assert max(abs(line.log_likelihood_ratio) for line in find_deciding_reflections(first, other)) < 1e-6


def test_without_intensities_there_is_a_ranking_and_no_probability() -> None:
    spots = simulate_pattern(LAYERS["graphene"], POSE, np.random.default_rng(4))
    comparison = compare([PRISMATIC, LAYERS["graphene"]], Spots(spots.q_inv_angstrom), 80.0)
    assert comparison.ranking[0] == 1
    assert (comparison.probability, comparison.verdict) == (None, None)


@pytest.mark.parametrize("count", [0, 1, 21])
def test_only_two_to_twenty_structures_are_compared(count: int) -> None:
    with pytest.raises(OptionError, match="2 to 20"):
        compare([PRISMATIC] * count, simulate_pattern(PRISMATIC, POSE), 80.0)


@pytest.mark.parametrize("scale", [1.1, 0.9])
def test_a_wrong_stated_scale_is_overruled(scale: float) -> None:
    spots = simulate_pattern(PRISMATIC, POSE, np.random.default_rng(5)).rescale(scale)
    comparison = compare([OCTAHEDRAL, PRISMATIC], spots, 80.0)
    assert comparison.ranking[0] == 1
    assert comparison.best is not None
    assert comparison.best.scale == pytest.approx(scale, rel=0.02)
    assert comparison.verdict == "ambiguous"
    (warning,) = comparison.warnings
    direction = "larger" if scale > 1 else "smaller"
    assert re.search(rf"a scale \d+\.\d % {direction}", warning)
    right = compare([OCTAHEDRAL, PRISMATIC], spots.rescale(1 / scale), 80.0)
    assert right.warnings == ()
    assert comparison.probability is not None
    assert right.probability is not None
    assert comparison.probability[1] < right.probability[1]
