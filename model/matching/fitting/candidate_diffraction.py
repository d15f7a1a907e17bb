"""A candidate ready to be compared with a pattern: its beams, and their intensities under any tilt."""

from functools import cached_property, lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.operations import operations_of
from model.indexing.orientations import find_lattice_symmetries, invert_changes
from model.matching.fitting.displacements import Scatterers
from model.matching.fitting.priors import B_EXPECTED
from model.pattern.observation import Observation
from model.physics.kinematic import Geometry, structure_factors
from model.physics.reciprocal import reciprocal_lattice, reflections
from model.physics.sheets import Sheets
from model.physics.tilt_series import TiltSeries

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

REACH = 1.06
REACH_STEP_INV_ANGSTROM = 0.05
# Beams that differ by less than this share of the strongest are the same.
SAME_BEAMS = 0.003
# Operations that lay atoms so near to each other make the beams of a layer the same.
SAME_PLACE_ANGSTROM = 0.005
# No symmetry maps it on itself.
_GENERIC_TILT = np.array([0.051, 0.018])


def layer_of(crystal: Crystal, observed: Observation) -> "Layer":
    """The candidate with beams as far out as a pattern reaches, and a little farther; one of the last is kept ready.

    A flake is measured more than once, and many candidates come with every pattern of its kind.
    """
    reach = ceil(observed.q_max_inv_angstrom * REACH / REACH_STEP_INV_ANGSTROM) * REACH_STEP_INV_ANGSTROM
    return _recent(crystal, observed.voltage_kv, reach)


@lru_cache(maxsize=512)
def _recent(crystal: Crystal, voltage_kv: float, reach_inv_angstrom: float) -> "Layer":
    return Layer(crystal, voltage_kv, reach_inv_angstrom)


class Layer:
    """A candidate ready to be compared with a pattern.

    Args:
        crystal: the candidate.
        voltage_kv: accelerating voltage.
        q_max_inv_angstrom: largest |q| of the beams that are computed.

    Attributes:
        hk: (M, 2) indices of the beams.
    """

    def __init__(self, crystal: Crystal, voltage_kv: float, q_max_inv_angstrom: float) -> None:
        self._crystal, self._voltage_kv, self._q_max = crystal, voltage_kv, q_max_inv_angstrom
        self.hk = reflections(crystal.lattice, self._q_max)
        self._middle: list[int] = np.abs(self.hk).max(axis=0, initial=0).tolist()
        # Row of each beam on the grid of indices, flat, and at the end that of none.
        h_max, k_max = self._middle
        self._row = np.full((2 * h_max + 1) * (2 * k_max + 1) + 1, -1)
        self._row[(self.hk[:, 0] + h_max) * (2 * k_max + 1) + self.hk[:, 1] + k_max] = np.arange(len(self.hk))

    @cached_property
    def faces(self) -> tuple[TiltSeries, ...]:
        """Intensities of the beams, over the strongest of the untilted layer, under any tilt.

        Of the layer and, where no symmetry turns it over, of the same reflected in its plane, which is the flake face
        down, seen in a mirror.
        """
        operations = operations_of(self._crystal)
        good = operations.take(operations.off_angstrom <= SAME_PLACE_ANGSTROM)
        of_a_face = good.take(~good.turns_over)
        face_up = Sheets.of(self._crystal, self._voltage_kv, self._q_max, B_EXPECTED)
        first = TiltSeries.of(face_up, self.hk, self._q_max, of_a_face)
        if good.turns_over.any():
            return (first.relative(),)
        second = TiltSeries.of(face_up.reversed(), self.hk, self._q_max, of_a_face)
        up, down = np.sort(first.straight), np.sort(second.straight)
        if np.abs(up - down).max(initial=0.0) <= SAME_BEAMS * up.max(initial=0.0):
            return (first.relative(),)
        return first.relative(), second.relative()

    @cached_property
    def kinematic(self) -> FloatArray:
        """(M,) kinematic intensities of the untilted layer, relative to the strongest; fast, and roughly right."""
        geometry = Geometry(voltage_kv=self._voltage_kv, q_max_inv_angstrom=self._q_max)
        intensity = structure_factors(self._crystal, geometry).intensity
        return intensity / max(float(intensity.max(initial=0.0)), 1e-300)

    @cached_property
    def scatterers(self) -> Scatterers:
        """What each atom scatters into the beams."""
        return Scatterers.of(self._crystal, self._voltage_kv, self.hk)

    @cached_property
    def changes(self) -> IntArray:
        """(A, 2, 2) changes of basis that the lattice's symmetry allows."""
        return find_lattice_symmetries(reciprocal_lattice(self._crystal.lattice)[None])[0]

    @cached_property
    def distinct_changes(self) -> IntArray:
        """Of these (A, 2, 2) the ones that the layer's own symmetry does not make of an earlier one."""
        changes, lattice = self.changes, reciprocal_lattice(self._crystal.lattice)
        rows = self.rows_of(self.hk @ invert_changes(changes))
        # q . tilt stays, so in another basis the tilt has other components.
        tilts = (changes @ (lattice @ _GENERIC_TILT)) @ self._crystal.lattice
        seen = self.faces[0].intensities(tilts)[np.arange(len(rows))[:, None], rows]
        seen[:, (rows < 0).any(axis=0)] = 0.0
        same = np.abs(seen[:, None] - seen).max(axis=2, initial=0.0) <= SAME_BEAMS
        kept: list[int] = []
        for row, alike in enumerate(same.tolist()):
            if not any(alike[earlier] for earlier in kept):
                kept.append(row)
        return changes[kept]

    def rows_of(self, hk: IntArray) -> IntArray:
        """Row of each beam (..., 2), -1 where there is none."""
        (h_max, k_max), h, k = self._middle, hk[..., 0], hk[..., 1]
        inside = (np.abs(h) <= h_max) & (np.abs(k) <= k_max)
        return self._row.take(np.where(inside, (h + h_max) * (2 * k_max + 1) + k + k_max, -1))
