"""The structures that an attack sends to /compare and POST /structures: within 64 KiB, which refuses none of them."""

from bench.hostile_structures import (
    POSCAR,
    build_cif,
    build_operations,
    build_poscar,
    build_sites,
    list_structures,
)

MOS2_POINTS = [[0.365, 0.0, 9.0], [-0.365, 0.0, 9.0], [0.1825, 0.316, 9.0], [-0.1825, -0.316, 9.0],
               [0.1825, -0.316, 8.0], [-0.1825, 0.316, 8.0], [0.5475, 0.316, 3.0], [-0.5475, -0.316, 3.0]]  # fmt: skip
"""A hexagonal pattern in 1/angstrom."""

SIZES = (3_000, 52_000)

THOUSAND_ATOMS = build_poscar(1000)
OPERATIONS_300 = build_cif(build_operations(300), build_sites(10))


def build_structures() -> list[str]:
    """Return each hostile structure, small and large."""
    grown = [make(size) for _, make in list_structures() for size in SIZES]
    return [text for text in grown if len(text) <= 2**16] + [THOUSAND_ATOMS, OPERATIONS_300, *_at_the_limit()]


def _at_the_limit() -> list[str]:
    """Return structures of as many atoms as are accepted, at one place, spread, and as the orbit of one atom."""
    piled = POSCAR.partition("Mo")[0] + "C\n150\nd\n" + "0 0 0\n" * 150
    return [
        piled,
        build_poscar(150),
        build_cif(build_operations(150)),
        build_cif(build_operations(192), build_sites(150)),
    ]
