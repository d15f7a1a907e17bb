"""A lattice picked by hand is refined with the spots, and refused where it cannot be one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import OptionError
from model.indexing.picked_lattice import refine_picked_lattice
from model.pattern.observation import Observation
from model.pattern.spots import Spots

CELL = np.array([[3.3, 0.0], [0.4, 4.4]])
BASIS = np.linalg.inv(CELL).T


def observe(*cells: NDArray[np.float64], noise: float = 0.001) -> Observation:
    """All points of the reciprocal lattices of cells within 1.2 1/angstrom."""
    hk = np.array([(h, k) for h in range(-9, 10) for k in range(-9, 10) if h or k])
    q = np.concatenate([hk @ np.linalg.inv(cell).T for cell in cells])
    q = q[np.linalg.norm(q, axis=1) < 1.2]
    return Observation.from_spots(Spots(q + np.random.default_rng(3).normal(0, noise, q.shape)), 80.0)


@pytest.mark.parametrize("seed", range(8))
def test_vectors_a_tenth_off_find_the_lattice(seed: int) -> None:
    off = np.random.default_rng(seed).uniform(-0.02, 0.02, (2, 2))
    lattice = refine_picked_lattice(observe(CELL), BASIS + off)
    assert lattice.parameters == pytest.approx((3.3, np.hypot(0.4, 4.4), 95.19), rel=3e-3)
    assert lattice.on_lattice.all()


def test_any_basis_of_the_lattice_gives_the_same_reduced_one() -> None:
    other = np.array([[2, 1], [1, 1]]) @ BASIS
    assert refine_picked_lattice(observe(CELL), other).parameters == pytest.approx(
        refine_picked_lattice(observe(CELL), BASIS).parameters, rel=1e-3
    )


def test_the_picked_one_of_two_lattices_is_refined() -> None:
    turn = np.radians(11.0)
    turned = CELL @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    both = observe(CELL, turned)
    for cell in (CELL, turned):
        basis = np.linalg.inv(cell).T
        lattice = refine_picked_lattice(both, basis + 0.004)
        # In any basis of the picked lattice, the indices are integers.
        hk = lattice.basis @ np.linalg.inv(basis)
        np.testing.assert_allclose(hk, np.rint(hk), atol=0.02)
        assert abs(np.linalg.det(hk)) == pytest.approx(1, abs=0.01)
        assert 0.4 < lattice.on_lattice.mean() < 0.75


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        ([[0.3, 0.0], [0.6, 0.01]], "nearly parallel"),
        ([[0.3, 0.0], [0.0, 0.001]], "0.001"),
        ([[0.0, 0.0], [0.0, 0.3]], "must be between"),
        ([[0.3, 0.0], [0.0, 1e308]], "must be between"),
        ([[1e308, 1e308], [0.235, 1e300]], "must be between"),
        ([[1.1, 0.09], [0.13, 1.13]], "spots lie on the lattice"),
    ],
)
def test_vectors_that_span_no_lattice_are_refused(basis: list[list[float]], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        refine_picked_lattice(observe(CELL), np.array(basis))
