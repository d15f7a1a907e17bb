"""The structures of an index, and structures that are uploaded as files."""

import logging
from typing import TYPE_CHECKING

from app.errors import NotFoundError
from app.presentation.schemas.structures import Structure
from app.presentation.serialize import serialize_cell
from app.services.uploads import FileUpload
from index.storage.catalog import Entry
from model.crystal.crystal import Crystal
from model.crystal.structure_files import read_structure
from model.errors import DomainError, TooLargeError, UnreadableError

if TYPE_CHECKING:
    from app.services.search_index import SearchIndex

logger = logging.getLogger(__name__)

# A cell of this many atoms is computed in a tenth of a second; a file of this size holds a few hundred.
MAX_ATOMS = 150
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


def read_structure_file(file: FileUpload) -> Crystal:
    """Return the crystal in a CIF or POSCAR file, with the filename as its id.

    Raises:
        TooLargeError: the file or the cell is too large.
        DomainError: the file cannot be read or used; the message names the file.
    """
    try:
        return _read_within_limits(file)
    except DomainError as error:
        raise type(error)(f"{file.filename}: {error} ({_EXPECTED})") from error
    except Exception as error:  # no upload may end in a 500
        logger.exception("Unexpected error in a reader of structures.")
        raise UnreadableError(
            f"{file.filename}: The file is damaged or in an unusual format. ({_EXPECTED})"
        ) from error


def _read_within_limits(file: FileUpload) -> Crystal:
    if len(file.data) > MAX_STRUCTURE_BYTES:
        raise TooLargeError(
            f"The file has {len(file.data)} bytes; the limit for a structure is {MAX_STRUCTURE_BYTES}."
        )
    crystal = read_structure(file.data.decode("utf-8", "replace"), id=file.filename, source="request")
    if len(crystal.numbers) > MAX_ATOMS:
        raise TooLargeError(f"The primitive cell has {len(crystal.numbers)} atoms; the limit is {MAX_ATOMS}.")
    return crystal
