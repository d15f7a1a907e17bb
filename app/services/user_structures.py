"""Structures that are added to the library while it is served, and taken from it again."""

from dataclasses import dataclass
from urllib.parse import quote

from app.presentation.schemas.service import ServedIndex
from app.presentation.schemas.structures import UserStructureSchema
from app.services.library import ChangingLibrary
from app.services.options import ReloadOptions, UserStructureOptions
from app.services.structures import not_found, structure_of
from app.services.uploaded_structure import read_uploaded_structure
from app.services.uploads import FileUpload, FormBody, JsonBody, parse_json_object
from index.live.new_user_structure import SOURCE, AddOutcome, NewUserStructure
from model.crystal.structure_files import read_structure
from model.errors import OptionError

# One atom in a flat square cell.
_SMALLEST = """data_x
_cell_length_a 2
_cell_length_b 2
_cell_length_c 20
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
C 0 0 0
"""
_FORM = 'send {"structure": "the text of a CIF or POSCAR"}'


@dataclass(frozen=True)
class Asked:
    """A structure that is to be added, not yet looked at, and what is said of it."""

    file: FileUpload
    options: UserStructureOptions


def asked_of(body: JsonBody | FormBody) -> Asked:
    """What a request wants added.

    Raises:
        DomainError: see `parse_json_object`.
        OptionError: no structure, or an option that cannot be used.
    """
    if isinstance(body, FormBody):
        return Asked(body.file, UserStructureOptions.from_text(body.fields))
    content = parse_json_object(body.data, _FORM)
    text = content.pop("structure", None)
    if not isinstance(text, str):
        wrong = "missing" if text is None else f"not a text but {type(text).__name__}"
        raise OptionError(f"structure: {wrong}; {_FORM}")
    options = UserStructureOptions.from_json(content)
    return Asked(FileUpload(text.encode("utf-8", "replace"), "the structure"), options)


def version_of(body: JsonBody | None) -> str | None:
    """Name of the version that a request wants served; None for the one in use.

    Raises:
        DomainError: see `parse_json_object`.
        OptionError: an option that cannot be used.
    """
    if body is None or not body.data.strip():
        return None
    content = parse_json_object(body.data, 'send {"version": NAME}, or nothing')
    return ReloadOptions.from_json(content).version


def add_structure(library: ChangingLibrary, asked: Asked, key_name: str | None) -> AddOutcome:
    """Add a structure.

    Raises:
        DomainError: it cannot be read, is no two-dimensional crystal or too large, or the id is another's.
    """
    crystal, options = read_uploaded_structure(asked.file), asked.options
    return library.add(NewUserStructure(crystal, options.id, options.license, options.reference, key_name))


def remove_structure(library: ChangingLibrary, id: str) -> None:
    """Remove a structure that was added.

    Raises:
        NotFoundError: there is none with this id.
        ConflictError: it is one of the index itself.
    """
    try:
        library.remove(id)
    except KeyError:
        raise not_found(id) from None


def told(added: AddOutcome) -> UserStructureSchema:
    """What came of adding a structure."""
    return UserStructureSchema(**dict(structure_of(added.entry)), same_as=list(added.same_as))


def address_of(id: str) -> str:
    """Where a crystal is found; a client must not take dots for steps in the path."""
    return f"/structures/{quote(id, safe='').replace('.', '%2E')}"


def reload(library: ChangingLibrary, version: str | None) -> ServedIndex:
    """Serve the version in use, or another one by its name.

    Raises:
        OptionError: there is no such version.
        ConflictError: it cannot be served.
    """
    served = library.reload(version)
    return ServedIndex(
        version=served.name,
        created=served.manifest.created,
        index=served.manifest.digest,
        crystals=served.manifest.crystals + served.user_structure_count,
        user_structures=served.user_structure_count,
    )


def warm_up() -> None:
    """Load what reads structures, half a second to be spent before somebody waits for it."""
    read_structure(_SMALLEST, id=SOURCE, source=SOURCE)
