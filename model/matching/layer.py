"""A candidate ready to be compared with a pattern: its beams, and their intensities under any tilt."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.matching.displacements import Scatterers
from model.matching.observation import Observation
from model.matching.priors import B_EXPECTED
from model.matching.settings import inverse_of
from model.physics.kinematic import Geometry, structure_factors
from model.physics.reciprocal import reciprocal_lattice, reflections
from model.physics.sheets import Sheets
from model.physics.tilt_series import TiltSeries

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

REACH = 1.06
# Beams that differ by less than this share of the strongest are the same.
SAME_BEAMS = 0.003
# No symmetry maps it on itself.
_GENERIC_TILT = np.array([0.051, 0.018])


class Layer:
    """A candidate ready to be compared with a pattern.

    Args:
        crystal: the candidate.
        observed: the pattern; beams are computed as far out as it reaches.

    Attributes:
        hk: (M, 2) indices of the beams.
    """

    def __init__(self, crystal: Crystal, observed: Observation) -> None:
        self._crystal, self._voltage_kv = crystal, observed.voltage_kv
        self._q_max = observed.q_max_inv_angstrom * REACH
        self.hk = reflections(crystal.lattice, self._q_max)
        self._middle = np.abs(self.hk).max(axis=0, initial=0)
        self._place = np.full(2 * self._middle + 1, -1)
        self._place[self.hk[:, 0] + self._middle[0], self.hk[:, 1] + self._middle[1]] = np.arange(
            len(self.hk)
        )

    @cached_property
    def faces(self) -> tuple[TiltSeries, ...]:
        """Intensities of the beams, over the strongest of the untilted layer, under any tilt.

        Of the layer and, where no symmetry turns it over, of the same reflected in its plane, which is the flake face
        down, seen in a mirror.
        """
        face_up = Sheets.of(self._crystal, self._voltage_kv, self._q_max, B_EXPECTED)
        face_down = face_up.reversed()
        first = TiltSeries.of(face_up, self.hk, self._q_max)
        up, down = np.sort(first.straight), np.sort(face_down.intensities(self.hk, np.zeros((1, 2)))[0])
        if np.abs(up - down).max(initial=0.0) <= SAME_BEAMS * up.max(initial=0.0):
            return (first.relative(),)
        return first.relative(), TiltSeries.of(face_down, self.hk, self._q_max).relative()

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

    def distinct(self, changes: IntArray) -> IntArray:
        """Of changes of basis (A, 2, 2) those that the layer's own symmetry does not make of an earlier one."""
        lattice = reciprocal_lattice(self._crystal.lattice)
        rows = self.rows_of(self.hk @ inverse_of(changes))
        # q . tilt stays, so in another basis the tilt has other components.
        tilts = (changes @ (lattice @ _GENERIC_TILT)) @ np.linalg.inv(lattice).T
        seen = np.take_along_axis(self.faces[0].intensities(tilts), rows, axis=1)
        seen[:, (rows < 0).any(axis=0)] = 0.0
        same = np.abs(seen[:, None] - seen).max(axis=2, initial=0.0) <= SAME_BEAMS
        kept: list[int] = []
        for row, alike in enumerate(same):
            if not alike[kept].any():
                kept.append(row)
        return changes[kept]

    def rows_of(self, hk: IntArray) -> IntArray:
        """Row of each beam (..., 2), -1 where there is none."""
        inside = (np.abs(hk) <= self._middle).all(axis=-1)
        kept = np.where(inside[..., None], hk, 0) + self._middle
        return np.where(inside, self._place[kept[..., 0], kept[..., 1]], -1)
