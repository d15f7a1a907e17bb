"""Convert a match between structure and pattern to its JSON schema."""

from collections.abc import Sequence
from math import atan, degrees, isnan

import numpy as np

from app.presentation.schemas.match import ComparedReflection, MatchSchema
from model.matching.match import Match, ReflectionTable, Status
from model.pattern.spots import Spots
from model.physics.tilt_series import MAX_TILT_TANGENT

# Slightly below the limit of the fit.
MAX_RELIABLE_TILT_DEG = degrees(atan(MAX_TILT_TANGENT)) - 0.1


def serialize_match(
    match: Match, spots: Spots, *, with_reflections: bool, overlay: str | None = None
) -> MatchSchema:
    """Convert a match.

    Args:
        match: the match.
        spots: the pattern.
        with_reflections: whether to list every spot and reflection.
        overlay: path of an image of the match.
    """
    pixel_size, scale_is_known = spots.pixel_size_inv_angstrom, spots.scale_is_known
    return MatchSchema(
        rotation_deg=round(match.rotation_deg, 2),
        rotation_sigma_deg=round_significant(match.rotation_sigma_deg),
        mirrored=match.mirrored,
        face_down=match.face_down,
        tilt_deg=round(match.tilt_deg, 2),
        tilt_sigma_deg=round_optional(match.tilt_sigma_deg, 2),
        tilt_azimuth_deg=round(match.tilt_azimuth_deg, 1),
        tilt_azimuth_sigma_deg=round_optional(match.tilt_azimuth_sigma_deg, 1),
        scale=round(match.scale, 4) if scale_is_known else None,
        scale_sigma=round_significant(match.scale_sigma) if scale_is_known else None,
        pixel_size=None if pixel_size is None else round_significant(pixel_size / match.scale, 5),
        distortion=round(match.distortion, 4),
        distortion_sigma=round_significant(match.distortion_sigma),
        b_factor=round_optional(match.b_factor, 3),
        b_factor_sigma=round_optional(match.b_factor_sigma, 3),
        explained=round(match.explained, 4),
        missing=round(match.missing, 4),
        extra=round(match.extra, 4),
        r_factor=round_optional(match.r_factor, 4),
        refined=match.refined,
        reflections=serialize_reflections(match, spots) if with_reflections else None,
        overlay=overlay,
    )


def serialize_reflections(match: Match, spots: Spots) -> list[ComparedReflection]:
    """List the compared spots, strongest first, then the missing reflections."""
    return [
        _serialize_reflection(match.reflections, row, status, spots)
        for row, status in enumerate(match.reflections.status)
    ]


def serialize_position(q_inv_angstrom: Sequence[float], spots: Spots) -> list[float]:
    """Convert a scattering vector to pixels on the camera, if there is one."""
    if spots.center_px is None or spots.pixel_size_inv_angstrom is None:
        return [round(float(component), 5) for component in q_inv_angstrom]
    x, y = spots.project_to_pixels(np.array(q_inv_angstrom, dtype=np.float64)[None])[0].tolist()
    return [round(x, 2), round(y, 2)]


def describe_fit(likelihood: str, probability: float | None, match: MatchSchema | None) -> str:
    """Describe how well a structure fits, for the caption of a picture."""
    parts = [likelihood]
    if probability is not None:
        parts.append(f"probability {probability:.3f}")
    if match is not None:
        parts += [] if match.r_factor is None else [f"R {match.r_factor:.3f}"]
        parts.append(f"tilt {match.tilt_deg:.1f}°")
    return ", ".join(parts)


def list_tilt_warnings(best: Match | None) -> tuple[str, ...]:
    """Warn if the tilt of the best match is at the limit of the fit."""
    if best is None or best.tilt_deg < MAX_RELIABLE_TILT_DEG:
        return ()
    return (
        f"The fitted tilt, {best.tilt_deg:.1f} degrees, is at the limit of the fit; the flake may be tilted further. "
        "Reduce the tilt for a more reliable answer.",
    )


def round_optional(value: float | None, digits: int) -> float | None:
    """Round a number to decimal places, if there is one."""
    return None if value is None else round(value, digits)


def round_significant(value: float, digits: int = 2) -> float:
    """Round a number to significant digits."""
    return float(f"{value:.{digits}g}")


def _serialize_reflection(
    table: ReflectionTable, row: int, status: Status, spots: Spots
) -> ComparedReflection:
    # Without a known scale, spacings use the scale implied by the structure.
    unit = 1.0 if spots.scale_is_known else table.scale
    measured, computed = table.q_measured[row], table.q_computed[row]
    observed, calculated = (
        _exponentiate(table.log_intensity_measured[row]),
        _exponentiate(table.log_intensity_computed[row]),
    )
    sigma = float(table.log_intensity_sigma[row])
    h, k = table.hk[row].tolist()
    return ComparedReflection(
        h=h,
        k=k,
        status=status,
        d_observed=None if isnan(measured[0]) else round(unit / float(np.hypot(*measured)), 4),
        d_calculated=None if isnan(computed[0]) else round(float(table.d_angstrom[row]), 4),
        position_observed=None if isnan(measured[0]) else serialize_position(measured, spots),
        position_calculated=None if isnan(computed[0]) else serialize_position(computed, spots),
        intensity_observed=observed,
        intensity_calculated=calculated,
        intensity_sigma=(
            None if calculated is None or isnan(sigma) else round_significant(calculated * sigma)
        ),
    )


def _exponentiate(logarithm: float) -> float | None:
    return None if isnan(logarithm) else round_significant(float(np.exp(logarithm)), 4)
