"""Structures as pymatgen writes them (`Structure.as_dict`), alone or inside another document.

They are taken apart here and not by monty's decoder, which imports whatever module a document names.
"""

from typing import Any

from index.sources.record import CellRecord, Record, RejectedEntry


def is_structure(document: dict[str, Any]) -> bool:
    """Whether a document is a periodic structure itself."""
    return isinstance(document.get("lattice"), dict) and isinstance(document.get("sites"), list)


def pymatgen_record(
    document: dict[str, Any], name: str, id: str, source: str, license: str | None = None
) -> Record | RejectedEntry:
    """The record of one structure.

    Args:
        document: a structure as a dictionary.
        name: what to call it in reports.
        id: its id.
        source: name of the database.
        license: as the source states it.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, IndexError: the document is damaged.
    """
    if not is_structure(document):
        return RejectedEntry(name, "the structure has no lattice with sites; molecules are no crystals")
    species: list[str] = []
    for site in document["sites"]:
        kinds = site["species"]
        if len(kinds) != 1 or abs(float(kinds[0]["occu"]) - 1.0) > 1e-6:
            return RejectedEntry(
                name, "partial occupancy: order the structure first, one whole atom to a site"
            )
        species.append(str(kinds[0]["element"]))
    coordinates = [_plain(site["abc"]) for site in document["sites"]]
    return CellRecord(id, source, _cell(document["lattice"]), species, coordinates, license=license)


def _cell(lattice: dict[str, Any]) -> Any:
    if "matrix" in lattice:
        return _plain(lattice["matrix"])
    from pymatgen.core.lattice import Lattice

    parameters = (float(lattice[key]) for key in ("a", "b", "c", "alpha", "beta", "gamma"))
    return Lattice.from_parameters(*parameters).matrix


def _plain(array: Any) -> Any:
    """The numbers of an array, which monty may have encoded with its type."""
    return array["data"] if isinstance(array, dict) else array
