"""The periodic table of the web page: position, radius and color of each element."""

from typing import Any

from index.chemistry.elements import get_atomic_numbers

# Atomic numbers at which periods end. Lanthanides and actinides (first atomic number) have rows below the table.
_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)
_SERIES = {57: 9, 89: 10}
_SERIES_LENGTH = 15
# Besides the halogens and noble gases.
_NONMETALS = frozenset({1, 5, 6, 7, 8, 14, 15, 16, 32, 33, 34, 51, 52})


def list_elements() -> list[dict[str, Any]]:
    """List the elements that a crystal may contain, by atomic number.

    Covalent radii (Cordero et al., Dalton Trans. 2832, 2008) are in angstrom. ASE provides them and the colors, which
    are those of Jmol.
    """
    from ase.data import atomic_names, covalent_radii
    from ase.data.colors import jmol_colors

    elements = []
    for symbol, number in sorted(get_atomic_numbers().items(), key=lambda item: item[1]):
        row, column = _locate(number)
        color = "#" + "".join(f"{round(255 * channel):02x}" for channel in jmol_colors[number])
        elements.append(
            {
                "symbol": symbol,
                "name": atomic_names[number].lower(),
                "row": row,
                "column": column,
                "radius": round(float(covalent_radii[number]), 2),
                "color": color,
                "metal": number not in _NONMETALS and column < 17,
            }
        )
    return elements


def _locate(number: int) -> tuple[int, int]:
    """Return row and column, counted from 1. The f block is in rows 9 and 10."""
    for first, row in _SERIES.items():
        if first <= number < first + _SERIES_LENGTH:
            return row, 3 + number - first
    period = next(row for row, noble in enumerate(_NOBLE) if number <= noble)
    from_start, to_end = number - _NOBLE[period - 1], _NOBLE[period] - number
    if number == 1 or from_start <= 2 < _NOBLE[period]:
        return period, from_start
    # Other columns are counted back from the noble gas, because the p and d blocks follow the f block.
    return period, 18 - to_end
