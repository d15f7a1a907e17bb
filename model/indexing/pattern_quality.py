"""How good a pattern is, and what would make it better."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from model.indexing.pattern_lattice import PatternLattice
from model.pattern.spots import Spots

Grade = Literal["good", "fair", "poor"]

FEW_SPOTS, MANY_SPOTS = 8, 18
SHORT_RANGE, LONG_RANGE = 20.0, 100.0
NEAR_INV_ANGSTROM, FAR_INV_ANGSTROM = 0.6, 1.0
MOST_SATURATED = 0.2
LEAST_PAIRED = 0.5
MAX_ELLIPTICITY = 0.008
SURE = 0.5
# Angle of the ideal cell where lengths are equal.
_IDEAL_GAMMA_DEG = {"hexagonal": 120.0, "square": 90.0}


@dataclass(frozen=True)
class Quality:
    """How good a pattern is.

    Attributes:
        grade: "good", "fair" or "poor", by the worst of what counts.
        ellipticity: ratio of the axes of a circle's image, less 1, where the lattice should be hexagonal or square;
            None of others, whose shape nobody knows.
        ellipticity_sigma: its standard error.
        advice: what would make the pattern better, a sentence each.
    """

    grade: Grade
    ellipticity: float | None
    ellipticity_sigma: float | None
    advice: tuple[str, ...]


def assess_quality(spots: Spots, lattice: PatternLattice | None, sought: bool = True) -> Quality:
    """Judge a pattern.

    Args:
        spots: the pattern.
        lattice: its own, where it has one.
        sought: whether a lattice was looked for.
    """
    found = [_number(spots), _range(spots), _reach(spots), *_exposure(spots)]
    ellipticity, sigma = _ellipticity(lattice)
    if ellipticity is not None and sigma is not None and ellipticity - 2 * sigma > MAX_ELLIPTICITY:
        found.append(
            (1, f"The pattern is elliptic by {100 * ellipticity:.1f} %: correct the projector's astigmatism.")
        )
    if lattice is None and sought:
        found.append((1, "The spots lie on no lattice: is there a second crystal, or is it a powder?"))
    worst = max(level for level, _ in found)
    grades: tuple[Grade, ...] = ("good", "fair", "poor")
    return Quality(grades[worst], ellipticity, sigma, tuple(told for level, told in found if level))


def _number(spots: Spots) -> tuple[int, str]:
    advice = f"Only {len(spots)} spots: expose longer, or use a shorter camera length."
    return (2 if len(spots) < FEW_SPOTS else int(len(spots) < MANY_SPOTS)), advice


def _range(spots: Spots) -> tuple[int, str]:
    if spots.intensity is None:
        return 1, "The spots have no intensities: crystals with the same lattice cannot be told apart."
    span = float(spots.intensity.max() / spots.intensity.min())
    advice = f"The weakest spot is only {span:.0f} times fainter than the strongest: expose longer."
    return (2 if span < SHORT_RANGE else int(span < LONG_RANGE)), advice


def _reach(spots: Spots) -> tuple[int, str]:
    if not spots.scale_is_known:
        return 1, "The scale is unknown: give pixel_size, or calibrate with a known crystal."
    farthest = float(np.hypot(*spots.q_inv_angstrom.T).max())
    advice = f"The spots reach only to {farthest:.2f} 1/angstrom: use a shorter camera length."
    return (2 if farthest < NEAR_INV_ANGSTROM else int(farthest < FAR_INV_ANGSTROM)), advice


def _exposure(spots: Spots) -> list[tuple[int, str]]:
    exposure = spots.exposure
    if exposure is None:
        return []
    saturated = int(exposure.saturated.sum())
    few = saturated <= MOST_SATURATED * len(spots)
    found = [
        (
            0 if not saturated else 1 if few else 2,
            f"{saturated} of {len(spots)} spots are saturated: expose shorter, or sum several frames.",
        )
    ]
    if exposure.center_method == "symmetry":
        found.append(
            (
                int(exposure.paired_fraction < LEAST_PAIRED),
                "Many spots lack their mate across the centre: is the centre right? Give center if it is not.",
            )
        )
    if exposure.center_probability is not None:
        advice = (
            f"The centre is right with a probability of {100 * exposure.center_probability:.0f} %: give center, or "
            "move the direct beam onto the camera."
        )
        found.append(
            (int(exposure.center_method == "extrapolated" or exposure.center_probability < SURE), advice)
        )
    return found


def _ellipticity(lattice: PatternLattice | None) -> tuple[float | None, float | None]:
    """Of the map from the ideal lattice to the one seen."""
    gamma = None if lattice is None else _IDEAL_GAMMA_DEG.get(lattice.bravais)
    if lattice is None or gamma is None:
        return None, None
    angle = np.radians(gamma)
    ideal = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    longest, shortest = np.linalg.svd(np.linalg.solve(ideal, lattice.direct), compute_uv=False)
    a, b, _ = lattice.parameters
    sigma_a, sigma_b, sigma_gamma = lattice.sigmas
    sigma = float(np.sqrt((sigma_a / a) ** 2 + (sigma_b / b) ** 2 + np.radians(sigma_gamma) ** 2))
    return float(longest / shortest - 1), sigma
