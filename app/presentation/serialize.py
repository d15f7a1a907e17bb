"""What was found of pattern and candidates, in the words of the answer."""

from collections.abc import Sequence
from math import atan, degrees, isnan

import numpy as np

from app.presentation.schemas import Line, Match, PlaneLattice, Quality, Twist
from model.indexing.pattern_lattice import PatternLattice as FoundLattice
from model.indexing.pattern_quality import assess_quality
from model.matching.match import Match as FoundMatch
from model.matching.match import ReflectionTable, Status
from model.matching.overlapping_lattices import OverlappingLattices
from model.matching.overlapping_lattices import Twist as FoundTwist
from model.pattern.spots import Spots
from model.physics.tilt_series import MAX_TILT_TANGENT

# A little less than where fits end.
FARTHEST_TILT_DEG = degrees(atan(MAX_TILT_TANGENT)) - 0.1


def match_of(found: FoundMatch, spots: Spots, listed: bool, overlay: str | None = None) -> Match:
    """How a candidate matches.

    Args:
        found: the match.
        spots: the pattern.
        listed: whether every spot is wanted.
        overlay: where a picture of it is fetched.
    """
    size, known = spots.pixel_size_inv_angstrom, spots.scale_is_known
    return Match(
        rotation_deg=round(found.rotation_deg, 2),
        rotation_sigma_deg=_significant(found.rotation_sigma_deg),
        mirrored=found.mirrored,
        face_down=found.face_down,
        tilt_deg=round(found.tilt_deg, 2),
        tilt_sigma_deg=None if found.tilt_sigma_deg is None else round(found.tilt_sigma_deg, 2),
        tilt_azimuth_deg=round(found.tilt_azimuth_deg, 1),
        tilt_azimuth_sigma_deg=(
            None if found.tilt_azimuth_sigma_deg is None else round(found.tilt_azimuth_sigma_deg, 1)
        ),
        scale=round(found.scale, 4) if known else None,
        scale_sigma=_significant(found.scale_sigma) if known else None,
        pixel_size=None if size is None else _significant(size / found.scale, 5),
        distortion=round(found.distortion, 4),
        distortion_sigma=_significant(found.distortion_sigma),
        b_factor=None if found.b_factor is None else round(found.b_factor, 3),
        b_factor_sigma=None if found.b_factor_sigma is None else round(found.b_factor_sigma, 3),
        explained=round(found.explained, 4),
        missing=round(found.missing, 4),
        extra=round(found.extra, 4),
        r_factor=None if found.r_factor is None else round(found.r_factor, 4),
        refined=found.refined,
        spots=lines_of(found, spots) if listed else None,
        overlay=overlay,
    )


def fit_told(likeness: str, probability: float | None, match: Match | None) -> str:
    """How well a crystal fits, for the caption of a picture."""
    parts = [likeness]
    if probability is not None:
        parts.append(f"probability {probability:.3f}")
    if match is not None:
        parts += [] if match.r_factor is None else [f"R {match.r_factor:.3f}"]
        parts.append(f"tilt {match.tilt_deg:.1f}°")
    return ", ".join(parts)


def lines_of(found: FoundMatch, spots: Spots) -> list[Line]:
    """Every spot that was compared, strongest first, then every beam that should have been seen."""
    reflections = found.reflections
    return [_line(reflections, row, status, spots) for row, status in enumerate(reflections.status)]


def _line(reflections: ReflectionTable, row: int, status: Status, spots: Spots) -> Line:
    # Where nobody knows the pattern's scale, lengths are told by the one that the crystal implies.
    unit = 1.0 if spots.scale_is_known else reflections.scale
    measured, computed = reflections.q_measured[row], reflections.q_computed[row]
    observed, calculated = (
        _exp(reflections.log_intensity_measured[row]),
        _exp(reflections.log_intensity_computed[row]),
    )
    sigma = float(reflections.log_intensity_sigma[row])
    h, k = reflections.hk[row].tolist()
    return Line(
        h=h,
        k=k,
        status=status,
        d_observed=None if isnan(measured[0]) else round(unit / float(np.hypot(*measured)), 4),
        d_calculated=None if isnan(computed[0]) else round(float(reflections.d_angstrom[row]), 4),
        position=None if isnan(measured[0]) else position_of(measured, spots),
        calculated_position=None if isnan(computed[0]) else position_of(computed, spots),
        intensity_observed=observed,
        intensity_calculated=calculated,
        intensity_sigma=None if calculated is None or isnan(sigma) else _significant(calculated * sigma),
    )


def position_of(q_inv_angstrom: Sequence[float], spots: Spots) -> list[float]:
    """On the camera in pixels where there is one, else q."""
    if spots.center_px is None or spots.pixel_size_inv_angstrom is None:
        return [round(float(each), 5) for each in q_inv_angstrom]
    x, y = spots.project_to_pixels(np.array(q_inv_angstrom, dtype=np.float64)[None])[0].tolist()
    return [round(x, 2), round(y, 2)]


def lattice_seen(found: FoundLattice, spots: Spots) -> PlaneLattice:
    """The pattern's own lattice."""
    (a, b, gamma), (sigma_a, sigma_b, sigma_gamma) = found.parameters, found.sigmas
    known = spots.scale_is_known
    unit = spots.pixel_size_inv_angstrom or 1.0
    return PlaneLattice(
        a=round(a, 4) if known else None,
        b=round(b, 4) if known else None,
        gamma=round(gamma, 2),
        a_sigma=_significant(sigma_a) if known else None,
        b_sigma=_significant(sigma_b) if known else None,
        gamma_sigma=_significant(sigma_gamma),
        ratio=round(b / a, 5),
        bravais=found.bravais,
        reciprocal=[[_significant(x / unit, 6) for x in row] for row in found.basis.tolist()],
        explained=round(float(found.on_lattice.mean()), 4),
    )


def quality_seen(spots: Spots, lattice: FoundLattice | None, sought: bool = True) -> Quality:
    """What the spots are like, and what would make them better; whether a lattice was looked for."""
    length, exposure = np.hypot(*spots.q_inv_angstrom.T), spots.exposure
    judged, known = assess_quality(spots, lattice, sought), spots.scale_is_known
    intensity = spots.intensity
    return Quality(
        q_min=float(length.min()) if known else None,
        q_max=float(length.max()) if known else None,
        d_min=round(1 / float(length.max()), 4) if known else None,
        dynamic_range=None if intensity is None else float(intensity.max() / intensity.min()),
        grade=judged.grade,
        advice=list(judged.advice),
        ellipticity=None if judged.ellipticity is None else round(judged.ellipticity, 5),
        ellipticity_sigma=None
        if judged.ellipticity_sigma is None
        else _significant(judged.ellipticity_sigma),
        saturated=None if exposure is None else int(exposure.saturated.sum()),
        center_method=None if exposure is None else exposure.center_method,
        center_probability=None
        if exposure is None or exposure.center_probability is None
        else round(exposure.center_probability, 3),
        paired=None if exposure is None else round(exposure.paired_fraction, 3),
        beam_stop=None if exposure is None else exposure.beam_stop,
        spot_width=None if exposure is None else round(exposure.spot_sigma_px, 2),
    )


def told_of_tilt(best: FoundMatch | None) -> tuple[str, ...]:
    """A warning where the best explanation is tilted as far as any can be."""
    if best is None or best.tilt_deg < FARTHEST_TILT_DEG:
        return ()
    return (
        f"The tilt is at the end of its range, {best.tilt_deg:.1f} degrees: the flake may be tilted farther. Tilt it "
        "back for a surer answer.",
    )


def twist_of(found: OverlappingLattices, twist: FoundTwist | None, spots: Spots) -> Twist:
    """The two lattices of a pattern, and how they lie to each other."""
    return Twist(
        twist_deg=None if twist is None else round(twist.angle_deg, 3),
        twist_sigma_deg=None if twist is None else _significant(twist.sigma_deg),
        lattices=[lattice_seen(each, spots) for each in found.lattices],
    )


def _exp(logarithm: float) -> float | None:
    return None if isnan(logarithm) else _significant(float(np.exp(logarithm)), 4)


def _significant(value: float, digits: int = 2) -> float:
    return float(f"{value:.{digits}g}")
