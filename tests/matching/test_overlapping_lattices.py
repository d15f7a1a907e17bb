"""Two lattices in one pattern."""

import numpy as np
import pytest

from model.crystal.crystal import Crystal
from model.indexing.pattern_lattice import index_pattern
from model.matching.overlapping_lattices import OverlappingLattices, Twist
from model.matching.verify import verify
from model.pattern.observation import Observation
from model.pattern.spots import Spots
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern

GRAPHENE, MOS2, OBLIQUE = LAYERS["graphene"], LAYERS["MoS2"], LAYERS["oblique"]


def overlay(first: Crystal, second: Crystal, rotations: tuple[float, float], seed: int = 0) -> Spots:
    """Two crystals on each other, with noise, a scale error and an elliptical camera."""
    rng = np.random.default_rng(seed)
    patterns = [
        simulate_pattern(
            crystal, FlakePose(tilt_deg=1.0, azimuth_deg=30.0, rotation_deg=rotation, scale=1.01), rng
        )
        for crystal, rotation in zip((first, second), rotations, strict=True)
    ]
    q = np.concatenate([each.q_inv_angstrom for each in patterns]) * [1.002, 0.998]
    return Spots(q, np.concatenate([each.intensity for each in patterns if each.intensity is not None]))


def separate(spots: Spots) -> OverlappingLattices | None:
    lattice = index_pattern(Observation.from_spots(spots, 80.0))
    assert lattice is not None
    return OverlappingLattices.find(spots, lattice, 80.0)


@pytest.mark.parametrize("rotations", [(5.0, 26.8), (100.0, 88.9), (40.0, 12.3)])
@pytest.mark.parametrize("second", [MOS2, OBLIQUE], ids=["MoS2", "oblique"])
def test_a_pair_is_separated_and_its_twist_measured(rotations: tuple[float, float], second: Crystal) -> None:
    overlapping = separate(overlay(GRAPHENE, second, rotations))
    assert overlapping is not None
    order = np.argsort([lattice.parameters[0] for lattice in overlapping.lattices])
    assert overlapping.lattices[order[0]].parameters[0] == pytest.approx(2.46, rel=0.02)
    assert overlapping.lattices[order[1]].parameters[0] == pytest.approx(
        float(np.linalg.norm(second.lattice[0])), rel=0.02
    )
    matches = []
    for crystal, place in zip((GRAPHENE, second), order, strict=True):
        (match,) = verify([crystal], [0.5], overlapping.spots[place], 80.0).matches
        assert match is not None
        assert match.extra < 0.15
        matches.append(match)
    twist = Twist.between((GRAPHENE, second), (matches[0], matches[1]))
    angle = (rotations[1] - rotations[0]) % 60
    assert twist.angle_deg == pytest.approx(min(angle, 60 - angle), abs=0.2)
    assert 0.01 < twist.sigma_deg < 0.2


def test_twisted_layers_of_one_crystal_are_two_lattices() -> None:
    overlapping = separate(overlay(MOS2, MOS2, (10.0, 31.8)))
    assert overlapping is not None
    for lattice in overlapping.lattices:
        assert lattice.parameters[0] == pytest.approx(3.16, rel=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_one_crystal_with_false_spots_is_one_lattice(crystal: Crystal, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert separate(simulate_pattern(crystal, FlakePose(2.0, 30.0, 80.0 * seed), rng)) is None


def test_spots_beyond_the_compared_range_are_tolerated() -> None:
    spots = simulate_pattern(MOS2, FlakePose(rotation_deg=20.0))
    lattice = index_pattern(Observation.from_spots(spots, 80.0))
    assert lattice is not None
    far = np.random.default_rng(0).uniform(1.3, 1.45, (8, 2))
    assert spots.intensity is not None
    more = Spots(
        np.concatenate([spots.q_inv_angstrom, far]), np.concatenate([spots.intensity, np.full(8, 0.01)])
    )
    assert OverlappingLattices.find(more, lattice, 80.0) is None
