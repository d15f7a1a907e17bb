"""Names of elements and formulas, remembered: a library asks for the same few a hundred thousand times."""

from functools import lru_cache

# Californium: scattering factors are tabulated up to it.
MAX_ATOMIC_NUMBER = 98


@lru_cache(maxsize=256)
def element_symbol(number: int) -> str:
    """Symbol of the element with this atomic number."""
    from pymatgen.core.periodic_table import Element

    return Element.from_Z(number).symbol


@lru_cache(maxsize=8192)
def reduced_formula(numbers: tuple[int, ...]) -> str:
    """Formula of atoms with these numbers in lowest terms, most electropositive element first."""
    from pymatgen.core.composition import Composition

    counts: dict[str, float] = {}
    for number in numbers:
        counts[element_symbol(number)] = counts.get(element_symbol(number), 0.0) + 1.0
    return str(Composition(counts).reduced_formula)
