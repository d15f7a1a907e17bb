import gzip
import json

import numpy as np
import pytest
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element

from model.crystal.crystal import Crystal
from model.crystal.symmetry import Symmetry, determine_symmetry
from tests.paths import SHARED

Cell = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]
STRUCTURES = SHARED / "data" / "structures"


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
    assert determine_symmetry(Crystal.from_cell(*cells[name], id=name, source="test")) == expected


def test_respects_the_tolerance(cells: dict[str, Cell]) -> None:
    lattice, numbers, frac = cells["graphene"]
    buckled = Crystal.from_cell(
        lattice, numbers, frac + np.array([[0, 0, 0.001], [0, 0, -0.001]]), id="b", source="test"
    )
    assert determine_symmetry(buckled, symprec=0.2).layer_group == 80
    assert determine_symmetry(buckled, symprec=0.001).layer_group == 72


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
        symmetry = determine_symmetry(crystal)
        layers += symmetry.layer_group == entry["meta"]["lg_calc"]
        spaces += symmetry.space_group == entry["meta"]["sg_calc"]
    assert layers >= 0.98 * len(sample)
    assert spaces >= 0.98 * len(sample)
