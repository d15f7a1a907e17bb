import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.pattern.beam_center.symmetry_center import find_friedel_center


def make_lattice(seed: int, orders: int = 5) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Make spots of an oblique lattice in a disc, with different intensities of Friedel mates."""
    rng = np.random.default_rng(seed)
    h, k = np.meshgrid(np.arange(-orders, orders + 1), np.arange(-orders, orders + 1))
    positions = h.ravel()[:, None] * [31.0, 4.0] + k.ravel()[:, None] * [-9.0, 38.0]
    radius = np.hypot(*positions.T)
    kept = (radius > 1) & (radius < 31.0 * orders)
    positions = positions[kept]
    order = {tuple(p): rng.normal(0, 1.5) for p in positions}
    shared = np.array([order[min(tuple(p), tuple(-p))] for p in positions])
    return positions, np.exp(shared - radius[kept] / 40 + rng.normal(0, 0.3, len(positions)))


@settings(max_examples=25, deadline=None)
@given(dx=st.floats(-2000, 2000), dy=st.floats(-2000, 2000), seed=st.integers(0, 50))
def test_the_center_moves_with_the_points(dx: float, dy: float, seed: int) -> None:
    positions, intensity = make_lattice(seed)
    center = find_friedel_center(positions + np.array([dx, dy]), intensity)
    assert center is not None
    assert (center.x, center.y) == pytest.approx((dx, dy), abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_missing_and_false_spots_do_not_move_the_center(seed: int) -> None:
    positions, intensity = make_lattice(seed)
    rng = np.random.default_rng(seed)
    kept = rng.random(len(positions)) > 0.15
    positions = positions[kept] + rng.normal(0, 0.4, (int(kept.sum()), 2))
    false = rng.uniform(-150, 150, (6, 2))
    center = find_friedel_center(
        np.vstack([positions, false]),
        np.concatenate([intensity[kept], intensity.min() * rng.uniform(1, 20, 6)]),
    )
    assert center is not None
    assert np.hypot(center.x, center.y) < 0.5


def test_spots_cut_off_by_the_frame_are_no_evidence_against_a_center() -> None:
    positions, intensity = make_lattice(1)
    inside = (positions[:, 0] < 90) & (positions[:, 0] > -160)
    center = find_friedel_center(
        positions[inside], intensity[inside], view=(-160, -200, 90, 200), guess=(10, 0), search_radius=40
    )
    assert center is not None
    assert np.hypot(center.x, center.y) < 1e-6


def test_finds_no_center_without_pairs() -> None:
    assert find_friedel_center(np.zeros((1, 2))) is None
    assert find_friedel_center(np.array([[0.0, 0], [1, 0]]), guess=(50, 50), search_radius=3) is None
