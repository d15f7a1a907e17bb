"""A lattice picked by hand: drawn to the spots, whatever the automatic one is, and refused where it is none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import OptionError
from model.indexing.picked_lattice import refine_picked_lattice
from model.pattern.observation import Observation
from model.pattern.spots import Spots

CELL = np.array([[3.3, 0.0], [0.4, 4.4]])
BASIS = np.linalg.inv(CELL).T


def observed(*cells: NDArray[np.float64], noise: float = 0.001) -> Observation:
    """All points of the reciprocal lattices of cells within 1.2 1/angstrom."""
    hk = np.array([(h, k) for h in range(-9, 10) for k in range(-9, 10) if h or k])
    q = np.concatenate([hk @ np.linalg.inv(cell).T for cell in cells])
    q = q[np.linalg.norm(q, axis=1) < 1.2]
    return Observation.from_spots(Spots(q + np.random.default_rng(3).normal(0, noise, q.shape)), 80.0)


@pytest.mark.parametrize("seed", range(8))
def test_a_hand_that_is_off_by_a_tenth_finds_the_lattice(seed: int) -> None:
    off = np.random.default_rng(seed).uniform(-0.02, 0.02, (2, 2))
    found = refine_picked_lattice(observed(CELL), BASIS + off)
    assert found.parameters == pytest.approx((3.3, np.hypot(0.4, 4.4), 95.19), rel=3e-3)
    assert found.on_lattice.all()


def test_any_two_vectors_of_the_lattice_give_the_same_reduced_one() -> None:
    odd = np.array([[2, 1], [1, 1]]) @ BASIS
    assert refine_picked_lattice(observed(CELL), odd).parameters == pytest.approx(
        refine_picked_lattice(observed(CELL), BASIS).parameters, rel=1e-3
    )


def test_of_two_lattices_the_one_that_was_picked_is_taken() -> None:
    turn = np.radians(11.0)
    turned = CELL @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    both = observed(CELL, turned)
    for cell in (CELL, turned):
        basis = np.linalg.inv(cell).T
        found = refine_picked_lattice(both, basis + 0.004)
        # Of the picked lattice, in whatever basis: integers.
        hk = found.basis @ np.linalg.inv(basis)
        np.testing.assert_allclose(hk, np.rint(hk), atol=0.02)
        assert abs(np.linalg.det(hk)) == pytest.approx(1, abs=0.01)
        assert 0.4 < found.on_lattice.mean() < 0.75


@pytest.mark.parametrize(
    ("basis", "told"),
    [
        ([[0.3, 0.0], [0.6, 0.01]], "nearly parallel"),
        ([[0.3, 0.0], [0.0, 0.001]], "0.001"),
        ([[0.0, 0.0], [0.0, 0.3]], "have to lie between"),
        ([[0.3, 0.0], [0.0, 1e308]], "have to lie between"),
        ([[1e308, 1e308], [0.235, 1e300]], "have to lie between"),
        ([[1.1, 0.09], [0.13, 1.13]], "spots lie on the lattice"),
    ],
)
def test_vectors_that_tell_no_lattice_are_refused(basis: list[list[float]], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        refine_picked_lattice(observed(CELL), np.array(basis))
