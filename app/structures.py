"""A crystal of the library as it is told."""

from app.prediction import lattice_of
from app.schemas import Structure
from index.catalogue import Entry


def structure_of(entry: Entry) -> Structure:
    """All that is known of a crystal."""
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
