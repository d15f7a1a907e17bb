import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element

from model.crystal import Crystal, Symmetry, symmetric_shifts, symmetry_of

Cell = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]
STRUCTURES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "structures"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("graphene", Symmetry(80, "p6/mmm", 191, "P6/mmm")),
        ("MoS2 1H", Symmetry(78, "p-6m2", 187, "P-6m2")),
        ("MoSSe", Symmetry(69, "p3m1", 156, "P3m1")),
        ("FeSe", Symmetry(64, "p4/nmm", 129, "P4/nmm")),
        ("one column", Symmetry(55, "p4mm", 99, "P4mm")),
        ("P1", Symmetry(1, "p1", 1, "P1")),
    ],
)
def test_known_groups(cells: dict[str, Cell], name: str, expected: Symmetry) -> None:
    assert symmetry_of(Crystal.from_cell(*cells[name], id=name, source="test")) == expected


def test_tolerance_is_honoured(cells: dict[str, Cell]) -> None:
    lattice, numbers, frac = cells["graphene"]
    buckled = Crystal.from_cell(
        lattice, numbers, frac + np.array([[0, 0, 0.001], [0, 0, -0.001]]), id="b", source="test"
    )
    assert symmetry_of(buckled, symprec=0.2).layer_group == 80
    assert symmetry_of(buckled, symprec=0.001).layer_group == 72


@pytest.mark.skipif(not STRUCTURES.is_dir(), reason="the shared structures are not beside this checkout")
@pytest.mark.parametrize("name", ["2dmatpedia", "mxenes", "ml2ddb", "c2db_sample", "bilayers"])
def test_agrees_with_the_groups_of_the_library(name: str) -> None:
    """Not all: atoms at the edge of the tolerance, and supercells that are reduced here only."""
    with gzip.open(STRUCTURES / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    layers = spaces = 0
    sample = entries[:: len(entries) // 120]
    for entry in sample:
        numbers = [Element(symbol).Z for symbol in entry["species"]]
        crystal = Crystal.from_cell(entry["lattice"], numbers, entry["frac"], id=entry["id"], source=name)
        symmetry = symmetry_of(crystal)
        layers += symmetry.layer_group == entry["meta"]["lg_calc"]
        spaces += symmetry.space_group == entry["meta"]["sg_calc"]
    assert layers >= 0.98 * len(sample)
    assert spaces >= 0.98 * len(sample)


@pytest.mark.parametrize(
    ("name", "free"),
    [("graphene", 0), ("MoS2 1H", 0), ("MoSSe", 0), ("FeSe", 0), ("one column", 0), ("P1", -1)],
)
def test_shifts_that_keep_the_symmetry_are_those_of_free_coordinates(
    cells: dict[str, Cell], name: str, free: int
) -> None:
    crystal = Crystal.from_cell(*cells[name], id=name, source="test")
    projector = symmetric_shifts(crystal)
    assert projector == pytest.approx(projector @ projector, abs=1e-6)
    wanted = 2 * len(crystal.numbers) if free < 0 else free
    assert np.trace(projector) == pytest.approx(wanted, abs=1e-6)


def moved(crystal: Crystal, direction: NDArray[np.float64]) -> Crystal:
    """By 0.2 angstrom in all along a direction (2 N,)."""
    shift = np.pad(0.2 * direction.reshape(-1, 2), ((0, 0), (0, 1)))
    return replace(crystal, positions=crystal.positions + shift)


def test_a_crystal_moved_along_its_free_shifts_keeps_its_group() -> None:
    # Two rows of a rectangular layer, free to move along one axis each way.
    lattice = np.diag([3.3, 4.4, 25.0])
    frac = np.array([[0.0, 0.08, 0.5], [0.5, 0.92, 0.5], [0.5, 0.42, 0.58], [0.0, 0.58, 0.58]])
    crystal = Crystal.from_cell(lattice, np.array([15, 15, 15, 15]), frac, id="rows", source="test")
    share, basis = np.linalg.eigh(symmetric_shifts(crystal))
    assert 0 < (share > 0.5).sum() < len(share)
    kept = [
        symmetry_of(moved(crystal, each)).layer_group == symmetry_of(crystal).layer_group for each in basis.T
    ]
    assert all(np.array(kept)[share > 0.5])
    assert not all(np.array(kept)[share < 0.5])


def test_shifts_are_remembered_for_as_long_as_their_crystal_and_no_other(cells: dict[str, Cell]) -> None:
    first, second = (
        Crystal.from_cell(*cells[name], id="same name", source="test") for name in ("graphene", "P1")
    )
    known = symmetric_shifts(first)
    assert symmetric_shifts(first) is known
    assert not known.flags.writeable
    assert symmetric_shifts(second).shape == (2 * len(second.numbers),) * 2
