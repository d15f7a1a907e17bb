"""What is told of one crystal of the index."""

from app.errors import NotFoundError
from app.library import Library
from app.prediction import lattice_of
from app.schemas import Structure


def structure_of(library: Library, id: str) -> Structure:
    """The crystal with this id.

    Raises:
        NotFoundError: there is none.
    """
    try:
        entry = library.entry(id)
    except KeyError:
        raise NotFoundError(
            f"no crystal {id[:100]!r} in this index; ids are case-sensitive and percent-encoded in paths"
        ) from None
    return Structure(
        id=entry.id,
        source=entry.source,
        licence=entry.licence,
        reference=entry.reference,
        formula=entry.formula,
        elements=list(entry.elements),
        layer_group=entry.layer_group,
        layer_group_symbol=entry.layer_group_symbol,
        space_group=entry.space_group,
        space_group_symbol=entry.space_group_symbol,
        lattice=lattice_of(entry.crystal),
        cif=entry.cif(),
    )
