"""How a candidate lies on a pattern, in the terms of a crystallographer."""

from dataclasses import dataclass
from math import atan2, degrees, hypot, pi
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.matching.fitting.refinement import Fit
from model.pattern.observation import Observation
from model.physics.reciprocal import reciprocal_lattice

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Status = Literal["explained", "extra", "missing"]

_MIRROR = np.diag([-1.0, 1.0])
_TURNED_OVER = np.diag([1.0, -1.0])


@dataclass(frozen=True)
class ReflectionTable:
    """K lines: the N compared spots in the observation's order, then the beams that should have been seen.

    Positions are the pattern's own, 1/angstrom by its scale; NaN stands for what there is not.

    Attributes:
        spots: N.
        scale: lengths of the pattern over those of the crystal, of which it was taken to be before the fit.
        hk: (K, 2) indices in the basis of the crystal's cell; of a spot without a beam those of the nearest point.
        d_angstrom: (K,) spacing of the beam in the crystal's own cell.
        q_measured: (K, 2) positions.
        q_computed: (K, 2) positions of the beams by the fitted lattice.
        log_intensity_measured: (K,) ln intensity over that of the strongest spot.
        log_intensity_computed: (K,) ln intensity on the same scale.
        log_intensity_sigma: (K,) expected rms of the difference of both.
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
    def of(
        cls,
        crystal: Crystal,
        fit: Fit,
        hk: IntArray,
        basis: FloatArray,
        positions: FloatArray,
        observed: Observation,
        scale: float = 1.0,
    ) -> Self:
        """The lines of a fit.

        Args:
            crystal: the candidate.
            fit: its fit.
            hk: (N, 2) indices of the spots.
            basis: (2, 2) a* and b* as the camera sees them.
            positions: (N,) ln likelihood of the spots' positions.
            observed: the pattern, its lengths divided by `scale` as those of `basis` are.
            scale: by which it was divided.
        """
        has_beam = ~np.isnan(fit.computed)
        likelihood, sigma = positions.copy(), np.full(len(observed), np.nan)
        if len(fit.sigma):
            likelihood[has_beam] += fit.log_densities
            sigma[has_beam] = fit.sigma
        missing = fit.absent
        nowhere = np.full(len(missing.hk), np.nan)
        unknown = np.full(len(observed), np.nan)
        known = observed.has_intensity
        indices = np.concatenate([hk, missing.hk])
        of_beam = np.concatenate([has_beam, np.full(len(missing.hk), True)])
        lengths = np.linalg.norm(indices @ reciprocal_lattice(crystal.lattice), axis=1)
        return cls(
            spots=len(observed),
            scale=scale,
            hk=indices,
            d_angstrom=np.where(of_beam, 1 / np.where(of_beam, lengths, 1), np.nan),
            q_measured=scale * np.concatenate([observed.q, np.full((len(missing.hk), 2), np.nan)]),
            q_computed=scale
            * np.concatenate(
                [np.where(has_beam[:, None], hk @ basis, np.nan), missing.hk @ basis.astype(np.float64)]
            ),
            log_intensity_measured=np.concatenate([observed.log_intensity if known else unknown, nowhere]),
            log_intensity_computed=np.concatenate(
                [fit.computed if known else unknown, missing.computed if known else nowhere]
            ),
            log_intensity_sigma=np.concatenate([sigma, nowhere]),
            log_likelihood=np.concatenate([likelihood, missing.log_densities]),
        )

    def __len__(self) -> int:
        return len(self.hk)

    @property
    def status(self) -> list[Status]:
        """Of each line."""
        told: list[Status] = ["extra" if np.isnan(q) else "explained" for q in self.q_computed[:, 0]]
        missing: list[Status] = ["missing"] * (len(self) - self.spots)
        return told[: self.spots] + missing


@dataclass(frozen=True)
class Match:
    """How a candidate's computed pattern lies on the measured one.

    Attributes:
        rotation_deg: rotation of the pattern on the camera, after the mirror (`Geometry`).
        mirrored: the camera sees the crystal's pattern mirrored.
        face_down: the beam meets the other face, `Crystal.turned_over`; False where both are the same.
        rotation_sigma_deg: standard error of the rotation.
        scale: measured over computed lengths in reciprocal space.
        scale_sigma: its standard error.
        distortion: ratio of the longer to the shorter axis of the circle's image, less 1.
        distortion_sigma: its standard error.
        tilt_deg: angle between beam and normal.
        tilt_azimuth_deg: its direction in the frame of the flake as it lies, from a (along x) to y.
        tilt_sigma_deg: standard error of the tilt.
        tilt_azimuth_sigma_deg: standard error of its direction, 180 at most.
        b_factor: Debye-Waller B, with the camera's response in it, angstrom^2.
        b_factor_sigma: its standard error.
        explained: share of the measured intensity (of the spots, without intensities) that lies on the lattice.
        missing: share of the beams expected to be seen that were not.
        extra: share of the spots that lie on no beam.
        r_factor: sum |sqrt I - sqrt I_c| / sum sqrt I over the spots with a beam; None without intensities.
        score: ln likelihood, comparable among the refined candidates of one pattern.
        reflections: every spot, and every beam that should have been seen.
        refined: fitted with shifted atoms and the pattern's noise; else roughly, the atoms where the library has them.

    What was not fitted is None.
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
    def of(
        cls,
        crystal: Crystal,
        basis: FloatArray,
        face: int,
        fit: Fit,
        score: float,
        beams: ReflectionTable,
        observed: Observation,
        scale: float = 1.0,
    ) -> Self:
        """In these terms, the fit of a crystal whose a* and b* are seen as `basis` (2, 2).

        Face 1 is the layer reflected in its plane (`Layer.faces`), which is the flake turned over about a, seen in a
        mirror. The lengths of basis and observation are the pattern's over `scale`.
        """
        seen, tilt = np.linalg.solve(reciprocal_lattice(crystal.lattice), basis), fit.tilt
        if face:
            seen, tilt = _TURNED_OVER @ seen, _TURNED_OVER @ tilt
        mirrored = bool(np.linalg.det(seen) < 0)
        turned = _MIRROR @ seen if mirrored else seen
        axes = np.linalg.svd(seen, compute_uv=False)
        has_beam = ~np.isnan(fit.computed)
        weight = np.exp(observed.log_intensity)
        tangent, error = hypot(*tilt), fit.tilt_sigma
        strain = _strain_sigma(beams)
        return cls(
            rotation_deg=degrees(atan2(turned[0, 1] - turned[1, 0], turned[0, 0] + turned[1, 1])) % 360.0,
            rotation_sigma_deg=degrees(strain),
            mirrored=mirrored,
            face_down=bool(face),
            scale=scale * float(np.sqrt(axes[0] * axes[1])),
            scale_sigma=scale * strain,
            distortion=float(axes[0] / axes[1] - 1),
            distortion_sigma=2 * strain,
            tilt_deg=degrees(atan2(tangent, 1.0)),
            tilt_sigma_deg=None if error is None else degrees(error),
            tilt_azimuth_deg=degrees(atan2(tilt[1], tilt[0])) % 360.0,
            tilt_azimuth_sigma_deg=None if error is None else degrees(min(error / max(tangent, 1e-9), pi)),
            b_factor=fit.b,
            b_factor_sigma=fit.b_sigma,
            explained=float(weight[has_beam].sum() / weight.sum()),
            missing=fit.absent.share,
            extra=float(1 - has_beam.mean()),
            r_factor=_r_factor(observed.log_intensity, fit.computed) if observed.has_intensity else None,
            score=score,
            reflections=beams,
        )


def _strain_sigma(beams: ReflectionTable) -> float:
    """Standard error of rotation (radians) and of each component of the strain, which least squares gives alike.

    A strain e moves a spot at q by e |q|, so N spots with an error s along each axis give s / sqrt(sum |q|^2).
    """
    off = (beams.q_measured - beams.q_computed)[: beams.spots]
    off = off[~np.isnan(off[:, 0])]
    lengths = np.nansum(beams.q_computed[: beams.spots] ** 2)
    # Two coordinates a spot, four parameters of the lattice.
    freedom = max(2 * len(off) - 4, 1)
    return float(np.sqrt((off**2).sum() / freedom / max(lengths, 1e-12)))


def _r_factor(measured: FloatArray, computed: FloatArray) -> float:
    """Of the spots with a beam, sum |F - F_c| / sum F with F the root of the intensity, given ln intensities."""
    has_beam = ~np.isnan(computed)
    measured, computed = np.exp(measured[has_beam] / 2), np.exp(computed[has_beam] / 2)
    return float(np.abs(measured - computed).sum() / max(measured.sum(), 1e-300))
