"""A structure that came with a request, read within limits."""

import logging

from app.services.uploads import FileUpload
from model.crystal.crystal import Crystal
from model.crystal.structure_files import read_structure
from model.errors import DomainError, TooLargeError, UnreadableError

logger = logging.getLogger(__name__)

# A cell of so many atoms is computed in a tenth of a second; so many lines of text hold a supercell of some hundred.
MOST_ATOMS = 150
MOST_BYTES = 64 * 1024
_WANTED = "send each structure as a CIF or POSCAR of one layer"


def read_uploaded_structure(file: FileUpload) -> Crystal:
    """The crystal in a CIF or POSCAR, under the file's own name.

    Raises:
        TooLargeError: too many bytes, or too many atoms.
        DomainError: it cannot be read or used; the message names it.
    """
    try:
        return _read(file)
    except DomainError as error:
        raise type(error)(f"{file.filename}: {error} ({_WANTED})") from error
    except Exception as error:  # no upload may end in a 500
        logger.exception("a reader met a structure that it did not foresee")
        raise UnreadableError(f"{file.filename}: damaged, or of an unusual kind ({_WANTED})") from error


def _read(file: FileUpload) -> Crystal:
    if len(file.data) > MOST_BYTES:
        raise TooLargeError(f"{len(file.data)} bytes; a structure may have {MOST_BYTES}")
    crystal = read_structure(file.data.decode("utf-8", "replace"), id=file.filename, source="request")
    if len(crystal.numbers) > MOST_ATOMS:
        raise TooLargeError(
            f"{len(crystal.numbers)} atoms in the primitive cell; structures of {MOST_ATOMS} at most are taken"
        )
    return crystal
