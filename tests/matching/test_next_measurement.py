"""Suggestions of what to measure next."""

import pytest

from model.crystal.crystal import Crystal
from model.matching.next_measurement import suggest_next_measurement
from tests.matches import make_match
from tests.matching.patterns import LAYERS
from tests.physics.layers import hexagonal, layer

MOS2, WS2 = LAYERS["MoS2"], LAYERS["WS2"]
MATCHES = [make_match(rotation_deg=10.0), make_match(rotation_deg=10.0)]


def bilayer(gap: float) -> Crystal:
    """Two layers of graphene, AA-stacked, with this distance between them in angstrom."""
    return layer(
        f"AA {gap}",
        hexagonal(2.46),
        [6, 6, 6, 6],
        [[1 / 3, 2 / 3], [2 / 3, 1 / 3], [1 / 3, 2 / 3], [2 / 3, 1 / 3]],
        [0, 0, gap, gap],
    )


def test_an_element_that_only_some_contain_comes_first() -> None:
    measurement = suggest_next_measurement([MOS2, WS2], MATCHES, 80.0, 1.4)
    assert (measurement.method, measurement.element) == ("element", "W")
    assert "1 of the first 2" in measurement.advice
    of_three = suggest_next_measurement([MOS2, WS2, WS2], MATCHES, 80.0, 1.4)
    assert of_three.element in {"Mo", "W"}


def test_a_tilt_distinguishes_layers_that_differ_along_the_normal() -> None:
    measurement = suggest_next_measurement([bilayer(3.0), bilayer(4.2)], MATCHES, 80.0, 1.2)
    assert measurement.method == "tilt"
    assert measurement.tilt_deg is not None
    assert measurement.log_likelihood_ratio is not None
    assert measurement.log_likelihood_ratio > 10
    assert "Tilt the flake" in measurement.advice


@pytest.mark.parametrize("face_down", [False, True])
def test_nothing_distinguishes_a_crystal_from_itself(face_down: bool) -> None:
    # Turned over, MoS2 is itself rotated by 180 degrees.
    rotation = 190.0 if face_down else 10.0
    matches = [
        make_match(rotation_deg=10.0),
        make_match(rotation_deg=rotation, face_down=face_down, mirrored=face_down),
    ]
    measurement = suggest_next_measurement([MOS2, MOS2], matches, 80.0, 1.4)
    assert measurement.method == "nothing"
    assert measurement.log_likelihood_ratio is not None
    assert measurement.log_likelihood_ratio < 1e-3


@pytest.mark.parametrize("reach", [0.3, 0.38])
def test_a_pattern_that_ends_before_the_reflections_of_one_needs_more_reach(reach: float) -> None:
    inner, outer = (
        layer(f"C {a}", hexagonal(a), [6, 6], [[1 / 3, 2 / 3], [2 / 3, 1 / 3]], [0, 0]) for a in (3.2, 2.46)
    )
    for pair in ([inner, outer], [outer, inner]):
        assert suggest_next_measurement(pair, MATCHES, 80.0, reach).method == "resolution"
