"""A crystal of the library as it is told."""

from app.errors import NotFoundError
from app.presentation.schemas.structures import Structure
from app.presentation.serialize import serialize_cell
from app.services.library import Library
from index.storage.catalog import Entry


def entry_of(library: Library, id: str) -> Entry:
    """The crystal with this id.

    Raises:
        NotFoundError: there is none.
    """
    try:
        return library.get_entry(id)
    except KeyError:
        raise not_found(id) from None


def not_found(id: str) -> NotFoundError:
    """What is told of an id that no crystal has."""
    return NotFoundError(
        f"no crystal {id[:100]!r} in this library; ids are case-sensitive and percent-encoded in paths"
    )


def structure_of(entry: Entry) -> Structure:
    """All that is known of a crystal."""
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
        cif=entry.to_cif(),
    )
