"""What to measure next."""

import pytest

from model.crystal.crystal import Crystal
from model.matching.next_measurement import suggest_next_measurement
from tests.matches import match_of
from tests.matching.patterns import LAYERS
from tests.physics.layers import hexagonal, layer

MOS2, WS2 = LAYERS["MoS2"], LAYERS["WS2"]
MATCHES = [match_of(rotation_deg=10.0), match_of(rotation_deg=10.0)]


def bilayer(gap: float) -> Crystal:
    """Two layers of graphene, one atom over the other, so far apart."""
    return layer(
        f"AA {gap}",
        hexagonal(2.46),
        [6, 6, 6, 6],
        [[1 / 3, 2 / 3], [2 / 3, 1 / 3], [1 / 3, 2 / 3], [2 / 3, 1 / 3]],
        [0, 0, gap, gap],
    )


def test_an_element_that_some_hold_is_looked_for_first() -> None:
    told = suggest_next_measurement([MOS2, WS2], MATCHES, 80.0, 1.4)
    assert (told.method, told.element) == ("element", "W")
    assert "1 of the first 2" in told.advice
    three = suggest_next_measurement([MOS2, WS2, WS2], MATCHES, 80.0, 1.4)
    assert three.element in {"Mo", "W"}


def test_layers_that_differ_along_the_beam_are_parted_by_a_tilt() -> None:
    told = suggest_next_measurement([bilayer(3.0), bilayer(4.2)], MATCHES, 80.0, 1.2)
    assert told.method == "tilt"
    assert told.tilt_deg is not None
    assert told.log_likelihood_ratio is not None
    assert told.log_likelihood_ratio > 10
    assert "Tilt the flake" in told.advice


@pytest.mark.parametrize("face_down", [False, True])
def test_nothing_parts_a_crystal_from_itself(face_down: bool) -> None:
    # Turned over, MoS2 is itself turned by half a turn.
    rotation = 190.0 if face_down else 10.0
    matches = [
        match_of(rotation_deg=10.0),
        match_of(rotation_deg=rotation, face_down=face_down, mirrored=face_down),
    ]
    told = suggest_next_measurement([MOS2, MOS2], matches, 80.0, 1.4)
    assert told.method == "nothing"
    assert told.log_likelihood_ratio is not None
    assert told.log_likelihood_ratio < 1e-3


@pytest.mark.parametrize("reach", [0.3, 0.38])
def test_a_pattern_that_ends_before_the_beams_of_one_is_told_to_reach_farther(reach: float) -> None:
    inner, outer = (
        layer(f"C {a}", hexagonal(a), [6, 6], [[1 / 3, 2 / 3], [2 / 3, 1 / 3]], [0, 0]) for a in (3.2, 2.46)
    )
    for pair in ([inner, outer], [outer, inner]):
        told = suggest_next_measurement(pair, MATCHES, 80.0, reach)
        assert told.method == "resolution"
