"""The search for sites finds what a comparison of all pairs finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.crystal.layer import Layer
from model.crystal.site_finder import SiteFinder
from model.errors import CrystalError

LATTICES = [np.array([[6.0, 0.0], [0.0, 7.0]]), np.array([[5.0, 0.0], [-2.4, 6.0]])]


def make_layer(seed: int, lattice: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Layer:
    """Return atoms of two elements on a grid, somewhat displaced, with images in several cells."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid([0.0, 0.25, 0.5, 0.75], [0.0, 0.25, 0.5, 0.75]), -1).reshape(-1, 2)
    xy = grid + rng.uniform(-0.05, 0.05, grid.shape) + rng.integers(-2, 3, grid.shape)
    return Layer(lattice, rng.choice([6, 7], len(xy)), xy, rng.uniform(-1, 1, len(xy)))


@given(st.integers(0, 10_000), st.sampled_from([0, 1]), st.floats(0.01, 0.9))
def test_agrees_with_a_comparison_of_all_pairs(seed: int, which: int, reach: float) -> None:
    layer = make_layer(seed, LATTICES[which])
    rng = np.random.default_rng(seed + 1)
    xy = layer.xy[None] + rng.uniform(-0.1, 0.1, (5, 1, 2)) * rng.choice([0.0, 0.1, 1.0], (5, 1, 1))
    z = layer.z[None] + rng.uniform(-0.2, 0.2, (5, 1))
    apart = xy[:, :, None] - layer.xy
    apart = (apart - np.round(apart)) @ layer.lattice
    squares = (apart**2).sum(axis=-1) + (z[:, :, None] - layer.z) ** 2
    squares[:, layer.numbers[:, None] != layer.numbers] = np.inf
    expected = squares.argmin(axis=2)
    fits = (squares.min(axis=2) < reach**2).all(axis=1)

    finder = SiteFinder(layer)
    rows, partners = finder.match_arrangements(layer.numbers, xy, z, reach)
    assert rows.tolist() == np.flatnonzero(fits).tolist()
    assert np.array_equal(partners, expected[fits])
    for row in range(len(xy)):
        found = finder.find_nearest(layer.numbers, xy[row], z[row], reach)
        assert (found is not None) == fits[row]
        assert found is None or np.array_equal(found, expected[row])


def test_refuses_an_atom_that_is_listed_twice() -> None:
    layer = Layer(LATTICES[0], np.array([6, 7, 7]), np.array([[0, 0], [0.5, 0.5], [-0.5, 1.5]]), np.zeros(3))
    with pytest.raises(CrystalError, match=r"Overlapping atoms: N and N are 0\.00 angstrom apart"):
        SiteFinder(layer)
