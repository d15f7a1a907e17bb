"""Structures in JSON documents, told apart by their keys.

Known are this project's own line (`lattice`, `species`, `frac`) and what pymatgen and the Materials Project
write. Any list or mapping of them is gone through.
"""

from collections.abc import Iterator
from typing import Any

from index.sources.pymatgen_json import is_structure, pymatgen_record
from index.sources.record import CellRecord, Record, RejectedEntry, plain_text

_ID_KEYS = ("id", "material_id", "entry_id", "task_id", "uid")
_LICENSE_KEYS = ("licence", "license")
# A list of documents in a mapping in a list is as deep as any database has been seen to go.
_MAX_DEPTH = 4


def document_records(document: object, name: str, source: str) -> Iterator[Record | RejectedEntry]:
    """The structures in a parsed JSON document.

    Args:
        document: what `json.loads` gave.
        name: what to call it in reports, and the id of a structure that has none.
        source: name of the source; a document's own `source` comes first.
    """
    try:
        yield from _records(document, name, name, source, _MAX_DEPTH)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        yield RejectedEntry(name, f"the document is damaged: {type(error).__name__} {error}")


def _records(
    document: object, name: str, id: str, source: str, depth: int
) -> Iterator[Record | RejectedEntry]:
    if isinstance(document, dict):
        found = _own_records(document, name, id, source)
        if found is not None:
            yield found
            return
        children = [(f"{name}[{key}]", str(key), value) for key, value in document.items()]
    elif isinstance(document, list):
        children = [(f"{name}[{i}]", f"{id}[{i}]", value) for i, value in enumerate(document)]
    else:
        children = []
    children = [child for child in children if isinstance(child[2], dict | list)]
    if not (children and depth and _may_hold_structures(document)):
        yield RejectedEntry(name, _unknown(document))
        return
    for child_name, child_id, child in children:
        try:
            yield from _records(child, child_name, child_id, source, depth - 1)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            yield RejectedEntry(child_name, f"the document is damaged: {type(error).__name__} {error}")


def _may_hold_structures(document: object) -> bool:
    """Whether to look further in: a mapping of names to documents, and no single document of another kind."""
    if isinstance(document, list):
        return any(isinstance(value, dict) for value in document)
    return isinstance(document, dict) and (
        all(isinstance(value, dict) for value in document.values())
        or any(isinstance(document.get(key), list | dict) for key in ("data", "entries", "structures"))
    )


def _own_records(document: dict[str, Any], name: str, id: str, source: str) -> Record | RejectedEntry | None:
    id = plain_text(next((document[key] for key in _ID_KEYS if document.get(key)), id))
    source = plain_text(document.get("source") or source)
    license = _license(document)
    if {"lattice", "species", "frac"} <= document.keys():
        return CellRecord(
            id, source, document["lattice"], document["species"], document["frac"], license=license
        )
    if is_structure(document):
        return pymatgen_record(document, name, id, source, license)
    inner = document.get("structure")
    if isinstance(inner, dict):
        return pymatgen_record(inner, name, id, source, license)
    return None


def _license(document: dict[str, Any]) -> str | None:
    places = (document, document.get("meta"), document.get("data"))
    for place in places:
        for key in _LICENSE_KEYS:
            if isinstance(place, dict) and isinstance(place.get(key), str):
                return plain_text(place[key])
    return None


def _unknown(document: object) -> str:
    if not isinstance(document, dict):
        return "JSON that holds no structures"
    keys = ", ".join(plain_text(key) for key in list(document)[:6]) or "none"
    return (
        f"JSON of an unknown form, with the keys {keys}: give lattice, species and frac, or pymatgen's form"
    )
