"""How a candidate matches a pattern, in crystallographic terms."""

from dataclasses import dataclass
from math import atan2, degrees, hypot, pi
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from model.pattern.observation import Observation

if TYPE_CHECKING:
    from model.matching.fitting.fit import Fit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Status = Literal["explained", "extra", "missing"]

_MIRROR = np.diag([-1.0, 1.0])
_TURNED_OVER = np.diag([1.0, -1.0])


@dataclass(frozen=True)
class FittedOrientation:
    """The lattice of a candidate as it was fitted to a pattern.

    Attributes:
        reciprocal: (2, 2) rows a* and b* of the crystal, 1/angstrom.
        basis: (2, 2) the same as the camera shows them, with lengths divided by `scale`.
        hk: (N, 2) indices of the spots.
        face: 1 where the layer is reflected in its plane (`CandidateDiffraction.faces`): the flake turned over about
            a, seen in a mirror.
        observed: the pattern, with lengths divided by `scale`.
        scale: lengths of the pattern over those of the crystal, as assumed before the fit.
        position_log_likelihood: (N,) of the spots' positions.
    """

    reciprocal: FloatArray
    basis: FloatArray
    hk: IntArray
    face: int
    observed: Observation
    scale: float
    position_log_likelihood: FloatArray

    @property
    def stretch(self) -> FloatArray:
        """(2, 2) map from row vectors in the frame of the crystal (turned over if it is) to those on the camera."""
        stretch = np.linalg.solve(self.reciprocal, self.basis)
        return np.asarray(_TURNED_OVER @ stretch if self.face else stretch)


@dataclass(frozen=True)
class ReflectionTable:
    """The K lines of a match: the N compared spots, strongest first, then the missing reflections.

    Positions are in the scale of the pattern, 1/angstrom. NaN stands for what does not exist.

    Attributes:
        spots: N.
        scale: lengths of the pattern over those of the crystal, as assumed before the fit.
        hk: (K, 2) indices in the crystal's cell; those of the nearest lattice point for a spot without a reflection.
        d_angstrom: (K,) lattice spacing of the reflection in the crystal's cell.
        q_measured: (K, 2) measured positions.
        q_computed: (K, 2) positions of the reflections by the fitted lattice.
        log_intensity_measured: (K,) ln intensity relative to the strongest spot.
        log_intensity_computed: (K,) ln intensity on the same scale.
        log_intensity_sigma: (K,) expected rms difference of the two.
        log_likelihood: (K,) what each line adds to the score.
    """

    spots: int
    scale: float
    hk: IntArray
    d_angstrom: FloatArray
    q_measured: FloatArray
    q_computed: FloatArray
    log_intensity_measured: FloatArray
    log_intensity_computed: FloatArray
    log_intensity_sigma: FloatArray
    log_likelihood: FloatArray

    @classmethod
    def from_fit(cls, fit: "Fit", orientation: FittedOrientation) -> Self:
        """List the reflections of a fit in an orientation."""
        observed, scale, hk, basis = (
            orientation.observed,
            orientation.scale,
            orientation.hk,
            orientation.basis,
        )
        has_reflection, missing = ~np.isnan(fit.computed), fit.missing
        likelihood, sigma = orientation.position_log_likelihood.copy(), np.full(len(has_reflection), np.nan)
        if len(fit.sigma):
            likelihood[has_reflection] += fit.log_densities
            sigma[has_reflection] = fit.sigma
        nowhere, unknown = np.full(len(missing.hk), np.nan), np.full(len(has_reflection), np.nan)
        is_known = observed.has_intensity
        indices = np.concatenate([hk, missing.hk])
        is_reflection = np.concatenate([has_reflection, np.full(len(missing.hk), True)])
        lengths = np.linalg.norm(indices @ orientation.reciprocal, axis=1)
        q_of_spots = np.where(has_reflection[:, None], hk @ basis, np.nan)
        q_of_missing = missing.hk @ basis.astype(np.float64)
        measured = observed.log_intensity if is_known else unknown
        computed = [fit.computed, missing.computed] if is_known else [unknown, nowhere]
        return cls(
            spots=len(has_reflection),
            scale=scale,
            hk=indices,
            d_angstrom=np.where(is_reflection, 1 / np.where(is_reflection, lengths, 1), np.nan),
            q_measured=scale
            * np.concatenate([observed.q_inv_angstrom, np.full((len(missing.hk), 2), np.nan)]),
            q_computed=scale * np.concatenate([q_of_spots, q_of_missing]),
            log_intensity_measured=np.concatenate([measured, nowhere]),
            log_intensity_computed=np.concatenate(computed),
            log_intensity_sigma=np.concatenate([sigma, nowhere]),
            log_likelihood=np.concatenate([likelihood, missing.log_densities]),
        )

    def __len__(self) -> int:
        return len(self.hk)

    @property
    def status(self) -> list[Status]:
        """Whether each line is an explained spot, an extra spot or a missing reflection."""
        of_spots: list[Status] = [
            "extra" if np.isnan(q) else "explained" for q in self.q_computed[: self.spots, 0]
        ]
        missing: list[Status] = ["missing"] * (len(self) - self.spots)
        return of_spots + missing


@dataclass(frozen=True)
class Match:
    """How a candidate's computed pattern matches the measured one. Values that were not fitted are None.

    Attributes:
        rotation_deg: rotation of the pattern on the camera, after the mirror (`Geometry`).
        rotation_sigma_deg: its standard uncertainty.
        mirrored: the camera shows the crystal's pattern mirrored.
        face_down: the beam enters by the other face, `Crystal.turn_over`; False where both are equal.
        scale: measured over computed lengths in reciprocal space.
        scale_sigma: its standard uncertainty.
        distortion: ratio of the longer to the shorter axis of a circle's image, less 1.
        distortion_sigma: its standard uncertainty.
        tilt_deg: angle between beam and normal.
        tilt_sigma_deg: its standard uncertainty.
        tilt_azimuth_deg: its direction in the frame of the flake as it lies, from a (along x) toward y.
        tilt_azimuth_sigma_deg: its standard uncertainty, at most 180.
        b_factor: Debye-Waller B, with the camera's response in it, angstrom^2.
        b_factor_sigma: its standard uncertainty.
        explained: share of the measured intensity (of the spots, without intensities) that lies on the lattice.
        missing: share of the reflections expected above the detection limit that were not measured.
        extra: share of the spots that lie on no reflection.
        r_factor: sum |sqrt I - sqrt I_c| / sum sqrt I over the spots with a reflection; None without intensities.
        score: ln likelihood, comparable among the refined candidates of one pattern.
        reflections: every spot, and every missing reflection.
        refined: fitted with displaced atoms and the pattern's noise; otherwise a rough fit.
    """

    rotation_deg: float
    rotation_sigma_deg: float
    mirrored: bool
    face_down: bool
    scale: float
    scale_sigma: float
    distortion: float
    distortion_sigma: float
    tilt_deg: float
    tilt_sigma_deg: float | None
    tilt_azimuth_deg: float
    tilt_azimuth_sigma_deg: float | None
    b_factor: float | None
    b_factor_sigma: float | None
    explained: float
    missing: float
    extra: float
    r_factor: float | None
    score: float
    reflections: ReflectionTable
    refined: bool = True

    @classmethod
    def from_fit(cls, fit: "Fit", orientation: FittedOrientation, score: float) -> Self:
        """Describe a fit in an orientation.

        Args:
            fit: of the intensities.
            orientation: of the lattice.
            score: ln likelihood of positions and intensities.
        """
        reflections = ReflectionTable.from_fit(fit, orientation)
        observed, scale, stretch = orientation.observed, orientation.scale, orientation.stretch
        tilt = _TURNED_OVER @ fit.tilt if orientation.face else fit.tilt
        mirrored = bool(np.linalg.det(stretch) < 0)
        turned = _MIRROR @ stretch if mirrored else stretch
        axes = np.linalg.svd(stretch, compute_uv=False)
        has_reflection = ~np.isnan(fit.computed)
        weight = np.exp(observed.log_intensity)
        tangent, error, strain = hypot(*tilt), fit.tilt_sigma, _estimate_strain_sigma(reflections)
        return cls(
            rotation_deg=degrees(atan2(turned[0, 1] - turned[1, 0], turned[0, 0] + turned[1, 1])) % 360.0,
            rotation_sigma_deg=degrees(strain),
            mirrored=mirrored,
            face_down=bool(orientation.face),
            scale=scale * float(np.sqrt(axes[0] * axes[1])),
            scale_sigma=scale * strain,
            distortion=float(axes[0] / axes[1] - 1),
            distortion_sigma=2 * strain,
            tilt_deg=degrees(atan2(tangent, 1.0)),
            tilt_sigma_deg=None if error is None else degrees(error),
            tilt_azimuth_deg=degrees(atan2(tilt[1], tilt[0])) % 360.0,
            tilt_azimuth_sigma_deg=None if error is None else degrees(min(error / max(tangent, 1e-9), pi)),
            b_factor=fit.b_factor,
            b_factor_sigma=fit.b_factor_sigma,
            explained=float(weight[has_reflection].sum() / weight.sum()),
            missing=len(fit.missing.hk) / max(fit.missing.expected, 1),
            extra=float(1 - has_reflection.mean()),
            r_factor=_compute_r_factor(observed.log_intensity, fit.computed)
            if observed.has_intensity
            else None,
            score=score,
            reflections=reflections,
        )


def _estimate_strain_sigma(reflections: ReflectionTable) -> float:
    """Return the standard uncertainty of the rotation (radians) and of each component of the strain.

    Both are equal in least squares: a strain e moves a spot at q by e |q|, so that N spots with an error s along each
    axis give s / sqrt(sum |q|^2).
    """
    computed = reflections.q_computed[: reflections.spots]
    off = reflections.q_measured[: reflections.spots] - computed
    off = off[~np.isnan(off[:, 0])]
    # Two coordinates of each spot, and four parameters of the lattice.
    freedom = max(2 * len(off) - 4, 1)
    return float(np.sqrt((off**2).sum() / freedom / max(np.nansum(computed**2), 1e-12)))


def _compute_r_factor(measured: FloatArray, computed: FloatArray) -> float:
    """Return sum |F - F_c| / sum F over the spots with a reflection, where F = sqrt(I), given ln intensities."""
    has_reflection = ~np.isnan(computed)
    measured, computed = np.exp(measured[has_reflection] / 2), np.exp(computed[has_reflection] / 2)
    return float(np.abs(measured - computed).sum() / max(measured.sum(), 1e-300))
