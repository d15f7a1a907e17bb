"""Structures in JSON documents, recognized by their keys.

Two forms are known: this project's own line (`lattice`, `species`, `frac`), and the form of pymatgen and the Materials
Project. Lists and mappings of them are searched.
"""

from collections.abc import Iterator
from typing import Any

from index.sources.record import LICENSE_KEYS, CellRecord, Record, RejectedEntry, encode_text

_ID_KEYS = ("id", "material_id", "entry_id", "task_id", "uid")
# No known database nests deeper than a list of documents in a mapping in a list.
_MAX_DEPTH = 4
_DAMAGED = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def read_document(document: object, name: str, source: str) -> Iterator[Record | RejectedEntry]:
    """Yield the structures of a parsed JSON document.

    Args:
        document: from `json.loads`.
        name: what reports call it, and the id of a structure without one.
        source: name of the source, unless the document states its own.
    """
    try:
        yield from _read_nested(document, name, name, source, _MAX_DEPTH)
    except _DAMAGED as error:
        yield _reject_damaged(name, error)


def _read_nested(
    document: object, name: str, id: str, source: str, depth: int
) -> Iterator[Record | RejectedEntry]:
    if isinstance(document, dict):
        record = _read_structure(document, name, id, source)
        if record is not None:
            yield record
            return
        children = [(f"{name}[{key}]", str(key), value) for key, value in document.items()]
    elif isinstance(document, list):
        children = [(f"{name}[{i}]", f"{id}[{i}]", value) for i, value in enumerate(document)]
    else:
        children = []
    children = [child for child in children if isinstance(child[2], dict | list)]
    if not (children and depth and _may_contain_structures(document)):
        yield RejectedEntry(name, _describe_unknown(document))
        return
    for child_name, child_id, child in children:
        try:
            yield from _read_nested(child, child_name, child_id, source, depth - 1)
        except _DAMAGED as error:
            yield _reject_damaged(child_name, error)


def _reject_damaged(name: str, error: Exception) -> RejectedEntry:
    return RejectedEntry(name, f"The document is damaged: {type(error).__name__} {error}.")


def _may_contain_structures(document: object) -> bool:
    """Return whether a document looks like a collection of documents rather than one of another kind."""
    if isinstance(document, list):
        return any(isinstance(value, dict) for value in document)
    return isinstance(document, dict) and (
        all(isinstance(value, dict) for value in document.values())
        or any(isinstance(document.get(key), list | dict) for key in ("data", "entries", "structures"))
    )


def _read_structure(
    document: dict[str, Any], name: str, id: str, source: str
) -> Record | RejectedEntry | None:
    """Return the structure that a document is or contains itself; None if it may be a collection."""
    id = encode_text(next((document[key] for key in _ID_KEYS if document.get(key)), id))
    source = encode_text(document.get("source") or source)
    license = _find_license(document)
    if {"lattice", "species", "frac"} <= document.keys():
        return CellRecord(
            id, source, document["lattice"], document["species"], document["frac"], license=license
        )
    structure = document if _is_pymatgen_structure(document) else document.get("structure")
    if isinstance(structure, dict):
        return _read_pymatgen_structure(structure, name, id, source, license)
    return None


def _find_license(document: dict[str, Any]) -> str | None:
    for place in (document, document.get("meta"), document.get("data")):
        for key in LICENSE_KEYS:
            if isinstance(place, dict) and isinstance(place.get(key), str):
                return encode_text(place[key])
    return None


def _describe_unknown(document: object) -> str:
    if not isinstance(document, dict):
        return "The JSON contains no structures."
    keys = ", ".join(encode_text(key) for key in list(document)[:6]) or "none"
    return (
        f"The JSON has an unknown layout (keys: {keys}); use lattice, species and frac, or pymatgen's layout."
    )


def _is_pymatgen_structure(document: dict[str, Any]) -> bool:
    return isinstance(document.get("lattice"), dict) and isinstance(document.get("sites"), list)


def _read_pymatgen_structure(
    document: dict[str, Any], name: str, id: str, source: str, license: str | None
) -> Record | RejectedEntry:
    """Return the record of a structure in the form of pymatgen's `Structure.as_dict`.

    It is not decoded by monty, which imports any module that a document names.
    """
    if not _is_pymatgen_structure(document):
        return RejectedEntry(name, "The structure has no lattice with sites; molecules are not crystals.")
    species: list[str] = []
    for site in document["sites"]:
        kinds = site["species"]
        if len(kinds) != 1 or abs(float(kinds[0]["occu"]) - 1.0) > 1e-6:
            return RejectedEntry(
                name,
                "The structure has partial occupancy; order it first, so that every site is fully occupied.",
            )
        species.append(str(kinds[0]["element"]))
    coordinates = [_decode_array(site["abc"]) for site in document["sites"]]
    return CellRecord(id, source, _read_cell(document["lattice"]), species, coordinates, license=license)


def _read_cell(lattice: dict[str, Any]) -> Any:
    if "matrix" in lattice:
        return _decode_array(lattice["matrix"])
    from pymatgen.core.lattice import Lattice

    parameters = (float(lattice[key]) for key in ("a", "b", "c", "alpha", "beta", "gamma"))
    return Lattice.from_parameters(*parameters).matrix


def _decode_array(array: Any) -> Any:
    """Return the numbers of an array, which monty may have encoded with its type."""
    return array["data"] if isinstance(array, dict) else array
