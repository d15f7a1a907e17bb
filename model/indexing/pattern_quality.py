"""Assess a pattern and advise how to improve it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from model.indexing.pattern_lattice import PatternLattice
from model.pattern.spots import Exposure, Spots

Grade = Literal["good", "fair", "poor"]

FEW_SPOTS, MANY_SPOTS = 8, 18
"""A pattern with fewer spots than the first is poor, one with fewer than the second fair; so for all pairs here."""
SMALL_RANGE, LARGE_RANGE = 20.0, 100.0
"""Ratio of the strongest to the weakest spot."""
SHORT_REACH_INV_ANGSTROM, LONG_REACH_INV_ANGSTROM = 0.6, 1.0
MAX_SATURATED_SHARE = 0.2
MIN_PAIRED_FRACTION = 0.5
MAX_ELLIPTICITY = 0.008
MIN_CENTER_PROBABILITY = 0.5
# Angle of the ideal cell where lengths are equal.
_IDEAL_GAMMA_DEG = {"hexagonal": 120.0, "square": 90.0}
# A level (0 good, 1 fair, 2 poor), and what to do where it is not 0.
_Finding = tuple[int, str]


@dataclass(frozen=True)
class Quality:
    """The quality of a pattern.

    Attributes:
        grade: "good", "fair" or "poor", the worst of all aspects.
        ellipticity: ratio of the axes of a circle's image, less 1, where the lattice should be hexagonal or square;
            None for other lattices, whose true shape is unknown.
        ellipticity_sigma: its standard uncertainty.
        advice: what would make the pattern better, one sentence each.
    """

    grade: Grade
    ellipticity: float | None
    ellipticity_sigma: float | None
    advice: tuple[str, ...]


def assess_quality(spots: Spots, lattice: PatternLattice | None, lattice_sought: bool = True) -> Quality:
    """Assess a pattern.

    Args:
        spots: the pattern.
        lattice: its lattice, if one was found.
        lattice_sought: whether a lattice was looked for.
    """
    findings = [_assess_number(spots), _assess_range(spots), _assess_reach(spots)]
    if spots.exposure is not None:
        findings += _assess_exposure(spots.exposure)
    ellipticity, sigma = _measure_ellipticity(lattice)
    if ellipticity is not None and sigma is not None and ellipticity - 2 * sigma > MAX_ELLIPTICITY:
        share = f"{100 * ellipticity:.1f} %"
        findings.append(
            (1, f"The pattern is elliptical ({share}): correct the astigmatism of the projector lens.")
        )
    if lattice is None and lattice_sought:
        findings.append((1, "The spots lie on no lattice: check for a second crystal or a powder."))
    grades: tuple[Grade, ...] = ("good", "fair", "poor")
    worst = max(level for level, _ in findings)
    return Quality(grades[worst], ellipticity, sigma, tuple(advice for level, advice in findings if level))


def _assess_number(spots: Spots) -> _Finding:
    advice = f"Only {len(spots)} spots: expose longer, or use a shorter camera length."
    return _grade(len(spots), FEW_SPOTS, MANY_SPOTS), advice


def _assess_range(spots: Spots) -> _Finding:
    if spots.intensity is None:
        return 1, "The spots have no intensities: crystals with the same lattice are not distinguishable."
    span = float(spots.intensity.max() / spots.intensity.min())
    advice = f"The weakest spot is only {span:.0f} times fainter than the strongest: expose longer."
    return _grade(span, SMALL_RANGE, LARGE_RANGE), advice


def _assess_reach(spots: Spots) -> _Finding:
    if not spots.scale_is_known:
        return 1, "The scale is unknown: give pixel_size, or calibrate with a known crystal."
    reach = float(np.hypot(*spots.q_inv_angstrom.T).max())
    advice = f"The spots reach only to {reach:.2f} 1/angstrom: use a shorter camera length."
    return _grade(reach, SHORT_REACH_INV_ANGSTROM, LONG_REACH_INV_ANGSTROM), advice


def _grade(value: float, poor_below: float, fair_below: float) -> int:
    return 2 if value < poor_below else int(value < fair_below)


def _assess_exposure(exposure: Exposure) -> list[_Finding]:
    count = len(exposure.saturated)
    saturated = int(exposure.saturated.sum())
    level = 0 if not saturated else 1 if saturated <= MAX_SATURATED_SHARE * count else 2
    findings = [
        (level, f"{saturated} of {count} spots are saturated: use a shorter exposure, or sum several frames.")
    ]
    if exposure.center_method == "symmetry":
        advice = "Many spots lack their Friedel mate: check the center, and give center if it is wrong."
        findings.append((int(exposure.paired_fraction < MIN_PAIRED_FRACTION), advice))
    probability = exposure.center_probability
    if probability is not None:
        is_doubtful = exposure.center_method == "extrapolated" or probability < MIN_CENTER_PROBABILITY
        advice = (
            f"The center is correct with a probability of {100 * probability:.0f} %: give center, or move the direct "
            "beam onto the camera."
        )
        findings.append((int(is_doubtful), advice))
    return findings


def _measure_ellipticity(lattice: PatternLattice | None) -> tuple[float | None, float | None]:
    """Return the ellipticity that maps the ideal lattice to the measured one, and its standard uncertainty."""
    gamma = None if lattice is None else _IDEAL_GAMMA_DEG.get(lattice.bravais)
    if lattice is None or gamma is None:
        return None, None
    angle = np.radians(gamma)
    ideal = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    major, minor = np.linalg.svd(np.linalg.solve(ideal, lattice.direct), compute_uv=False)
    a, b, _ = lattice.parameters
    sigma_a, sigma_b, sigma_gamma = lattice.sigmas
    sigma = float(np.sqrt((sigma_a / a) ** 2 + (sigma_b / b) ** 2 + np.radians(sigma_gamma) ** 2))
    return float(major / minor - 1), sigma
