"""Reading and writing of CIF and POSCAR; pymatgen and ASE read the written files back as the same crystal."""

import re
import warnings
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from model.crystal.crystal import Crystal, element_symbol
from model.crystal.symmetry import Symmetry
from model.errors import CrystalError, UnknownFormatError, UnreadableError

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

VACUUM_ANGSTROM = 20.0

_SITE_COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
_CIF_MARK = re.compile(r"^\s*(data_|_cell_length_a\b)", re.IGNORECASE | re.MULTILINE)
_OCCUPANCY_MARK = re.compile(r"Occupancy \S+ exceeded tolerance")


def read_structure(text: str, *, id: str, source: str) -> Crystal:
    """Return the crystal in a CIF (its first structure) or a POSCAR; the content decides which it is.

    Args:
        text: content of the file.
        id: any name for the crystal.
        source: where the structure comes from.

    Raises:
        UnknownFormatError: the text is neither CIF nor POSCAR.
        UnreadableError: the file is damaged.
        CrystalError: the structure is not a usable two-dimensional crystal (see `Crystal.from_structure`).
    """
    if not text.strip():
        raise UnreadableError("The file is empty; give a CIF or a POSCAR.")
    if _CIF_MARK.search(text):
        structure = _parse_cif(text)
    elif _looks_like_poscar(text):
        structure = _parse_poscar(text)
    else:
        raise UnknownFormatError(
            "The file is neither a CIF (no data_ block) nor a POSCAR (no scale and three cell vectors)."
        )
    return Crystal.from_structure(structure, id=id, source=source)


def _parse_cif(text: str) -> "Structure":
    from pymatgen.io.cif import CifParser

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # relevant problems are checked on the structure
            structures = CifParser.from_str(text).parse_structures(primitive=False, on_error="raise")
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


def _looks_like_poscar(text: str) -> bool:
    lines = text.splitlines()
    try:
        rows = [[float(word) for word in line.split()[:3]] for line in lines[2:5]]
        float(lines[1].split()[0])
    except (IndexError, ValueError):
        return False
    return [len(row) for row in rows] == [3, 3, 3]


def _parse_poscar(text: str) -> "Structure":
    from pymatgen.io.vasp.inputs import Poscar

    lines = text.splitlines()
    counts = [int(word) for line in lines[5:7] for word in line.split() if word.isdecimal()]
    if sum(counts) > len(lines):
        raise UnreadableError(f"The POSCAR declares {sum(counts)} atoms but has {len(lines)} lines.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            poscar = Poscar.from_str(text, read_velocities=False)
    except Exception as error:  # as above
        raise UnreadableError(f"The POSCAR cannot be read: {_shorten_message(error)}") from error
    if not poscar.true_names:
        raise CrystalError("The POSCAR names no elements; write their symbols on line 6.")
    return poscar.structure


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
