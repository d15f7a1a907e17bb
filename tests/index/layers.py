"""Simple layers for the tests of the index, each different from the others, and their JSON documents."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from model.crystal.crystal import Crystal

_METALS = ("Mo", "W", "Nb", "Ta", "Ti", "Zr", "Hf", "V")
_ANIONS = ("S", "Se", "Te", "O")


def document(index: int, **more: Any) -> dict[str, Any]:
    """Return a document in this project's form: MX2 in a hexagonal cell whose size depends on the index."""
    metal, anion = _METALS[index % 8], _ANIONS[index // 8 % 4]
    a = 2.9 + 0.013 * index
    return {
        "id": f"{metal}{anion}2/{index}%",
        "source": "made",
        "lattice": [[a, 0.0, 0.0], [-a / 2, a * 3**0.5 / 2, 0.0], [0.0, 0.0, 25.0]],
        "species": [metal, anion, anion],
        "frac": [[0.0, 0.0, 0.5], [1 / 3, 2 / 3, 0.56], [1 / 3, 2 / 3, 0.44]],
        **more,
    }


def crystal(index: int) -> Crystal:
    """Return the crystal of `document(index)`."""
    from index.chemistry.elements import get_atomic_numbers

    made = document(index)
    numbers = [get_atomic_numbers()[symbol] for symbol in made["species"]]
    return Crystal.from_cell(made["lattice"], numbers, made["frac"], id=made["id"], source=made["source"])


def write_lines(path: Path, documents: Iterable[object]) -> Path:
    """Write JSON lines; text is written unchanged."""
    lines = (each if isinstance(each, str) else json.dumps(each) for each in documents)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def same_structure(one: Crystal, other: Crystal, tolerance: float = 1e-4) -> bool:
    """Return whether canonical forms are equal; ids and sources are ignored."""
    return (
        np.array_equal(one.numbers, other.numbers)
        and np.allclose(one.lattice, other.lattice, atol=tolerance)
        and np.allclose(one.positions, other.positions, atol=tolerance)
    )
