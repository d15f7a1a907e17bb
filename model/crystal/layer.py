"""Extraction of a layer from a three-dimensional cell: vacuum axis, unwrapped slab and layer normal."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.errors import CrystalError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Atomic planes in bulk crystals are up to 4.3 angstrom apart (cesium; van der Waals gaps measure 2.8 to 3.7). The
# thinnest vacuum in the databases measures 7.0 (2DMatPedia) and 7.3 (MXene-DB).
MIN_VACUUM_ANGSTROM = 5.0


@dataclass(frozen=True)
class Layer:
    """A slab without its box: in-plane lattice and atoms, in a right-handed frame with the normal along z.

    Attributes:
        lattice: (2, 2) rows are the in-plane vectors, angstrom; the first along +x, the second with y > 0.
        numbers: (N,) atomic numbers.
        xy: (N, 2) fractional coordinates in `lattice`, not wrapped into one cell.
        z: (N,) angstrom, from the middle of the slab.
    """

    lattice: FloatArray
    numbers: IntArray
    xy: FloatArray
    z: FloatArray


def extract_layer(cell: FloatArray, numbers: IntArray, frac: FloatArray) -> Layer:
    """Extract the layer from a periodic cell with the vacuum along any axis.

    The two cell vectors in the plane define the layer; the third may be tilted. A left-handed cell is expressed in a
    right-handed frame. The crystal is never mirrored.

    Args:
        cell: (3, 3) rows are the cell vectors, angstrom.
        numbers: (N,) atomic numbers.
        frac: (N, 3) fractional coordinates.

    Raises:
        CrystalError: the cell is flat, or no gap between layers measures at least `MIN_VACUUM_ANGSTROM`.
    """
    planes = _compute_spacings(cell)
    axis, vacuum, start = _find_widest_gap(planes, frac)
    if vacuum < MIN_VACUUM_ANGSTROM:
        cell, frac = _compact_cell(cell, frac)
        axis, vacuum, start = _find_widest_gap(_compute_spacings(cell), frac)
    if vacuum < MIN_VACUUM_ANGSTROM:
        raise CrystalError(
            f"No vacuum found: the widest gap between layers is {vacuum:.2f} angstrom but must be at least "
            f"{MIN_VACUUM_ANGSTROM:g}; give one isolated layer (cut it from the bulk and add vacuum)."
        )
    return _unwrap(cell, numbers, frac, axis, start)


def _compute_spacings(cell: FloatArray) -> FloatArray:
    """Return the (3,) distances between opposite faces of the cell, angstrom."""
    try:
        reciprocal = np.linalg.inv(cell)  # columns
    except np.linalg.LinAlgError:
        raise CrystalError("The cell vectors lie in one plane; give three independent vectors.") from None
    spacings: FloatArray = 1.0 / np.sqrt((reciprocal * reciprocal).sum(axis=0))
    if spacings.min() < 1e-3:
        raise CrystalError("The cell vectors lie in one plane; give three independent vectors.")
    return spacings


def _find_widest_gap(spacings: FloatArray, frac: FloatArray) -> tuple[int, float, float]:
    """Return the axis with the widest gap, its width in angstrom, and the fraction at which the slab begins."""
    ordered = np.sort(frac - np.floor(frac), axis=0)
    gaps = np.empty_like(ordered)
    gaps[0] = ordered[0] + 1.0 - ordered[-1]
    gaps[1:] = ordered[1:] - ordered[:-1]
    last = gaps.argmax(axis=0)
    widths = gaps[last, (0, 1, 2)] * spacings
    axis = int(widths.argmax())
    return axis, float(widths[axis]), float(ordered[last[axis], axis])


def _compact_cell(cell: FloatArray, frac: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the LLL-reduced cell, which separates normal and plane when the given vectors mix them."""
    from pymatgen.core.lattice import Lattice  # imported here: such cells are rare and the import is slow

    compact = np.asarray(Lattice(cell).get_lll_reduced_lattice().matrix, dtype=np.float64)
    return compact, frac @ cell @ np.linalg.inv(compact)


def _unwrap(cell: FloatArray, numbers: IntArray, frac: FloatArray, axis: int, start: float) -> Layer:
    # The millionth keeps an atom that rounding moved just below `start` in its plane.
    along = frac[:, axis] - start + 1e-6
    along = along - np.floor(along)
    a, b, c = cell[(axis + 1) % 3], cell[(axis + 2) % 3], cell[axis]
    normal = np.array(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], dtype=np.float64
    )
    length_a, area = float(np.sqrt(a @ a)), float(np.sqrt(normal @ normal))
    lattice = np.array([[length_a, 0.0], [float(a @ b) / length_a, area / length_a]])
    z = along * float(c @ normal / area)
    # The in-plane component of c, in units of a and b, shifts the atoms with their height.
    e1 = a / length_a
    e2 = (
        np.array(
            [
                normal[1] * e1[2] - normal[2] * e1[1],
                normal[2] * e1[0] - normal[0] * e1[2],
                normal[0] * e1[1] - normal[1] * e1[0],
            ]
        )
        / area
    )
    tilt_y = float(c @ e2) / lattice[1, 1]
    tilt_x = (float(c @ e1) - tilt_y * lattice[1, 0]) / length_a
    xy = frac[:, ((axis + 1) % 3, (axis + 2) % 3)] + along[:, None] * np.array([tilt_x, tilt_y])
    return Layer(lattice, numbers, xy, z - 0.5 * (z.max() + z.min()))
