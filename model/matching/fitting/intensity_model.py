"""The intensities that candidates predict for a pattern's spots, as functions of the parameters of a fit.

ln I = level + ln(|A(tilt) + displacements|^2 + diffuse share * diffuse scattering) - B q^2 / 2, with the amplitudes A
from a multislice as polynomials of the tilt.
Axes: J fits, N spots, M reflections, P terms of a tilt series, K directions of displacements, Q = 5 + K parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.fitting.candidate_diffraction import CandidateDiffraction, Variants
from model.matching.fitting.displacements import DisplacementResponse
from model.matching.fitting.likelihood import INTENSITY_FLOOR, Linearization, compute_log_slopes
from model.matching.priors import B_FACTOR, B_RANGE, DISPLACEMENTS, LEVEL, LOG_DIFFUSE, TILT
from model.pattern.observation import Observation
from model.physics.tilt_series import MAX_TILT_TANGENT, compute_monomial_gradients, compute_monomials

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex64]

MAX_TILT_STEP = 0.025
"""Largest change of the tangents of the tilt in one step."""
_MAX_LOG_DIFFUSE_STEP = 1.5


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
    """The model of ln I of J fits to one pattern.

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

    def linearize(self, parameters: FloatArray) -> Linearization:
        """Compute ln I and its derivatives at parameters (J, Q)."""
        terms = self.coefficients.shape[1]
        tilt, displacements = parameters[:, TILT], parameters[:, DISPLACEMENTS].astype(np.complex64)
        diffuse = np.exp(parameters[:, [LOG_DIFFUSE]]) * self.diffuse
        tilt_terms = np.concatenate(
            [compute_monomials(tilt, terms)[:, None], compute_monomial_gradients(tilt, terms)], axis=1
        )
        amplitude, along_x, along_y = (tilt_terms.astype(np.complex64) @ self.coefficients).transpose(1, 0, 2)
        amplitude = amplitude + (self.responses @ displacements[..., None])[..., 0]
        intensity = np.abs(amplitude).astype(np.float64) ** 2 + diffuse
        by_tilt = compute_log_slopes(amplitude, np.stack([along_x, along_y], axis=2), intensity)
        by_displacements = compute_log_slopes(amplitude, self.responses, intensity)
        by_diffuse = (diffuse / (intensity + INTENSITY_FLOOR))[..., None]
        slopes = np.concatenate([by_tilt, by_diffuse, by_displacements], axis=2).astype(np.float64)
        level, b = parameters[:, [LEVEL]], parameters[:, [B_FACTOR]]
        return Linearization(
            parameters=parameters,
            residual=self.measured - np.log(intensity + INTENSITY_FLOOR) - level - b * self.damping,
            design=np.concatenate(
                [np.ones_like(self.damping)[..., None], self.damping[..., None], slopes], axis=2
            ),
            intensity=intensity,
            used=self.used,
            saturation_variance=self.saturation_variance,
        )


def limit_step(parameters: FloatArray, proposed: FloatArray) -> FloatArray:
    """Return the proposed parameters (J, Q), with the step from the current ones and their range limited."""
    reached = proposed.copy()
    reached[:, B_FACTOR] = np.clip(proposed[:, B_FACTOR], *B_RANGE)
    turn = _shorten(proposed[:, TILT] - parameters[:, TILT], MAX_TILT_STEP)
    reached[:, TILT] = _shorten(parameters[:, TILT] + turn, MAX_TILT_TANGENT)
    # The slope by ln of the diffuse share holds for small steps only.
    step = np.clip(
        proposed[:, LOG_DIFFUSE] - parameters[:, LOG_DIFFUSE], -_MAX_LOG_DIFFUSE_STEP, _MAX_LOG_DIFFUSE_STEP
    )
    reached[:, LOG_DIFFUSE] = parameters[:, LOG_DIFFUSE] + step
    return reached


def _shorten(vectors: FloatArray, max_length: float) -> FloatArray:
    """Return vectors (J, 2) that are at most so long."""
    length = np.hypot(vectors[:, :1], vectors[:, 1:])
    return np.asarray(vectors * np.minimum(1.0, max_length / np.maximum(length, 1e-12)))
