"""The operations that lay a layer on itself.

spglib names the group of a layer; the operations alone are found here in half of its time (0.6 instead of 1.3 ms of 300
layers), which counts where a request asks for those of many layers: the normal is known, a map of the plane lattice on
itself is one of few integer matrices, and an operation lays one atom of the rarest element on another.
"""

from dataclasses import dataclass, fields
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from model.crystal.canonical import list_basis_changes
from model.crystal.crystal import Crystal
from model.crystal.reduction import find_rarest_atoms

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SYMPREC_ANGSTROM = 0.05
"""How far atoms may be from their symmetric places."""
_CHANGES = list_basis_changes()
_MANY_DISTANCES = 200_000
_KNOWN: "WeakKeyDictionary[Crystal, Operations]" = WeakKeyDictionary()


@dataclass(frozen=True)
class Operations:
    """G operations of a layer of N atoms, the identity among them.

    One takes fractional coordinates x of the plane to `x @ change + shift`, and z to -z if it turns the layer over.

    Attributes:
        change: (G, 2, 2) integers.
        shift: (G, 2) fractions of the cell.
        turns_over: (G,) whether the layer is turned over.
        turn: (G, 2, 2) the same as `change` for Cartesian row vectors: rotations about the normal, and mirrors.
        target: (G, N) the atom on which each is laid.
        residual_angstrom: (G,) by how much at most an atom misses the other.
    """

    change: IntArray
    shift: FloatArray
    turns_over: BoolArray
    turn: FloatArray
    target: IntArray
    residual_angstrom: FloatArray

    def __post_init__(self) -> None:
        for each in fields(self):
            getattr(self, each.name).setflags(write=False)

    def take(self, rows: BoolArray) -> "Operations":
        """Those at these rows."""
        own = (getattr(self, each.name)[rows] for each in fields(self))
        return Operations(*own)


def find_operations(crystal: Crystal) -> Operations:
    """The operations that lay every atom within `SYMPREC_ANGSTROM` of a like one, and the lattice on one as near.

    They are remembered as long as the crystal is.
    """
    known = _KNOWN.get(crystal)
    if known is None:
        known = _KNOWN[crystal] = _operations(crystal, SYMPREC_ANGSTROM)
    return known


def compute_symmetry_projector(crystal: Crystal) -> FloatArray:
    """(2 N, 2 N) projector of the shifts of N atoms along x and y on those that keep the symmetry.

    Such a shift is the mean of what all operations make of it.
    """
    found, count = find_operations(crystal), len(crystal.numbers)
    taken = (found.target[:, :, None] == np.arange(count)).astype(np.float64)
    mean = np.tensordot(taken, found.turn, axes=(0, 0)) / len(found.turn)
    return np.asarray(mean.transpose(1, 3, 0, 2).reshape(2 * count, 2 * count))


def _operations(crystal: Crystal, tolerance_angstrom: float) -> Operations:
    lattice, numbers = crystal.lattice, crystal.numbers
    inverse = np.linalg.inv(lattice)
    xy, z = crystal.positions[:, :2] @ inverse, crystal.positions[:, 2]
    changes = _of_lattice(lattice, tolerance_angstrom)
    rare = find_rarest_atoms(numbers)
    moved = xy @ changes
    # (C, 2, R): by a change, perhaps turned over, the first of the rarest element on each of them
    faces = np.array([1.0, -1.0])
    level = np.abs(faces[:, None] * z[rare[0]] - z[rare]) <= 2 * tolerance_angstrom
    change, face, onto = np.nonzero(np.broadcast_to(level, (len(changes), *level.shape)))
    shift = xy[rare[onto]] - moved[change, rare[0]]

    def apart(atoms: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """From where each operation lays n atoms to all: (K, n, N, 2) in the plane, (K, n, N) along the normal, and
        the squares of the distances, infinite to other elements."""
        flat = moved[change][:, atoms, None] + shift[:, None, None] - xy
        flat = (flat - np.rint(flat)) @ lattice
        rise = faces[face][:, None, None] * z[atoms, None] - z
        squares = np.einsum("gnmd,gnmd->gnm", flat, flat) + rise**2
        squares[:, numbers[atoms, None] != numbers] = np.inf
        return flat, rise, squares

    # Of a large cell one atom more rules out nearly all, before every atom is laid.
    for atom in range(1, len(numbers)) if len(shift) * len(numbers) ** 2 > _MANY_DISTANCES else ():
        near = apart(np.array([atom]))[2].min(axis=(1, 2)) <= (2 * tolerance_angstrom) ** 2
        change, face, shift = change[near], face[near], shift[near]
        if len(shift) * len(numbers) ** 2 <= _MANY_DISTANCES:
            break
    flat, rise, squares = apart(np.arange(len(numbers)))
    target = squares.argmin(axis=2)
    laid = np.arange(len(target))[:, None], np.arange(len(numbers)), target
    flat, steep = flat[laid], rise[laid]
    middle = flat.mean(axis=1, keepdims=True)
    off = ((flat - middle) ** 2).sum(axis=2) + (steep - steep.mean(axis=1, keepdims=True)) ** 2
    worst = off.max(axis=1)
    # A primitive cell has one translation for each; with a tolerance the best of several.
    best_first = np.lexsort((worst, 2 * change + face))
    _, first = np.unique((2 * change + face)[best_first], return_index=True)
    kept = best_first[first]
    kept = kept[worst[kept] <= tolerance_angstrom**2]
    return Operations(
        change=changes[change[kept]],
        shift=shift[kept] - middle[kept, 0] @ inverse,
        turns_over=face[kept] == 1,
        turn=inverse @ changes[change[kept]] @ lattice,
        target=target[kept],
        residual_angstrom=np.sqrt(worst[kept]),
    )


def _of_lattice(lattice: FloatArray, tolerance_angstrom: float) -> IntArray:
    """(C, 2, 2) changes of basis after which the vectors are as long, and at the same angle."""
    bases = _CHANGES @ lattice
    metrics = bases @ bases.transpose(0, 2, 1)
    longest = float(np.linalg.norm(lattice, axis=1).max())
    off = np.abs(metrics - lattice @ lattice.T).max(axis=(1, 2))
    return np.asarray(_CHANGES[off <= 2 * tolerance_angstrom * longest])
