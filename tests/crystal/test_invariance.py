"""However a crystal is described, `Crystal.from_cell` gives the same arrays."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.crystal.crystal import Crystal
from tests.crystal.descriptions import CHANGES, supercell
from tests.crystal.layers import NAMES, Cell


def crystal_of(cell: Cell) -> Crystal:
    return Crystal.from_cell(*cell, id="some", source="test")


def assert_same_arrays(one: Crystal, other: Crystal, tolerance_angstrom: float = 1e-4) -> None:
    np.testing.assert_array_equal(one.numbers, other.numbers)
    np.testing.assert_allclose(one.lattice, other.lattice, atol=tolerance_angstrom)
    np.testing.assert_allclose(one.positions, other.positions, atol=tolerance_angstrom)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_one_change(
    cells: dict[str, Cell], name: str, change: Callable[[Cell, np.random.Generator], Cell], seed: int
) -> None:
    cell = cells[name]
    assert_same_arrays(crystal_of(cell), crystal_of(change(cell, np.random.default_rng(seed))))


@given(
    name=st.sampled_from(NAMES),
    changes=st.lists(st.sampled_from(CHANGES[:-1]), min_size=2, max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_changes_together(
    cells: dict[str, Cell], name: str, changes: list[Callable[[Cell, np.random.Generator], Cell]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    cell = cells[name]
    for change in sorted(changes, key=CHANGES.index):
        cell = change(cell, rng)
    assert_same_arrays(crystal_of(cells[name]), crystal_of(cell))


@pytest.mark.parametrize("name", NAMES)
def test_four_decimals_suffice(cells: dict[str, Cell], name: str) -> None:
    lattice, numbers, frac = cells[name]
    rounded = crystal_of((lattice.round(4), numbers, (frac + 0.12345678).round(4)))
    # A fraction is worth up to 6 angstrom in the plane and 24 along c.
    assert_same_arrays(crystal_of(cells[name]), rounded, tolerance_angstrom=4e-3)


@pytest.mark.parametrize("name", NAMES)
def test_canonical_form_is_a_fixed_point(cells: dict[str, Cell], name: str) -> None:
    crystal = crystal_of(cells[name])
    again = Crystal.from_structure(crystal.to_structure(), id="some", source="test")
    assert_same_arrays(crystal, again, 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_form_is_as_promised(cells: dict[str, Cell], name: str) -> None:
    crystal = crystal_of(cells[name])
    (ax, ay), (bx, by) = crystal.lattice
    assert ay == 0.0
    assert by > 0.0
    assert ax <= np.hypot(bx, by) + 1e-9
    assert -ax / 2 - 1e-9 <= bx <= 1e-9
    fractions = crystal.positions[:, :2] @ np.linalg.inv(crystal.lattice)
    assert (fractions > -0.01).all()
    assert (fractions < 1.0).all()
    z = crystal.positions[:, 2]
    assert z.max() == pytest.approx(-z.min())
    assert (np.diff(crystal.numbers) >= 0).all()


def test_mirror_images_stay_two_crystals(cells: dict[str, Cell]) -> None:
    lattice, numbers, frac = cells["P1"]
    mirrored = crystal_of((lattice * [-1.0, 1.0, 1.0], numbers, frac))
    original = crystal_of(cells["P1"])
    assert np.abs(mirrored.positions - original.positions).max() > 0.1


def test_supercell_with_a_real_distortion_is_kept(cells: dict[str, Cell]) -> None:
    lattice, numbers, frac = supercell(cells["MoSSe"], np.random.default_rng(1))
    repeats = len(numbers) // 3
    assert repeats > 1
    moved = frac.copy()
    moved[np.flatnonzero(numbers == 42)[0]] += np.array([0.15, 0.1, 0.0]) @ np.linalg.inv(lattice)
    assert len(crystal_of((lattice, numbers, moved)).numbers) == 3 * repeats
    assert len(crystal_of((lattice, numbers, frac)).numbers) == 3


def test_small_scatter_of_a_supercell_is_averaged(cells: dict[str, Cell]) -> None:
    rng = np.random.default_rng(1)
    lattice, numbers, frac = supercell(cells["MoSSe"], rng)
    scattered = frac + rng.uniform(-0.01, 0.01, frac.shape) @ np.linalg.inv(lattice)
    assert_same_arrays(crystal_of(cells["MoSSe"]), crystal_of((lattice, numbers, scattered)), 0.02)
