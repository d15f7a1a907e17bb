"""Diffraction of candidates: their reflections under any tilt, and their intensities at the spots of a pattern.

Axes: M reflections of a candidate, A variants of an orientation, N spots, J fits, P terms of a tilt series, K
directions of displacements.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.operations import find_operations
from model.indexing.orientations import find_lattice_symmetries, invert_changes
from model.matching.fitting.displacements import DisplacementResponse, Scatterers
from model.matching.priors import B_MEAN
from model.pattern.observation import Observation
from model.physics.kinematic import Geometry, compute_structure_factors
from model.physics.reciprocal import list_reflections, reciprocal_lattice
from model.physics.static_multislice import StaticMultislice
from model.physics.tilt_series import MAX_MONOMIALS, TiltSeries, compute_monomials

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex64]

# Of a reflection: the coefficients of two faces, its indices and its place; and of each atom its scattering into it.
_REFLECTION_BYTES, _SCATTERING_BYTES = 2 * MAX_MONOMIALS * 8 + 64, 9
SAME_INTENSITY = 0.003
"""Intensities that differ by less than this share of the strongest are equal."""
SAME_POSITION_ANGSTROM = 0.005
"""Symmetry operations that miss atoms by no more make intensities equal."""
# No symmetry maps it on itself.
_GENERIC_TILT = np.array([0.051, 0.018])


@dataclass(frozen=True)
class Variants:
    """The A orientations equivalent to one by the symmetry of the lattice, for N spots.

    Attributes:
        bases: (A, 2, 2) rows a* and b* on the camera, 1/angstrom.
        hk: (A, N, 2) indices of the spots.
        rows: (A, N) row of each spot's reflection, -1 if there is none.
    """

    bases: FloatArray
    hk: IntArray
    rows: IntArray


class CandidateDiffraction:
    """The reflections of a candidate and what is needed to compute them under any tilt; computed when first used.

    Args:
        crystal: the candidate.
        voltage_kv: accelerating voltage.
        q_max_inv_angstrom: largest |q| of the reflections.

    Attributes:
        hk: (M, 2) indices of the reflections.
        reciprocal: (2, 2) rows a* and b* of the crystal, 1/angstrom.
    """

    def __init__(self, crystal: Crystal, voltage_kv: float, q_max_inv_angstrom: float) -> None:
        self._crystal, self._voltage_kv, self._q_max = crystal, voltage_kv, q_max_inv_angstrom
        self.hk = list_reflections(crystal.lattice, self._q_max)
        self.reciprocal = reciprocal_lattice(crystal.lattice)
        self._max_indices: list[int] = np.abs(self.hk).max(axis=0, initial=0).tolist()
        # Row of each reflection on the grid of indices, flat, with one more place for none.
        h_max, k_max = self._max_indices
        self._row = np.full((2 * h_max + 1) * (2 * k_max + 1) + 1, -1)
        self._row[(self.hk[:, 0] + h_max) * (2 * k_max + 1) + self.hk[:, 1] + k_max] = np.arange(len(self.hk))

    @property
    def max_bytes(self) -> int:
        """About the size of this object when everything has been computed."""
        return len(self.hk) * (_REFLECTION_BYTES + _SCATTERING_BYTES * len(self._crystal.numbers))

    @cached_property
    def faces(self) -> tuple[TiltSeries, ...]:
        """Amplitudes of the reflections under any tilt, relative to the strongest of the untilted layer.

        The first face is the layer as it is. Unless a symmetry turns the layer over, the second is the layer reflected
        in its plane: the flake turned over, seen in a mirror.
        """
        operations = find_operations(self._crystal)
        exact = operations.select(operations.residual_angstrom <= SAME_POSITION_ANGSTROM)
        of_one_face = exact.select(~exact.turns_over)
        face_up = StaticMultislice.from_crystal(self._crystal, self._voltage_kv, self._q_max, B_MEAN)
        first = TiltSeries.from_multislice(face_up, self.hk, self._q_max, of_one_face)
        if exact.turns_over.any():
            return (first.normalize(),)
        second = TiltSeries.from_multislice(face_up.reflect(), self.hk, self._q_max, of_one_face)
        up, down = np.sort(first.straight), np.sort(second.straight)
        if np.abs(up - down).max(initial=0.0) <= SAME_INTENSITY * up.max(initial=0.0):
            return (first.normalize(),)
        return first.normalize(), second.normalize()

    @cached_property
    def kinematic_intensity(self) -> FloatArray:
        """(M,) kinematic intensities of the untilted layer, relative to the strongest: approximate, but fast."""
        geometry = Geometry(voltage_kv=self._voltage_kv, q_max_inv_angstrom=self._q_max)
        intensity = compute_structure_factors(self._crystal, geometry).intensity
        return intensity / max(float(intensity.max(initial=0.0)), 1e-300)

    @cached_property
    def scatterers(self) -> Scatterers:
        """The scattering of each atom into the reflections."""
        return Scatterers.from_crystal(self._crystal, self._voltage_kv, self.hk)

    def find_variants(self, basis: FloatArray, hk: IntArray, *, distinct: bool) -> Variants:
        """Find the orientations equivalent to one by the symmetry of the lattice.

        Args:
            basis: (2, 2) of the orientation.
            hk: (N, 2) indices of the spots in it.
            distinct: leave out those that the crystal's own symmetry joins, whose intensities are equal.
        """
        changes, inverse = self._distinct_changes if distinct else self._changes
        indices = hk @ inverse
        return Variants(changes @ basis, indices, self.find_rows(indices))

    def find_rows(self, hk: IntArray) -> IntArray:
        """Return the row (...) of each reflection (..., 2), -1 if there is none."""
        (h_max, k_max), h, k = self._max_indices, hk[..., 0], hk[..., 1]
        inside = (np.abs(h) <= h_max) & (np.abs(k) <= k_max)
        return self._row.take(np.where(inside, (h + h_max) * (2 * k_max + 1) + k + k_max, -1))

    @cached_property
    def _changes(self) -> tuple[IntArray, IntArray]:
        """(A, 2, 2) changes of basis that the lattice's symmetry allows, and their inverses."""
        (changes,) = find_lattice_symmetries(self.reciprocal[None])
        return changes, invert_changes(changes)

    @cached_property
    def _distinct_changes(self) -> tuple[IntArray, IntArray]:
        """Those of `_changes` that the crystal's own symmetry does not make of an earlier one."""
        changes, inverse = self._changes
        rows = self.find_rows(self.hk @ inverse)
        # q . tilt is invariant, so that in another basis the tilt has other components.
        tilts = (changes @ (self.reciprocal @ _GENERIC_TILT)) @ self._crystal.lattice
        intensity = self.faces[0].compute_intensities(tilts)[np.arange(len(rows))[:, None], rows]
        intensity[:, (rows < 0).any(axis=0)] = 0.0
        is_same = np.abs(intensity[:, None] - intensity).max(axis=2, initial=0.0) <= SAME_INTENSITY
        kept: list[int] = []
        for row, same in enumerate(is_same.tolist()):
            if not any(same[earlier] for earlier in kept):
                kept.append(row)
        return changes[kept], inverse[kept]


@dataclass(frozen=True)
class OrientedCandidate:
    """A candidate whose lattice is placed on a pattern.

    Attributes:
        diffraction: its reflections.
        observed: the pattern, in the scale of the candidate.
        on_lattice: (N,) spots that lie on the lattice.
        variants: the orientations that the symmetry of the lattice makes of this one, in the same scale.
    """

    diffraction: CandidateDiffraction
    observed: Observation
    on_lattice: BoolArray
    variants: Variants


@dataclass(frozen=True)
class FitStart:
    """Starting point of the fit of a candidate.

    Attributes:
        candidate: what is fitted.
        variant: index of its orientation among the variants.
        face: index of the layer's face (`CandidateDiffraction.faces`).
        tilt: (2,) tangents of the tilt in the crystal's frame.
        score: ln of likelihood and prior there.
    """

    candidate: OrientedCandidate
    variant: int
    face: int
    tilt: FloatArray
    score: float


@dataclass(frozen=True)
class IntensityModel:
    """The scattering of J candidates into the spots of one pattern, from which `linearize` computes ln I.

    Attributes:
        starts: where the fits begin.
        rows: (J, N) row of each spot's reflection, -1 if there is none.
        used: (J, N) spots that lie on the lattice and have a reflection.
        measured: (N,) measured ln I.
        saturation_variance: (N,) what saturation adds to the variance of ln I.
        damping: (J, N) derivative of ln I by B.
        coefficients: (J, P, N) tilt series of the spots' reflections.
        responses: (J, N, K) derivatives of the amplitudes by the displacements.
        diffuse: (J, N) intensity of all diffuse scattering.
    """

    starts: Sequence[FitStart]
    rows: IntArray
    used: BoolArray
    measured: FloatArray
    saturation_variance: FloatArray
    damping: FloatArray
    coefficients: ComplexArray
    responses: ComplexArray
    diffuse: FloatArray

    @classmethod
    def from_starts(cls, starts: Sequence[FitStart]) -> Self:
        """Return the model of at least one start on the same pattern, with all atoms at their library positions."""
        candidates = [start.candidate for start in starts]
        rows = np.stack([start.candidate.variants.rows[start.variant] for start in starts])
        series = [start.candidate.diffraction.faces[start.face].coefficients for start in starts]
        coefficients = np.zeros((len(starts), max(map(len, series)), rows.shape[1]), dtype=np.complex64)
        for kept, whole, row in zip(coefficients, series, rows, strict=True):
            kept[: len(whole)] = whole[:, row]
        return cls(
            starts=starts,
            rows=rows,
            used=np.stack([candidate.on_lattice for candidate in candidates]) & (rows >= 0),
            measured=candidates[0].observed.log_intensity,
            saturation_variance=candidates[0].observed.saturation_variance,
            damping=np.stack([-candidate.observed.q_squared / 2 for candidate in candidates]),
            coefficients=coefficients,
            responses=np.zeros((*rows.shape, 0), dtype=np.complex64),
            diffuse=np.zeros(rows.shape),
        )

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: Sequence[int]) -> Self:
        """Return the model of these fits; a fit may be repeated."""
        kept = list(rows)
        return type(self)(
            [self.starts[row] for row in kept],
            self.rows[kept],
            self.used[kept],
            self.measured,
            self.saturation_variance,
            self.damping[kept],
            self.coefficients[kept],
            self.responses[kept],
            self.diffuse[kept],
        )

    def add_displacements(self, responses: Sequence[DisplacementResponse]) -> Self:
        """Return the model with movable atoms, given the response of each fit's candidate; their K may differ."""
        directions = max(response.amplitudes.shape[1] for response in responses)
        amplitudes = np.zeros((*self.rows.shape, directions), dtype=np.complex64)
        diffuse = np.zeros(self.rows.shape)
        for row, response in enumerate(responses):
            used, reflections = self.used[row], self.rows[row, self.used[row]]
            amplitudes[row, used, : response.amplitudes.shape[1]] = response.amplitudes[reflections]
            diffuse[row, used] = response.diffuse[reflections]
        return replace(self, responses=amplitudes, diffuse=diffuse)

    def compute_amplitudes(self, tilt: FloatArray) -> list[ComplexArray]:
        """Return the amplitudes (M,) of all reflections of each candidate under tilts (J, 2), with atoms at rest."""
        series = [start.candidate.diffraction.faces[start.face].coefficients for start in self.starts]
        terms = compute_monomials(tilt, max(map(len, series))).astype(np.complex64)
        # Products of BLAS depend on the alignment of their operands, which a copy makes the same for all rows.
        return [row[: len(each)].copy() @ each for row, each in zip(terms, series, strict=True)]
