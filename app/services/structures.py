"""The structures of an index, and structures that are uploaded as files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.errors import NotFoundError
from app.presentation.schemas.structures import Structure
from app.presentation.serialize import serialize_cell
from app.services.uploads import FileUpload
from index.storage.catalog import Entry
from model.crystal.crystal import Crystal
from model.crystal.uploaded_structures import StructureText, read_uploaded_structures
from model.errors import DomainError, TooLargeError

if TYPE_CHECKING:
    from app.services.search_index import SearchIndex

# The largest crystals of the databases have 80 atoms, and 3,500 cubic angstrom of a cell between their faces. The time
# of a comparison grows with that volume, summed over all crystals; a thin layer costs as much as one of 5 angstrom.
MAX_ATOMS, MAX_VOLUME, MAX_TOTAL_VOLUME = 150, 10_000, 40_000
_MIN_THICKNESS_ANGSTROM = 5.0
MAX_STRUCTURE_BYTES = 64 * 1024
_EXPECTED = "send each structure as a CIF or POSCAR of one layer"


def find_entry(index: "SearchIndex", id: str) -> Entry:
    """Return the crystal with this id; NotFoundError if there is none."""
    try:
        return index.get_entry(id)
    except KeyError:
        raise make_not_found_error(id) from None


def make_not_found_error(id: str) -> NotFoundError:
    """Return the error for an id that no crystal has."""
    return NotFoundError(
        f"There is no crystal {id[:100]!r} in this index; ids are case-sensitive and percent-encoded in paths."
    )


def describe_structure(entry: Entry) -> Structure:
    """Return everything that is known about a crystal."""
    return Structure(
        id=entry.id,
        source=entry.source,
        license=entry.license,
        reference=entry.reference,
        formula=entry.formula,
        elements=list(entry.elements),
        layer_group=entry.layer_group,
        layer_group_symbol=entry.layer_group_symbol,
        space_group=entry.space_group,
        space_group_symbol=entry.space_group_symbol,
        lattice=serialize_cell(entry.crystal),
        cif=entry.cif,
    )


def read_structure_files(files: Sequence[FileUpload]) -> list[Crystal]:
    """Return the crystals in CIF or POSCAR files, with the filenames as their ids.

    Raises:
        TooLargeError: a file, a cell or all cells together are too large.
        DomainError: a file cannot be read or used; the message names the file.
    """
    try:
        for file in files:
            _check_limit(file.filename, "file", len(file.data), MAX_STRUCTURE_BYTES, "bytes")
        texts = [StructureText(file.data.decode("utf-8", "replace"), file.filename) for file in files]
        crystals = read_uploaded_structures(texts, "request")
        for crystal in crystals:
            _check_cell(crystal)
    except DomainError as error:
        raise type(error)(f"{error} ({_EXPECTED})") from error
    volume = sum(map(_compute_volume, crystals))
    if volume > MAX_TOTAL_VOLUME:
        raise TooLargeError(
            f"All cells together have {volume:.0f} cubic angstrom between the faces of the layers; the limit is "
            f"{MAX_TOTAL_VOLUME}. Compare fewer structures, at least two, at once."
        )
    return crystals


def _check_cell(crystal: Crystal) -> None:
    _check_limit(crystal.id, "primitive cell", len(crystal.numbers), MAX_ATOMS, "atoms")
    volume = _compute_volume(crystal)
    _check_limit(
        crystal.id, "primitive cell", volume, MAX_VOLUME, "cubic angstrom between the faces of the layer"
    )


def _compute_volume(crystal: Crystal) -> float:
    return crystal.area * max(crystal.thickness, _MIN_THICKNESS_ANGSTROM)


def _check_limit(filename: str, what: str, value: float, limit: int, unit: str) -> None:
    if value > limit:
        raise TooLargeError(f"{filename}: The {what} has {value:.0f} {unit}; the limit is {limit}.")
