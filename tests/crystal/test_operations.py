"""Symmetry operations of a layer, and the displacements that keep them."""

import gzip
import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import spglib
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element

from model.crystal.crystal import Crystal
from model.crystal.duplicates import is_same_crystal
from model.crystal.operations import compute_symmetry_projector, find_operations
from model.crystal.symmetry import determine_symmetry
from tests.paths import SHARED

Cell = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]
STRUCTURES = SHARED / "data" / "structures"


def assert_maps_onto_itself(crystal: Crystal, tolerance: float) -> None:
    found = find_operations(crystal)
    xy, z = crystal.positions[:, :2] @ np.linalg.inv(crystal.lattice), crystal.positions[:, 2]
    middle = (z.min() + z.max()) / 2
    for row in range(len(found.change)):
        target = found.target[row]
        assert np.array_equal(crystal.numbers[target], crystal.numbers)
        assert len(set(target.tolist())) == len(target)
        apart = xy @ found.change[row] + found.shift[row] - xy[target]
        assert np.linalg.norm((apart - np.rint(apart)) @ crystal.lattice, axis=1).max() <= tolerance
        rise = (z - middle) * (-1 if found.turns_over[row] else 1)
        assert rise == pytest.approx(z[target] - middle, abs=2 * tolerance)
        turn = found.turn[row]
        assert turn @ turn.T == pytest.approx(np.eye(2), abs=0.05)
        assert crystal.lattice @ turn == pytest.approx(found.change[row] @ crystal.lattice)


@pytest.mark.parametrize(
    ("name", "count", "over"),
    [
        ("graphene", 24, 12),
        ("MoS2 1H", 12, 6),
        ("MoSSe", 6, 0),
        ("FeSe", 16, 8),
        ("one column", 8, 0),
        ("P1", 1, 0),
    ],
)
def test_known_groups_have_their_operations(cells: dict[str, Cell], name: str, count: int, over: int) -> None:
    crystal = Crystal.from_cell(*cells[name], id=name, source="test")
    found = find_operations(crystal)
    assert (len(found.change), int(found.turns_over.sum())) == (count, over)
    assert_maps_onto_itself(crystal, 0.01)


def test_reports_how_far_atoms_are_from_symmetric_positions(cells: dict[str, Cell]) -> None:
    exact = Crystal.from_cell(*cells["MoS2 1H"], id="exact", source="test")
    assert find_operations(exact).residual_angstrom.max() < 1e-6
    aside = np.zeros_like(exact.positions)
    aside[0, 0] = 0.02
    found = find_operations(replace(exact, positions=exact.positions + aside))
    assert len(found.change) == 12
    assert 0.005 < found.residual_angstrom.max() <= 0.04
    assert found.select(found.residual_angstrom < 1e-3).change.tolist()  # the identity, if no other
    assert len(find_operations(replace(exact, positions=exact.positions + 10 * aside)).change) < 12


def test_operations_are_cached_for_each_crystal(cells: dict[str, Cell]) -> None:
    first, second = (
        Crystal.from_cell(*cells[name], id="same name", source="test") for name in ("graphene", "P1")
    )
    known = find_operations(first)
    assert find_operations(first) is known
    assert not known.turn.flags.writeable
    assert len(find_operations(second).change) == 1


def test_finds_the_operations_of_a_large_cell_of_one_element() -> None:
    """A net of 98 carbon atoms of which one sticks out, with the three-fold axis and the mirrors through it."""
    a = 2.46
    cell = np.array([[1.0, 0.0], [-0.5, 3**0.5 / 2]]) * a
    cells = np.array([[i, j] for i in range(7) for j in range(7)])
    sites = (np.array([[1 / 3, 2 / 3], [2 / 3, 1 / 3]]) + cells[:, None]).reshape(-1, 2)
    positions = np.pad(sites @ cell, ((0, 0), (0, 1)))
    positions[0, 2] = 1.0
    lattice = np.zeros((3, 3))
    lattice[:2, :2], lattice[2, 2] = 7 * cell, 20.0
    frac = (positions + np.array([0.0, 0.0, 8.0])) @ np.linalg.inv(lattice)
    crystal = Crystal.from_cell(lattice, np.full(len(frac), 6), frac, id="bump", source="test")
    assert len(crystal.numbers) == 98
    found = find_operations(crystal)
    assert (len(found.change), int(found.turns_over.sum())) == (6, 0)  # p3m1
    assert_maps_onto_itself(crystal, 0.01)


@pytest.mark.skipif(not STRUCTURES.is_dir(), reason="the shared structures are not beside this checkout")
@pytest.mark.parametrize("name", ["2dmatpedia", "mxenes", "ml2ddb", "c2db_sample", "bilayers"])
def test_finds_as_many_operations_as_spglib(name: str) -> None:
    """Not all: atoms at the edge of the tolerance, which spglib lessens until it has a group."""
    with gzip.open(STRUCTURES / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    alike = 0
    sample = entries[:: len(entries) // 60]
    for entry in sample:
        numbers = [Element(symbol).Z for symbol in entry["species"]]
        crystal = Crystal.from_cell(entry["lattice"], numbers, entry["frac"], id=entry["id"], source=name)
        assert_maps_onto_itself(crystal, 0.05 + 1e-6)
        box = np.zeros((3, 3))
        box[:2, :2], box[2, 2] = crystal.lattice, crystal.thickness + 20.0
        sites = crystal.positions @ np.linalg.inv(box)
        cell = (box.tolist(), sites.tolist(), crystal.numbers.tolist())
        theirs = spglib.get_symmetry(cell, symprec=0.05)
        alike += theirs is not None and len(find_operations(crystal).change) == len(theirs["rotations"])
    assert alike >= 0.95 * len(sample)


@pytest.mark.parametrize(
    ("name", "free"),
    [("graphene", 0), ("MoS2 1H", 0), ("MoSSe", 0), ("FeSe", 0), ("one column", 0), ("P1", -1)],
)
def test_shifts_that_keep_the_symmetry_are_those_of_free_coordinates(
    cells: dict[str, Cell], name: str, free: int
) -> None:
    crystal = Crystal.from_cell(*cells[name], id=name, source="test")
    projector = compute_symmetry_projector(crystal)
    assert projector == pytest.approx(projector @ projector, abs=1e-6)
    expected = 2 * len(crystal.numbers) if free < 0 else free
    assert np.trace(projector) == pytest.approx(expected, abs=1e-6)


def moved(crystal: Crystal, direction: NDArray[np.float64]) -> Crystal:
    """By 0.2 angstrom in all along a direction (2 N,)."""
    shift = np.pad(0.2 * direction.reshape(-1, 2), ((0, 0), (0, 1)))
    return replace(crystal, positions=crystal.positions + shift)


def test_a_crystal_moved_along_its_free_shifts_keeps_its_group() -> None:
    # Two rows of a rectangular layer, free to move along one axis each way.
    lattice = np.diag([3.3, 4.4, 25.0])
    frac = np.array([[0.0, 0.08, 0.5], [0.5, 0.92, 0.5], [0.5, 0.42, 0.58], [0.0, 0.58, 0.58]])
    crystal = Crystal.from_cell(lattice, np.array([15, 15, 15, 15]), frac, id="rows", source="test")
    share, basis = np.linalg.eigh(compute_symmetry_projector(crystal))
    assert 0 < (share > 0.5).sum() < len(share)
    kept = [
        determine_symmetry(moved(crystal, each)).layer_group == determine_symmetry(crystal).layer_group
        for each in basis.T
    ]
    assert all(np.array(kept)[share > 0.5])
    assert not all(np.array(kept)[share < 0.5])


def test_a_large_cell_that_is_nearly_a_supercell_takes_little_memory() -> None:
    side, spacing = 12, 2.2
    positions = np.array([[i * spacing, j * spacing, 0.0] for j in range(side) for i in range(side)])
    positions[5, 0] += 0.06  # every translation of the small cell maps all but two atoms
    crystal = Crystal("some", "test", spacing * side * np.eye(2), np.full(side**2, 6), positions)
    tracemalloc.start()
    try:
        found = find_operations(crystal)
        assert is_same_crystal(crystal, crystal.turn_over())
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()
    assert len(found.change) == 4  # the mirrors along a and in the plane, as the atom is displaced along a
    assert_maps_onto_itself(crystal, 0.12)
