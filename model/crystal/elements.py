"""Element symbols and formulas, cached: a library needs the same few a hundred thousand times."""

from collections import Counter
from functools import lru_cache

# Californium, the last element with tabulated scattering factors.
MAX_ATOMIC_NUMBER = 98


@lru_cache(maxsize=256)
def element_symbol(number: int) -> str:
    """Return the symbol of the element with this atomic number."""
    from pymatgen.core.periodic_table import Element

    return Element.from_Z(number).symbol


@lru_cache(maxsize=8192)
def reduced_formula(numbers: tuple[int, ...]) -> str:
    """Return the reduced formula of atoms with these atomic numbers, most electropositive element first."""
    from pymatgen.core.composition import Composition

    return str(Composition(Counter(map(element_symbol, numbers))).reduced_formula)
