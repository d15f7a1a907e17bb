"""Reading and writing of CIF and POSCAR; pymatgen and ASE read the written files back as the same crystal."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from model.crystal.checks import check_site_count
from model.crystal.crystal import Crystal, element_symbol
from model.crystal.symmetry import Symmetry
from model.errors import CrystalError, TooLargeError, UnknownFormatError, UnreadableError

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

VACUUM_ANGSTROM = 20.0
# Of a bounded reading.
MAX_LINE_CHARACTERS = 2048
# So many lines of symbols may precede the numbers of atoms in a POSCAR.
MAX_SYMBOL_LINES = 10

_SITE_COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
_OCCUPANCY_MARK = re.compile(r"Occupancy \S+ exceeded tolerance")


def read_structure(text: str, *, id: str, source: str, bounded: bool = False) -> Crystal:
    """Return the crystal in a CIF (its first structure) or a POSCAR; the content decides which it is.

    Args:
        text: content of the file.
        id: any name for the crystal.
        source: where the structure comes from.
        bounded: whether to refuse what would take long, before it is computed.

    Raises:
        UnknownFormatError: the text is neither CIF nor POSCAR.
        UnreadableError: the file is damaged.
        CrystalError: the structure is not a usable two-dimensional crystal (see `Crystal.from_structure`).
        TooLargeError: `bounded`, and the file exceeds a limit.
    """
    lines = text.splitlines()
    if bounded and max(map(len, lines), default=0) > MAX_LINE_CHARACTERS:
        raise TooLargeError(f"A line has more than {MAX_LINE_CHARACTERS} characters, the limit of CIF.")
    if not text.strip():
        raise UnreadableError("The file is empty; give a CIF or a POSCAR.")
    if any(map(_is_cif_mark, lines)):
        structure = _parse_cif(lines, bounded=bounded)
    elif _looks_like_poscar(lines):
        structure = _parse_poscar(lines, bounded=bounded)
    else:
        raise UnknownFormatError(
            "The file is neither a CIF (no data_ block) nor a POSCAR (no scale and three cell vectors)."
        )
    if bounded:
        check_site_count(len(structure))
    return Crystal.from_structure(structure, id=id, source=source)


def _is_cif_mark(line: str) -> bool:
    word = line.lstrip()[:16].lower()
    return word.startswith("data_") or word.split(maxsplit=1)[:1] == ["_cell_length_a"]


def _parse_cif(lines: Sequence[str], *, bounded: bool) -> "Structure":
    from pymatgen.io.cif import CifParser

    from model.crystal.bounded_cif import BoundedCifParser

    parser = BoundedCifParser if bounded else CifParser
    # Empty lines have no meaning in a CIF, and the time that pymatgen takes grows with their square.
    text = "\n".join(line for line in lines if line and not line.isspace())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # relevant problems are checked on the structure
            structures = parser.from_str(text).parse_structures(primitive=False, on_error="raise")
    except TooLargeError:
        raise
    except ZeroDivisionError:  # raised by pymatgen for an empty list of atoms
        raise CrystalError("The structure contains no atoms.") from None
    except Exception as error:  # a damaged file can raise any exception in pymatgen
        if _OCCUPANCY_MARK.search(str(error)):
            raise CrystalError(
                "Overlapping atoms, or occupancies that add up to more than 1, at one site."
            ) from error
        raise UnreadableError(f"The CIF cannot be read: {_shorten_message(error)}") from error
    if not structures:
        raise UnreadableError("The CIF contains no structure with a cell and atoms.")
    return structures[0]


def _looks_like_poscar(lines: Sequence[str]) -> bool:
    try:
        rows = [[float(word) for word in line.split()[:3]] for line in lines[2:5]]
        float(lines[1].split()[0])
    except (IndexError, ValueError):
        return False
    return [len(row) for row in rows] == [3, 3, 3]


def _parse_poscar(lines: Sequence[str], *, bounded: bool) -> "Structure":
    from pymatgen.io.vasp.inputs import Poscar

    count = _count_poscar_atoms(lines)
    if count > len(lines):
        raise UnreadableError(f"The POSCAR declares {count} atoms but has {len(lines)} lines.")
    if bounded:
        check_site_count(count)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            poscar = Poscar.from_str("\n".join(lines), read_velocities=False)
    except Exception as error:  # as above
        raise UnreadableError(f"The POSCAR cannot be read: {_shorten_message(error)}") from error
    if not poscar.true_names:
        raise CrystalError("The POSCAR names no elements; write their symbols on line 6.")
    return poscar.structure


def _count_poscar_atoms(lines: Sequence[str]) -> int:
    """Return the number of atoms that a POSCAR declares on line 6, or after as many lines of symbols as of numbers."""
    rows = [line.split() for line in lines[5 : 5 + 2 * MAX_SYMBOL_LINES]]
    first = 0
    if rows and not all(map(_is_whole, rows[0])):
        first = next((n for n, words in enumerate(rows) if n and words and _is_whole(words[0])), len(rows))
    words = [word for row in rows[first : first + max(first, 1)] for word in row]
    return sum(abs(int(word)) for word in words if _is_whole(word))


def _is_whole(word: str) -> bool:
    try:
        int(word)
    except ValueError:
        return False
    return True


def _shorten_message(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def write_cif(crystal: Crystal, symmetry: Symmetry | None = None) -> str:
    """Return the crystal as CIF: all atoms of the cell, listed in P 1, with c along the layer normal.

    The symmetry, the id and the source are in data items of their own (`_dd2d_...`): a space group beside a list of
    all atoms would make readers multiply them.

    Args:
        crystal: the crystal to write.
        symmetry: its groups, from `determine_symmetry`; omitted if None.
    """
    height = crystal.thickness + VACUUM_ANGSTROM
    (a, _), (bx, by) = crystal.lattice.tolist()
    lines = [
        f"data_{re.sub(r'[^A-Za-z0-9.+-]', '_', crystal.id)[:70]}",
        "# A single layer. c is the layer normal; its length is vacuum, not a lattice constant.",
        f"_dd2d_id {_quote(crystal.id)}",
        f"_dd2d_source {_quote(crystal.source)}",
        *_write_symmetry(symmetry),
        f"_chemical_formula_structural {_quote(crystal.formula)}",
        f"_chemical_formula_sum '{_hill_formula(crystal)}'",
        f"_cell_length_a {a:.8f}",
        f"_cell_length_b {np.hypot(bx, by):.8f}",
        f"_cell_length_c {height:.8f}",
        "_cell_angle_alpha 90",
        "_cell_angle_beta 90",
        f"_cell_angle_gamma {np.degrees(np.arctan2(by, bx)):.8f}",
        "_symmetry_space_group_name_H-M 'P 1'",
        "_symmetry_Int_Tables_number 1",
        "loop_",
        " _symmetry_equiv_pos_as_xyz",
        "  'x, y, z'",
        "loop_",
        *(f" _atom_site_{name}" for name in _SITE_COLUMNS),
        *_write_sites(crystal, height),
    ]
    return "\n".join(lines) + "\n"


def _write_symmetry(symmetry: Symmetry | None) -> list[str]:
    if symmetry is None:
        return []
    return [
        "# The symmetry of the layer; all its atoms are listed below, so the cell itself is given as P 1.",
        f"_dd2d_layer_group_number {symmetry.layer_group}",
        f"_dd2d_layer_group_name_H-M {_quote(symmetry.layer_group_symbol)}",
        f"_dd2d_space_group_IT_number {symmetry.space_group}",
        f"_dd2d_space_group_name_H-M {_quote(symmetry.space_group_symbol)}",
    ]


def _hill_formula(crystal: Crystal) -> str:
    """Return the content of the cell in Hill order: carbon and hydrogen first if there is carbon, then A to Z."""
    counts = Counter(element_symbol(number) for number in crystal.numbers.tolist())
    first = ("C", "H") if "C" in counts else ()
    order = sorted(counts, key=lambda kind: (first.index(kind) if kind in first else len(first), kind))
    return " ".join(f"{kind}{counts[kind]}" for kind in order)


def _write_sites(crystal: Crystal, height: float) -> list[str]:
    xy = crystal.positions[:, :2] @ np.linalg.inv(crystal.lattice)
    z = crystal.positions[:, 2] / height + 0.5
    seen: Counter[str] = Counter()
    lines = []
    for number, (x, y), level in zip(crystal.numbers.tolist(), xy.tolist(), z.tolist(), strict=True):
        symbol = element_symbol(number)
        seen[symbol] += 1
        lines.append(f"  {symbol}{seen[symbol]} {symbol} {x:.8f} {y:.8f} {level:.8f} 1")
    return lines


def _quote(text: str) -> str:
    """Return a CIF 1.1 character value: one line of ASCII in quotes, or a text field if it contains both quotes."""
    plain = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    if "'" not in plain:
        return f"'{plain}'"
    return f'"{plain}"' if '"' not in plain else f"\n;{plain}\n;"


def write_poscar(crystal: Crystal) -> str:
    """Return the crystal as POSCAR, with c along the layer normal, and id and source in the first line."""
    from pymatgen.io.vasp.inputs import Poscar

    comment = " ".join(f"{crystal.formula} {crystal.id} {crystal.source}; the length of c is vacuum".split())
    return Poscar(crystal.to_structure(VACUUM_ANGSTROM), comment=comment).get_str(significant_figures=10)
