"""Hostile structures of any size: a CIF or POSCAR of about `size` bytes, for the parsers and for attacks."""

from collections.abc import Callable, Iterator

Make = Callable[[int], str]

_CELL = (
    "data_a\n_cell_length_a {a}\n_cell_length_b {a}\n_cell_length_c 20\n"
    "_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\n"
)
_SITES = "".join(f"_atom_site_{name}\n" for name in ("label", "type_symbol", "fract_x", "fract_y", "fract_z"))
_SITE = "C1 C .3 .3 .5\n"
POSCAR = (
    "a\n1\n3.16 0 0\n-1.58 2.737 0\n0 0 20\nMo S\n1 2\ndirect\n.333 .667 .5\n.667 .333 .578\n.667 .333 .422\n"
)
"""A monolayer of MoS2."""


def build_poscar(atoms: int, cell: str = "40 0 0\n0 40 0\n0 0 20") -> str:
    """Return a POSCAR of carbon atoms that are spread over the cell."""
    across = max(int(atoms**0.5), 1)
    sites = "".join(f"{n % across / across:.4f} {n // across / across:.4f} .5\n" for n in range(atoms))
    return f"a\n1\n{cell}\nC\n{atoms}\ndirect\n{sites}"


def build_cif(operations: str = "'x, y, z'\n", sites: str = _SITE, cell: str = "", side: float = 30.0) -> str:
    """Return a CIF."""
    return (
        f"{cell or _CELL.format(a=side)}loop_\n_symmetry_equiv_pos_as_xyz\n{operations}loop_\n{_SITES}{sites}"
    )


def build_operations(count: int) -> str:
    """Return symmetry operations that are different translations."""
    return "".join(f"'x+{n}/{count}, y+{n * 7 % count}/{count}, z'\n" for n in range(count))


def build_sites(count: int) -> str:
    """Return sites that are spread over the cell."""
    return "".join(f"C{n} C {n * 0.6180339 % 1:.5f} {n * 0.7548776 % 1:.5f} .5\n" for n in range(count))


def list_structures() -> Iterator[tuple[str, Make]]:
    """Yield hostile structures."""
    sound = build_cif()
    yield "POSCAR of many atoms", lambda size: build_poscar(size // 17)
    yield "POSCAR of atoms at one place", lambda size: _pile(size // 6)
    yield "POSCAR that declares atoms", lambda size: POSCAR.replace("1 2", f"{size} {size}")
    yield "POSCAR of a skewed cell", lambda size: build_poscar(size // 170, f"3 0 0\n{size}.5 3 0\n0 0 20")
    yield "POSCAR of a needle", lambda size: build_poscar(size // 170, f"0.01 0 0\n0 {size} 0\n0 0 20")
    yield "POSCAR of a tiny cell", lambda size: build_poscar(size // 170, "1e-3 0 0\n0 1e-3 0\n0 0 20")
    yield "POSCAR of a vast cell", lambda size: build_poscar(size // 170, "9e5 0 0\n0 9e5 0\n0 0 9e5")
    yield "POSCAR of many elements", _build_poscar_of_elements
    yield "POSCAR of blank lines", lambda size: POSCAR + "\n" * size
    yield "POSCAR of long numbers", lambda size: POSCAR.replace(".333", "." + "3" * (size // 3))
    yield "POSCAR of a long comment", lambda size: "a 1 " * (size // 4) + POSCAR
    yield "CIF of operations", lambda size: build_cif(build_operations(size // 24))
    yield (
        "CIF of operations and sites",
        lambda size: build_cif(build_operations(size // 64), build_sites(size // 64)),
    )
    yield "CIF of sites", lambda size: build_cif(sites=build_sites(size // 24), side=60.0)
    yield "CIF of sites at one place", lambda size: build_cif(sites=_SITE * (size // len(_SITE)))
    yield "CIF of unknown elements", lambda size: build_cif(sites="Xx Xx .3 .3 .5\n" * (size // 15))
    yield (
        "CIF of an operation of many terms",
        lambda size: build_cif("'x" + "+1/2" * (size // 4) + ", y, z'\n"),
    )
    yield "CIF of an operation of many signs", lambda size: build_cif("'" + "-" * size + "x, y, z'\n")
    yield "CIF of an operation of many brackets", lambda size: build_cif("'" + "(" * size + "x, y, z'\n")
    yield "CIF of blocks", lambda size: "data_a\n" * (size // 7) + sound
    yield "CIF of structures", lambda size: sound * (size // len(sound))
    yield "CIF of text fields", lambda size: sound + "\n;\n" * (size // 3)
    yield "CIF of quotes", lambda size: sound + "_a '" + "' " * (size // 2)
    yield "CIF of brackets", lambda size: "data_a\n" + "(" * size
    yield "CIF of line ends", lambda size: "data_a\n" + "\n" * size + sound
    yield "CIF of blanks", lambda size: "data_a " + " " * size + sound
    yield "blanks before a CIF", lambda size: "\n \t" * (size // 3) + sound
    yield "CIF of comments", lambda size: "#\n" * (size // 2) + sound
    yield "CIF of long numbers", lambda size: build_cif(cell=_CELL.format(a="3." + "1" * (size // 2) + "(1)"))
    yield "CIF of loops", lambda size: sound + "loop_\n_a\n1\n" * (size // 11)
    yield "CIF of names", lambda size: sound + "".join(f"_n{n:06} 1\n" for n in range(size // 11))
    yield "CIF of a name", lambda size: sound + "_" + "n" * size + " 1\n"
    yield (
        "CIF of columns",
        lambda size: sound + "loop_\n" + "".join(f"_n{n:06}\n" for n in range(size // 9)) + "1 " * 9,
    )
    yield "CIF of a skewed cell", _build_skewed_cif


def _pile(atoms: int) -> str:
    return f"a\n1\n90 0 0\n0 90 0\n0 0 20\nC\n{atoms}\nd\n" + "0 0 0\n" * atoms


def _build_poscar_of_elements(size: int) -> str:
    count = size // 20
    return build_poscar(count).replace(f"C\n{count}", "C " * count + "\n" + "1 " * count)


def _build_skewed_cif(size: int) -> str:
    return build_cif(
        sites=build_sites(size // 1000), cell=_CELL.format(a=3).replace("alpha 90", "alpha 0.001")
    )
