"""Superlattices: weak spots between those of a crystal."""

from dataclasses import replace

import numpy as np
import pytest

from model.crystal.crystal import Crystal
from model.indexing.pattern_lattice import PatternLattice, index_pattern
from model.matching.overlapping_lattices import OverlappingLattices, find_second_lattice
from model.matching.superlattice import count_superlattice_spots, is_superlattice, select_parent_spots
from model.matching.verify import verify
from model.pattern.observation import Observation
from model.pattern.spots import Spots
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern, simulate_superlattice

MOS2, GRAPHENE = LAYERS["MoS2"], LAYERS["graphene"]


def find_lattice(spots: Spots) -> PatternLattice:
    lattice = index_pattern(Observation.from_spots(spots, 80.0))
    assert lattice is not None
    return lattice


def count_spots(crystal: Crystal, spots: Spots) -> int:
    (match,) = verify([crystal], [0.5], spots, 80.0).matches
    assert match is not None
    lattice = find_lattice(spots)
    second = find_second_lattice(spots, lattice, 80.0)
    if second is not None and not is_superlattice(spots, lattice, second):
        second = None
    return count_superlattice_spots(match, lattice, second)


def test_a_superlattice_is_not_a_second_layer() -> None:
    spots = simulate_superlattice(MOS2, 20.0, 6, 0.02)
    lattice = find_lattice(spots)
    assert lattice.parameters[0] == pytest.approx(3.18, rel=0.01)
    second = find_second_lattice(spots, lattice, 80.0)
    assert second is not None
    assert is_superlattice(spots, lattice, second)
    assert OverlappingLattices.find(spots, lattice, 80.0) is None
    assert count_spots(MOS2, spots) == 6


def test_strong_spots_belong_to_a_second_layer() -> None:
    spots = simulate_superlattice(MOS2, 20.0, 6, 1.0)
    lattice = find_lattice(spots)
    second = find_second_lattice(spots, lattice, 80.0)
    assert second is not None
    assert not is_superlattice(spots, lattice, second)


def test_the_parent_spots_of_a_complete_superlattice_are_found() -> None:
    spots = simulate_superlattice(MOS2, 20.0, 40, 0.01)
    lattice = find_lattice(spots)
    assert lattice.parameters[0] == pytest.approx(2 * 3.18, rel=0.01)
    rows = select_parent_spots(spots, lattice)
    assert rows is not None
    assert np.flatnonzero(~rows).tolist() == list(range(len(spots) - 40, len(spots)))
    assert select_parent_spots(replace(spots, intensity=None), lattice) is None
    assert count_spots(MOS2, spots) == 40


def test_spots_on_no_lattice_are_kept_with_the_parent_spots() -> None:
    spots = simulate_superlattice(MOS2, 20.0, 40, 0.01)
    assert spots.intensity is not None
    stray = find_lattice(spots).basis.sum(axis=0) * [[1.43, 1.37], [-2.6, 1.41], [0.55, -3.38]]
    more = Spots(
        np.concatenate([spots.q_inv_angstrom, stray]), np.concatenate([spots.intensity, np.full(3, 0.3)])
    )
    rows = select_parent_spots(more, find_lattice(more))
    assert rows is not None
    assert rows[-3:].all()


@pytest.mark.parametrize("name", LAYERS)
def test_false_spots_are_not_a_superlattice(name: str) -> None:
    crystal = LAYERS[name]
    spots = simulate_pattern(crystal, FlakePose(tilt_deg=1.0, rotation_deg=20.0))
    assert spots.intensity is not None
    stray = np.random.default_rng(3).uniform(-1.0, 1.0, (6, 2))
    more = Spots(
        np.concatenate([spots.q_inv_angstrom, stray]), np.concatenate([spots.intensity, np.full(6, 0.01)])
    )
    assert count_spots(crystal, more) < 5
