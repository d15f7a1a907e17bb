"""Every spot and every beam of one match: what a crystallographer checks line by line."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Beams:
    """K lines: the N compared spots in the observation's order, then the beams that should have been seen.

    Positions are the pattern's own, 1/angstrom by its scale; NaN stands for what there is not.

    Attributes:
        spots: N.
        scale: lengths of the pattern over those of the crystal, of which it was taken to be before the fit.
        hk: (K, 2) indices in the basis of the crystal's cell; of a spot without a beam those of the nearest point.
        d_angstrom: (K,) spacing of the beam in the crystal's own cell.
        measured: (K, 2) positions.
        computed: (K, 2) positions of the beams by the fitted lattice.
        log_measured: (K,) ln intensity over that of the strongest spot.
        log_computed: (K,) ln intensity on the same scale.
        log_sigma: (K,) expected rms of the difference of both.
        log_likelihood: (K,) what each line adds to the score.
    """

    spots: int
    scale: float
    hk: IntArray
    d_angstrom: FloatArray
    measured: FloatArray
    computed: FloatArray
    log_measured: FloatArray
    log_computed: FloatArray
    log_sigma: FloatArray
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
            measured=scale * np.concatenate([observed.q, np.full((len(missing.hk), 2), np.nan)]),
            computed=scale
            * np.concatenate(
                [np.where(has_beam[:, None], hk @ basis, np.nan), missing.hk @ basis.astype(np.float64)]
            ),
            log_measured=np.concatenate([observed.log_intensity if known else unknown, nowhere]),
            log_computed=np.concatenate(
                [fit.computed if known else unknown, missing.computed if known else nowhere]
            ),
            log_sigma=np.concatenate([sigma, nowhere]),
            log_likelihood=np.concatenate([likelihood, missing.log_densities]),
        )

    def __len__(self) -> int:
        return len(self.hk)

    @property
    def status(self) -> list[Status]:
        """Of each line."""
        told: list[Status] = ["extra" if np.isnan(q) else "explained" for q in self.computed[:, 0]]
        missing: list[Status] = ["missing"] * (len(self) - self.spots)
        return told[: self.spots] + missing
