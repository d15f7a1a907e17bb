import io
from collections.abc import Callable

import ase
import ase.io
import numpy as np
import pytest
from ase.io.cif import parse_cif
from pymatgen.io.cif import CifFile

from model.crystal.bounded_cif import MAX_OPERATIONS
from model.crystal.checks import MAX_SITES
from model.crystal.crystal import Crystal
from model.crystal.structure_files import read_structure, write_cif, write_poscar
from model.crystal.symmetry import determine_symmetry
from model.errors import CrystalError, TooLargeError, UnknownFormatError, UnreadableError
from tests.crystal.layers import NAMES, Cell

SYMMETRIC_CIF = """data_MoS2
_symmetry_space_group_name_H-M 'P -6 m 2'
_cell_length_a 3.18
_cell_length_b 3.18
_cell_length_c 24
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Mo1 Mo 0.3333 0.6667 0.5 1
S1 S 0.6667 0.3333 0.565 1
"""


def crystal_of(cell: Cell, id: str = "mos2/1 50%") -> Crystal:
    return Crystal.from_cell(*cell, id=id, source='it\'s a "test"')


def assert_same_arrays(one: Crystal, other: Crystal, tolerance_angstrom: float) -> None:
    np.testing.assert_array_equal(one.numbers, other.numbers)
    np.testing.assert_allclose(one.lattice, other.lattice, atol=tolerance_angstrom)
    np.testing.assert_allclose(one.positions, other.positions, atol=tolerance_angstrom)


def through_ase(text: str, form: str) -> Crystal:
    atoms = ase.io.read(io.StringIO(text), format=form)
    assert isinstance(atoms, ase.Atoms)
    frac = atoms.positions @ np.linalg.inv(atoms.cell[:])
    return Crystal.from_cell(atoms.cell[:], atoms.numbers, frac, id="a", source="b")


@pytest.mark.parametrize("name", NAMES)
def test_cif_is_the_same_crystal_in_pymatgen(cells: dict[str, Cell], name: str) -> None:
    crystal = crystal_of(cells[name])
    again = read_structure(write_cif(crystal, determine_symmetry(crystal)), id="a", source="b")
    # pymatgen moves coordinates that are within 1e-4 of 1/3 and 2/3 onto them.
    assert_same_arrays(crystal, again, 1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_cif_is_the_same_crystal_in_ase(cells: dict[str, Cell], name: str) -> None:
    crystal = crystal_of(cells[name])
    assert_same_arrays(crystal, through_ase(write_cif(crystal, determine_symmetry(crystal)), "cif"), 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_poscar_is_the_same_crystal(cells: dict[str, Cell], name: str) -> None:
    crystal = crystal_of(cells[name])
    text = write_poscar(crystal)
    assert_same_arrays(crystal, read_structure(text, id="a", source="b"), 1e-6)
    assert_same_arrays(crystal, through_ase(text, "vasp"), 1e-6)


def test_cif_states_symmetry_source_id_and_vacuum(cells: dict[str, Cell]) -> None:
    crystal = crystal_of(cells["MoS2 1H"])
    lines = write_cif(crystal, determine_symmetry(crystal)).splitlines()
    assert lines[0] == "data_mos2_1_50_"
    assert any(line.startswith("#") and "vacuum" in line for line in lines)
    assert "_dd2d_id 'mos2/1 50%'" in lines
    assert lines[lines.index("_dd2d_source ") + 1 :][:2] == [';it\'s a "test"', ";"]
    assert "_dd2d_layer_group_number 78" in lines
    assert "_dd2d_layer_group_name_H-M 'p-6m2'" in lines
    assert "_dd2d_space_group_IT_number 187" in lines
    assert "_chemical_formula_sum 'Mo1 S2'" in lines


def test_cif_without_symmetry_claims_none(cells: dict[str, Cell]) -> None:
    assert "layer_group" not in write_cif(crystal_of(cells["MoS2 1H"]))


def test_hill_order_puts_carbon_and_hydrogen_first() -> None:
    crystal = Crystal("some", "test", np.eye(2) * 6.0, np.array([1, 6, 35]), np.diag([1.0, 2.0, 1.0]))
    assert "_chemical_formula_sum 'C1 H1 Br1'" in write_cif(crystal)


@pytest.mark.parametrize("id", ["π-MoS₂", "two\nlines; and\ttabs", "'\"#_;", "x" * 300])
def test_any_id_makes_a_valid_cif_and_poscar(cells: dict[str, Cell], id: str) -> None:
    crystal = crystal_of(cells["MoS2 1H"], id)
    cif = write_cif(crystal)
    assert cif.isascii()
    assert_same_arrays(crystal, read_structure(cif, id="a", source="b"), 1e-3)
    assert_same_arrays(crystal, read_structure(write_poscar(crystal), id="a", source="b"), 1e-6)


@pytest.mark.parametrize("id", ["'\"#_;", 'it\'s a "test"', "a 'quoted' one", 'a "quoted" one', "\\';\""])
def test_ids_with_quotes_come_back_exactly(cells: dict[str, Cell], id: str) -> None:
    crystal = crystal_of(cells["MoS2 1H"], id)
    text = write_cif(crystal)
    (in_pymatgen,) = CifFile.from_str(text).data.values()
    (in_ase,) = parse_cif(io.StringIO(text))
    assert in_pymatgen.data["_dd2d_id"] == id
    assert str(in_ase["_dd2d_id"]).strip() == id
    assert_same_arrays(crystal, read_structure(text, id="a", source="b"), 1e-3)
    assert_same_arrays(crystal, through_ase(text, "cif"), 1e-6)


def test_symmetric_cif_is_expanded(cells: dict[str, Cell]) -> None:
    crystal = read_structure(SYMMETRIC_CIF, id="a", source="b")
    assert crystal.formula == "MoS2"
    assert_same_arrays(crystal, crystal_of(cells["MoS2 1H"]), 1e-3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.565 1", "0.565 0.5", "Partial occupancy"),
        ("S1 S ", "Q1 Q ", "Unknown element Q"),
        ("S1 S ", "X1 X ", "Unknown element X"),
        ("0.565 1", "0.565 1\nS2 S 0.6667 0.3333 0.565 1", "Overlapping atoms, or occupancies"),
        ("0.565 1", "0.565 1\nSe1 Se 0.6667 0.3333 0.565 1", "Overlapping atoms, or occupancies"),
        ("0.565 1", "0.565 0.7\nSe1 Se 0.6667 0.3333 0.565 0.7", "add up to more than 1, at one site"),
        ("_cell_length_c 24", "_cell_length_c 5.0", "No vacuum found"),
        ("0.565", "0.505", "Overlapping atoms"),
    ],
)
def test_rejects_an_unusable_cif_with_a_reason(old: str, new: str, message: str) -> None:
    assert old in SYMMETRIC_CIF
    with pytest.raises(CrystalError, match=message):
        read_structure(SYMMETRIC_CIF.replace(old, new), id="a", source="b")


def test_rejects_a_cif_without_atoms() -> None:
    with pytest.raises(CrystalError, match="The structure contains no atoms"):
        read_structure(SYMMETRIC_CIF[: SYMMETRIC_CIF.index("Mo1 Mo")], id="a", source="b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SYMMETRIC_CIF[:60], "CIF cannot be read: .*_atom_site_label"),
        (SYMMETRIC_CIF.replace("_cell_length_a 3.18", "_cell_length_a ?"), "CIF cannot be read"),
        (SYMMETRIC_CIF.replace("0.3333 0.6667 0.5 1", "0.3333 nan 0.5 1"), "CIF cannot be read: .*NaN"),
        (SYMMETRIC_CIF.replace("0.3333 0.6667 0.5 1", "? ? ? 1"), "CIF cannot be read"),
        ("data_nothing\n", "CIF cannot be read"),
        ("comment\n1.0\n3 0 0\n0 3 0\n0 0 20\nC\n2\ndirect\n0 0 0\n", "POSCAR cannot be read"),
        ("comment\n1.0\n3 0 0\n0 3 0\n0 0 20\nC\n1\ndirect\n0 zero 0\n", "POSCAR cannot be read: .*zero"),
        ("", "empty"),
        ("  \n", "empty"),
    ],
)
def test_rejects_damaged_files(text: str, message: str) -> None:
    with pytest.raises(UnreadableError, match=message):
        read_structure(text, id="a", source="b")


def test_rejects_a_poscar_with_a_coordinate_that_is_not_finite() -> None:
    text = "comment\n1.0\n3 0 0\n0 3 0\n0 0 20\nC\n1\ndirect\nnan 0 0\n"
    with pytest.raises(CrystalError, match="finite"):
        read_structure(text, id="a", source="b")


def test_rejects_a_poscar_without_elements() -> None:
    text = "comment\n1.0\n3 0 0\n0 3 0\n0 0 20\n1\ndirect\n0 0 0\n"
    with pytest.raises(CrystalError, match="names no elements"):
        read_structure(text, id="a", source="b")


@pytest.mark.parametrize("text", ["hello", "1 2 3\n4 5 6\n", "{}", "a\nb\nc\nd\ne\n"])
def test_rejects_text_of_another_format(text: str) -> None:
    with pytest.raises(UnknownFormatError, match="is neither a CIF"):
        read_structure(text, id="a", source="b")


def make_poscar(atoms: int, head: str = "C\n{}") -> str:
    """Return a square lattice of carbon atoms, in a cell of one row."""
    sites = "\n".join(f"0 {n / atoms} 0.5" for n in range(atoms))
    return f"x\n1\n2.5 0 0\n0 {2.5 * atoms} 0\n0 0 20\n{head.format(atoms)}\ndirect\n{sites}\n"


def make_cif(atoms: int, operations: int, tag: str = "_symmetry_equiv_pos_as_xyz", block: str = "x") -> str:
    """Return a P 1 layer of atoms in rows, with translations as symmetry operations."""
    loop = "\n".join(f"'x+{n}/{operations}, y, z'" for n in range(operations))
    rows = "\n".join(f"C 0 {n / atoms:.5f} 0.5" for n in range(atoms))
    return (
        f"data_{block}\n_cell_length_a {2.5 * operations}\n_cell_length_b {2.5 * atoms}\n_cell_length_c 20\n"
        "_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\n"
        f"loop_\n{tag}\n{loop}\n"
        "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        f"{rows}\n"
    )


MAGNETIC = "_space_group_symop_magn_operation.xyz"
TOO_LARGE: dict[str, tuple[Callable[[], str], str]] = {
    "atoms of a POSCAR": (lambda: make_poscar(MAX_SITES + 1), "has 501 atoms; the limit is 500"),
    "atoms of a POSCAR on several lines": (
        lambda: make_poscar(MAX_SITES + 1, "C C\nC\n1 1\n499"),
        "has 501 atoms",
    ),
    "atoms of a POSCAR with signs": (lambda: make_poscar(700, "C C\n+4_00 -300"), "has 700 atoms"),
    "atoms of a CIF": (lambda: make_cif(MAX_SITES + 1, 1), "has 501 atoms; the limit is 500"),
    "atoms of a CIF after its symmetry": (lambda: make_cif(9, 60), "has 540 atoms; the limit is 500"),
    "operations": (lambda: make_cif(1, MAX_OPERATIONS + 1), "193 symmetry operations; the limit is 192"),
    "operations under a newer name": (
        lambda: make_cif(1, 300, "_space_group_symop_operation_xyz"),
        "300 symmetry operations",
    ),
    "magnetic operations": (lambda: make_cif(1, 300, MAGNETIC), "300 symmetry operations"),
    "atoms times operations": (lambda: make_cif(11, 100), "are 1100; the limit is 1000"),
    "atoms times operations of all blocks": (
        lambda: "".join(make_cif(10, 20, block=str(n)) for n in range(6)),
        "are 1200; the limit is 1000",
    ),
    "an operation": (
        lambda: make_cif(1, 1).replace("x+0/1", "1" * 100),
        "operation of the CIF has more than 80 characters",
    ),
    "a line of a CIF": (lambda: make_cif(1, 1) + "_x '" + "' " * 1100, "line has more than 2048 characters"),
    "a line of a POSCAR": (lambda: "x" * 2049 + make_poscar(1), "line has more than 2048 characters"),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_would_take_long_is_refused_before_the_crystal_is_computed(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make, message = TOO_LARGE[name]
    monkeypatch.delattr(Crystal, "from_structure")
    with pytest.raises(TooLargeError, match=message):
        read_structure(make(), id="a", source="b", bounded=True)


@pytest.mark.parametrize(
    "text", [make_poscar(MAX_SITES), make_cif(MAX_SITES, 1), make_cif(2, MAX_OPERATIONS), make_cif(20, 25)]
)
def test_structures_at_the_limits_are_read(text: str) -> None:
    crystal = read_structure(text, id="a", source="b", bounded=True)
    assert len(crystal.numbers) == 1
    assert crystal.area == pytest.approx(6.25, rel=1e-3)


def test_only_bounded_reading_has_limits() -> None:
    assert len(read_structure(make_poscar(MAX_SITES + 29), id="a", source="b").numbers) == 1


@pytest.mark.parametrize("count", ["1000000000", "+1_000_000_000", "99999999999 -99999999998"])
def test_a_poscar_that_declares_more_atoms_than_lines_is_damaged(count: str) -> None:
    symbols = "C " * len(count.split())
    with pytest.raises(UnreadableError, match=r"declares .* atoms but has"):
        read_structure(make_poscar(1, f"{symbols}\n{count}"), id="a", source="b")


@pytest.mark.parametrize("end", ["\r\n", "\r", "\x0b", "\n\n", "\n \t \n"])
def test_line_ends_and_empty_lines_do_not_change_a_cif(end: str) -> None:
    crystal = read_structure(SYMMETRIC_CIF.replace("\n", end), id="a", source="b", bounded=True)
    assert_same_arrays(crystal, read_structure(SYMMETRIC_CIF, id="a", source="b"), 0.0)
