"""What is fitted to a pattern's intensities: candidates, where their fits begin, and what they scatter into its spots.

Axes: J fits, N spots, M reflections, P terms of a tilt series, K directions of displacements.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.fitting.candidate_diffraction import CandidateDiffraction, Variants
from model.matching.fitting.displacements import DisplacementResponse
from model.pattern.observation import Observation
from model.physics.tilt_series import compute_monomials

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex64]


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
    """Where the fit of a candidate begins.

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
    """What J candidates scatter into the spots of one pattern, from which `linearize` computes ln I.

    Attributes:
        starts: where the fits begin.
        rows: (J, N) row of each spot's reflection, -1 where there is none.
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
        """Return the model of at least one start on the same pattern, with all atoms where the library has them."""
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
        """Return the model of these fits; a fit may come several times."""
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
