"""Add user structures to an index while it is served, remove them, and serve another version of the index."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from app.presentation.schemas.service import ServedIndex
from app.presentation.schemas.structures import UserStructureSchema
from app.services.options import ReloadOptions, UserStructureOptions
from app.services.structures import describe_structure, make_not_found_error, read_structure_files
from app.services.uploads import FileUpload, FormBody, JsonBody, RequestBody, parse_json_object
from index.live.new_user_structure import AddOutcome, NewUserStructure
from model.errors import OptionError

if TYPE_CHECKING:
    from app.services.search_index import EditableIndex

_EXPECTED = 'send {"structure": "the text of a CIF or POSCAR"}'


@dataclass(frozen=True)
class StructureUpload:
    """A structure to add, not yet parsed, and its options."""

    file: FileUpload
    options: UserStructureOptions


def parse_structure_request(body: RequestBody) -> StructureUpload:
    """Parse a request to add a structure.

    Raises:
        DomainError: as `parse_json_object`.
        OptionError: the structure is missing, or an option is not valid.
    """
    if isinstance(body, FormBody):
        return StructureUpload(body.file, UserStructureOptions.from_text(body.fields))
    content = parse_json_object(body.data, _EXPECTED)
    text = content.pop("structure", None)
    if not isinstance(text, str):
        wrong = "is missing" if text is None else f"must be a string, not {type(text).__name__}"
        raise OptionError(f"structure {wrong}; {_EXPECTED}.")
    options = UserStructureOptions.from_json(content)
    return StructureUpload(FileUpload(text.encode("utf-8", "replace"), "the structure"), options)


def parse_reload_request(body: JsonBody | None) -> str | None:
    """Return the name of the version to serve; None for the current one.

    Raises:
        DomainError: as `parse_json_object`.
        OptionError: an option is not valid.
    """
    if body is None or not body.data.strip():
        return None
    content = parse_json_object(body.data, 'send {"version": NAME}, or nothing')
    return ReloadOptions.from_json(content).version


def add_structure(index: "EditableIndex", upload: StructureUpload, key_name: str | None) -> AddOutcome:
    """Add a structure for an API key; DomainError if it is not usable or its id belongs to another structure."""
    (crystal,), options = read_structure_files([upload.file]), upload.options
    return index.add(NewUserStructure(crystal, options.id, options.license, options.reference, key_name))


def describe_added(outcome: AddOutcome) -> UserStructureSchema:
    """Describe a structure that was added."""
    return UserStructureSchema(**dict(describe_structure(outcome.entry)), same_as=list(outcome.same_as))


def remove_structure(index: "EditableIndex", id: str) -> None:
    """Remove a user structure from an index.

    Raises:
        NotFoundError: there is none with this id.
        ConflictError: the structure belongs to the index itself.
    """
    try:
        index.remove(id)
    except KeyError:
        raise make_not_found_error(id) from None


def structure_path(id: str) -> str:
    """Return the path of a structure; dots are encoded because clients may interpret them as path segments."""
    return f"/structures/{quote(id, safe='').replace('.', '%2E')}"


def reload_index(index: "EditableIndex", version: str | None) -> ServedIndex:
    """Serve the current version of an index, or another one by its name.

    Raises:
        OptionError: there is no such version.
        ConflictError: the version cannot be served.
    """
    served = index.reload(version)
    return ServedIndex(
        version=served.name,
        created=served.manifest.created,
        index=served.manifest.digest,
        crystals=served.manifest.crystals + served.user_structure_count,
        user_structures=served.user_structure_count,
    )
