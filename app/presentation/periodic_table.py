"""The periodic table that the page draws: where an element stands, and how big and of what colour it is drawn."""

from typing import Any

from index.chemistry.elements import atomic_numbers

# Atomic numbers that end a period, and the rows below the table for lanthanides and actinides.
_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)
_SERIES = {57: 9, 89: 10}
_SERIES_LENGTH = 15
# Those that are no metals, besides the halogens and noble gases.
_NONMETALS = frozenset({1, 5, 6, 7, 8, 14, 15, 16, 32, 33, 34, 51, 52})


def periodic_table() -> list[dict[str, Any]]:
    """An entry for each element that a crystal may hold, by atomic number.

    Covalent radii are in angstrom (Cordero et al., Dalton Trans. 2832, 2008) and colours those of Jmol, both of ASE.
    """
    from ase.data import atomic_names, covalent_radii
    from ase.data.colors import jmol_colors

    table = []
    for symbol, number in sorted(atomic_numbers().items(), key=lambda item: item[1]):
        row, column = _place(number)
        colour = "#" + "".join(f"{round(255 * part):02x}" for part in jmol_colors[number])
        table.append(
            {
                "symbol": symbol,
                "name": atomic_names[number].lower(),
                "number": number,
                "row": row,
                "column": column,
                "radius": round(float(covalent_radii[number]), 2),
                "colour": colour,
                "metal": number not in _NONMETALS and column < 17,
            }
        )
    return table


def _place(number: int) -> tuple[int, int]:
    """Row and column, from 1; the f block stands in rows 9 and 10."""
    for first, row in _SERIES.items():
        if first <= number < first + _SERIES_LENGTH:
            return row, 3 + number - first
    period = next(row for row, noble in enumerate(_NOBLE) if number <= noble)
    since, until = number - _NOBLE[period - 1], _NOBLE[period] - number
    if number == 1 or since <= 2 < _NOBLE[period]:
        return period, since
    # The other columns are counted from the noble gas: the p and d blocks are full behind the f block.
    return period, 18 - until
