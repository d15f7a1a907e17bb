"""Structures that cost a parser or the symmetry search more than they should, for /compare and POST /structures."""

from collections.abc import Callable

MOS2_POINTS = [[0.365, 0.0, 9.0], [-0.365, 0.0, 9.0], [0.1825, 0.316, 9.0], [-0.1825, -0.316, 9.0],
               [0.1825, -0.316, 8.0], [-0.1825, 0.316, 8.0], [0.5475, 0.316, 3.0], [-0.5475, -0.316, 3.0]]  # fmt: skip
"""A hexagonal pattern in 1/angstrom."""

POSCAR = (
    "a\n1\n3.16 0 0\n-1.58 2.737 0\n0 0 20\nMo S\n1 2\ndirect\n.333 .667 .5\n.667 .333 .578\n.667 .333 .422\n"
)
"""A monolayer of MoS2."""

_CELL = "data_a\n_cell_length_a {a}\n_cell_length_b {a}\n_cell_length_c 20\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
_SITES = "loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"


def _poscar(atoms: int, side: float = 40.0, cell: str = "", species: str = "C") -> str:
    vectors = cell or f"{side} 0 0\n0 {side} 0\n0 0 20"
    across = max(int(atoms**0.5), 1)
    sites = "\n".join(f"{n % across / across:.4f} {n // across / across:.4f} .5" for n in range(atoms))
    return f"a\n1\n{vectors}\n{species}\n{atoms}\ndirect\n{sites}\n"


def _cif(atoms: int, operations: int, side: float = 30.0, cell: str = "", sites: str = "") -> str:
    shifts = "\n".join(
        f"'x+{n}/{operations}, y+{n * 7 % operations}/{operations}, z'" for n in range(operations)
    )
    rows = sites or "\n".join(
        f"C{n} C {n * 0.6180339 % 1:.5f} {n * 0.7548776 % 1:.5f} .5" for n in range(atoms)
    )
    head = (cell or _CELL.format(a=side)) + "_cell_angle_gamma 90\n"
    return f"{head}loop_\n_symmetry_equiv_pos_as_xyz\n{shifts}\n{_SITES}{rows}\n"


STRUCTURES: dict[str, Callable[[], str]] = {
    "POSCAR of 1,000 atoms": lambda: _poscar(1000),
    "POSCAR of 3,000 atoms": lambda: _poscar(3000, 70.0),
    "POSCAR of 6,000 atoms in few bytes": lambda: "a\n1\n90 0 0\n0 90 0\n0 0 20\nC\n6000\nd\n" + "0 0 0\n" * 6000,
    "POSCAR that declares a million atoms": lambda: "a\n1\n9 0 0\n0 9 0\n0 0 9\nC\n1000000\nd\n0 0 0\n",
    "POSCAR of 150 atoms at one place": lambda: "a\n1\n9 0 0\n0 9 0\n0 0 9\nC\n150\nd\n" + "0 0 0\n" * 150,
    "POSCAR of a needle": lambda: _poscar(100, cell="0.01 0 0\n0 1000 0\n0 0 20"),
    "POSCAR of a skewed cell": lambda: _poscar(60, cell="3 0 0\n30000.5 3 0\n0 0 20"),
    "POSCAR of a tiny cell": lambda: _poscar(1, cell="1e-3 0 0\n0 1e-3 0\n0 0 20"),
    "POSCAR of a vast cell": lambda: _poscar(3, cell="9e5 0 0\n0 9e5 0\n0 0 9e5"),
    "POSCAR of 5,000 elements": lambda: _poscar(5000).replace("C\n5000", "C " * 5000 + "\n" + "1 " * 5000)[:65_000],
    "POSCAR of blank lines": lambda: POSCAR + "\n" * 50_000,
    "POSCAR of long numbers": lambda: POSCAR.replace(".333", "." + "3" * 20_000),
    "CIF with 300 operations": lambda: _cif(10, 300),
    "CIF with 1,500 operations": lambda: _cif(1, 1500),
    "CIF with 150 atoms and 192 operations": lambda: _cif(150, 192),
    "CIF with 1,200 atoms": lambda: _cif(1200, 1, 60.0),
    "CIF with operations of many terms": lambda: _cif(1, 1).replace("'x+0/1,", "'x" + "+1/2" * 10_000 + ","),
    "CIF with operations of many signs": lambda: _cif(1, 1).replace("'x+0/1,", "'" + "-" * 50_000 + "x,"),
    "CIF of 10,000 blocks": lambda: "data_a\n" * 9_000 + _cif(1, 1),
    "CIF of 500 structures": lambda: (_cif(1, 1) * 200)[:64_000],
    "CIF of text fields": lambda: _cif(1, 1) + "\n;\n" * 20_000,
    "CIF of quotes": lambda: _cif(1, 1) + "_a '" + "' " * 30_000,
    "CIF of brackets": lambda: "data_a\n" + "(" * 60_000,
    "CIF of line ends": lambda: "data_a\n" + "\n" * 60_000 + _cif(1, 1),
    "CIF of blanks": lambda: "data_a " + " " * 60_000 + _cif(1, 1),
    "CIF of comments": lambda: "#\n" * 30_000 + _cif(1, 1),
    "CIF of long numbers": lambda: _cif(1, 1, cell=_CELL.format(a="3." + "1" * 25_000 + "(1)")),
    "CIF of loops": lambda: _cif(1, 1) + "loop_\n_a\n1\n" * 5000,
    "CIF of names": lambda: _cif(1, 1) + "".join(f"_n{n} 1\n" for n in range(7000)),
    "CIF of mixed sites": lambda: _cif(1, 1, sites="\n".join(f"A{n} C .3 .3 .5" for n in range(2500))),
    "CIF of unknown elements": lambda: _cif(1, 1, sites="\n".join(f"Xx{n} Xx{n} .3 .3 .5" for n in range(1500))),
    "CIF of a skewed cell": lambda: _cif(20, 1, cell=_CELL.format(a=3).replace("alpha 90", "alpha 0.001")),
}  # fmt: skip
"""Each is at most 64 KiB long, so that its size alone does not refuse it."""
