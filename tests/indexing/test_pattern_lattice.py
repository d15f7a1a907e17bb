"""The lattice of a pattern, found from its spots alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.indexing.pattern_lattice import Bravais, PatternLattice, index_pattern
from model.pattern.observation import Observation
from model.pattern.spots import Spots
from model.physics.reciprocal import reciprocal_lattice
from tests.matching.patterns import FlakePose, simulate_pattern

Array = NDArray[np.float64]

HEXAGONAL = np.array([[3.16, 0.0], [-1.58, 1.58 * np.sqrt(3)]])
CELLS: dict[Bravais, Array] = {
    "hexagonal": HEXAGONAL,
    "square": np.array([[3.9, 0.0], [0.0, 3.9]]),
    "rectangular": np.array([[3.3, 0.0], [0.0, 4.4]]),
    "centred rectangular": np.array([[2.0, 3.1], [-2.0, 3.1]]),
    "oblique": np.array([[3.6, 0.0], [-0.9, 5.1]]),
}


def index(q: Array) -> PatternLattice | None:
    return index_pattern(Observation.from_spots(Spots(q), 80.0))


def points(cell: Array, q_max: float = 1.2) -> Array:
    """All points of the reciprocal lattice within a radius, the origin left out."""
    hk = np.array([(h, k) for h in range(-12, 13) for k in range(-12, 13) if h or k])
    q = hk @ np.linalg.inv(cell).T
    return np.asarray(q[np.linalg.norm(q, axis=1) < q_max])


def scatter(seed: int, count: int) -> Array:
    rng = np.random.default_rng(seed)
    length, angle = np.sqrt(rng.uniform(0.04, 1.44, count)), rng.uniform(0, 2 * np.pi, count)
    return np.column_stack([length * np.cos(angle), length * np.sin(angle)])


@pytest.mark.parametrize("seed", range(4))
def test_the_lattice_of_a_tilted_noisy_pattern_is_the_crystals(crystal: Crystal, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tilt, azimuth, rotation = rng.uniform([0, 0, 0], [4, 360, 360]).tolist()
    spots = simulate_pattern(crystal, FlakePose(tilt, azimuth, rotation, seed % 2 == 0), rng, lost=0.2)
    lattice = index_pattern(Observation.from_spots(spots, 80.0))
    assert lattice is not None
    multiple = abs(np.linalg.det(lattice.basis) / np.linalg.det(reciprocal_lattice(crystal.lattice)))
    # Glide planes and faint superlattices hide points, so that a sublattice of the crystal's lattice is found.
    assert multiple == pytest.approx(max(round(multiple), 1), rel=0.02)
    if round(multiple) == 1:
        lengths = np.sort(np.linalg.norm(crystal.lattice, axis=1))
        np.testing.assert_allclose(np.sort(lattice.parameters[:2]), lengths, rtol=0.01)
    assert lattice.on_lattice.mean() > 0.85
    assert lattice.sigma_inv_angstrom == pytest.approx(0.003, abs=0.0015)


@pytest.mark.parametrize("name", CELLS)
def test_the_symmetry_of_a_lattice_is_recognized(name: Bravais) -> None:
    lattice = index(points(CELLS[name]))
    assert lattice is not None
    assert lattice.bravais == name
    a, b, gamma = lattice.parameters
    assert a <= b * (1 + 1e-9)
    assert 90 - 1e-6 <= gamma <= 120 + 1e-6


def test_stated_uncertainties_are_those_of_the_parameters() -> None:
    cell, pulls = CELLS["oblique"], []
    true = np.array([np.hypot(*cell[0]), np.hypot(*cell[1]), np.degrees(np.arctan2(5.1, -0.9))])
    for seed in range(60):
        q = points(cell)
        lattice = index(q + np.random.default_rng(seed).normal(0, 0.003, q.shape))
        assert lattice is not None
        pulls.append((np.array(lattice.parameters) - true) / lattice.sigmas)
    assert np.std(pulls, axis=0) == pytest.approx(np.ones(3), abs=0.35)
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.5


def test_superlattice_spots_enlarge_the_cell_and_single_false_ones_do_not() -> None:
    parent = points(HEXAGONAL)
    double = points(2 * HEXAGONAL)
    rng = np.random.default_rng(1)
    some = double[rng.permutation(len(double))[: len(double) // 3]]
    lattice = index(np.unique(np.concatenate([parent, some]).round(9), axis=0))
    assert lattice is not None
    assert lattice.parameters[0] == pytest.approx(6.32, rel=1e-3)
    lattice = index(np.concatenate([parent, double[:1], scatter(0, 2)]))
    assert lattice is not None
    assert lattice.parameters[0] == pytest.approx(3.16, rel=1e-3)
    assert (~lattice.on_lattice).sum() == 3


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 360), st.booleans(), st.sampled_from(list(CELLS)))
def test_rotation_and_mirroring_do_not_change_the_lattice(
    angle: float, mirrored: bool, name: Bravais
) -> None:
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[cosine, sine], [-sine, cosine]]) * ([-1, 1] if mirrored else [1, 1])
    straight, turned = index(points(CELLS[name])), index(points(CELLS[name]) @ turn)
    assert straight is not None
    assert turned is not None
    np.testing.assert_allclose(turned.parameters, straight.parameters, rtol=1e-6)


@pytest.mark.parametrize("seed", range(25))
def test_random_spots_have_no_lattice(seed: int) -> None:
    half = scatter(seed, 8 + 2 * seed)
    assert index(half) is None
    assert index(np.concatenate([half, -half])) is None
