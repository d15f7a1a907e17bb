"""Convert patterns, candidates and matches to the JSON schemas of an answer."""

from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np

from app.presentation.schemas.match import ComparedReflection, MatchSchema
from app.presentation.schemas.predict import CandidateSchema, NextMeasurementSchema, RecordedPattern
from app.presentation.schemas.query import PatternLatticeSchema, QualitySchema, QuerySchema, TwistSchema
from app.presentation.schemas.structures import UnitCell
from index.search.results import Candidate
from model.crystal.crystal import Crystal
from model.crystal.structure_files import VACUUM_ANGSTROM
from model.indexing.pattern_lattice import PatternLattice
from model.indexing.pattern_quality import assess_quality
from model.matching.match import Match, ReflectionTable, Status
from model.matching.next_measurement import NextMeasurement
from model.matching.overlapping_lattices import Twist
from model.pattern.spots import Exposure, Spots


def serialize_candidate(
    rank: int, candidate: Candidate, spots: Spots, *, with_reflections: bool, overlay: str | None
) -> CandidateSchema:
    """Convert a candidate of a search.

    Args:
        rank: its position in the answer, from 1.
        candidate: of the search.
        spots: the pattern.
        with_reflections: whether its match lists every spot and reflection.
        overlay: path of an image of its match.
    """
    entry, match = candidate.entry, candidate.match
    return CandidateSchema(
        rank=rank,
        id=entry.id,
        source=entry.source,
        formula=entry.formula,
        elements=list(entry.elements),
        layer_group=entry.layer_group,
        lattice=serialize_cell(entry.crystal),
        similarity=round(candidate.similarity, 6),
        probability=round_optional(candidate.probability, 6),
        equivalence_group=candidate.equivalence_group,
        in_confidence_set=candidate.in_confidence_set,
        lattice_number=candidate.lattice_number,
        match=(
            None
            if match is None
            else serialize_match(match, spots, with_reflections=with_reflections, overlay=overlay)
        ),
        same_as=list(candidate.same_as),
        cif=entry.cif,
    )


def serialize_cell(crystal: Crystal) -> UnitCell:
    """Convert the cell of a crystal as its CIF states it."""
    a, b = crystal.lattice
    return UnitCell(
        a=round(float(np.hypot(*a)), 6),
        b=round(float(np.hypot(*b)), 6),
        c=round(crystal.thickness + VACUUM_ANGSTROM, 6),
        alpha=90.0,
        beta=90.0,
        gamma=round(float(np.degrees(np.arctan2(b[1], b[0]))), 6),
    )


def serialize_next_measurement(measurement: NextMeasurement) -> NextMeasurementSchema:
    """Convert the recommended measurement."""
    return NextMeasurementSchema(
        method=measurement.method,
        advice=measurement.advice,
        element=measurement.element,
        tilt_deg=measurement.tilt_deg,
        log_likelihood_ratio=round_optional(measurement.log_likelihood_ratio, 1),
    )


def serialize_query(
    spots: Spots,
    voltage_kv: float,
    lattices: Sequence[PatternLattice],
    warnings: tuple[str, ...] = (),
    *,
    twists: Sequence[TwistSchema] = (),
    options: dict[str, Any] | None = None,
    lattice_sought: bool = True,
) -> QuerySchema:
    """Convert a pattern.

    Args:
        spots: the pattern.
        voltage_kv: the accelerating voltage used.
        lattices: of the pattern.
        warnings: besides those of the pattern.
        twists: between its lattices.
        options: of the request.
        lattice_sought: whether lattices were looked for.
    """
    first = lattices[0] if lattices else None
    return QuerySchema(
        spots=len(spots),
        center=None if spots.center_px is None else list(spots.center_px),
        pixel_size=spots.pixel_size_inv_angstrom if spots.scale_is_known else None,
        calibration=spots.calibration,
        scale_sigma=spots.scale_sigma if spots.scale_is_known else None,
        voltage_kv=voltage_kv,
        lattice=None if first is None else serialize_pattern_lattice(first, spots),
        lattices=[serialize_pattern_lattice(lattice, spots) for lattice in lattices],
        twists=list(twists),
        quality=serialize_quality(spots, first, lattice_sought),
        options=options,
        warnings=[*spots.warnings, *warnings],
    )


def serialize_twist(twist: Twist | None) -> TwistSchema:
    """Convert the twist between the two lattices of a pattern; None if it could not be measured."""
    return TwistSchema(
        lattice_numbers=[1, 2],
        twist_deg=None if twist is None else round(twist.angle_deg, 3),
        twist_sigma_deg=None if twist is None else round_significant(twist.sigma_deg),
    )


def serialize_pattern_lattice(lattice: PatternLattice, spots: Spots) -> PatternLatticeSchema:
    """Convert a lattice of the pattern."""
    (a, b, gamma), (a_sigma, b_sigma, gamma_sigma) = lattice.parameters, lattice.sigmas
    bravais, explained = lattice.bravais, float(lattice.on_lattice.mean())
    scale_is_known = spots.scale_is_known
    unit = spots.pixel_size_inv_angstrom or 1.0
    return PatternLatticeSchema(
        a=round(a, 4) if scale_is_known else None,
        b=round(b, 4) if scale_is_known else None,
        gamma=round(gamma, 2),
        a_sigma=round_significant(a_sigma) if scale_is_known else None,
        b_sigma=round_significant(b_sigma) if scale_is_known else None,
        gamma_sigma=round_significant(gamma_sigma),
        b_over_a=round(b / a, 5),
        bravais=bravais,
        reciprocal=[[round_significant(x / unit, 6) for x in vector] for vector in lattice.basis.tolist()],
        explained=round(explained, 4),
    )


def serialize_quality(spots: Spots, lattice: PatternLattice | None, lattice_sought: bool) -> QualitySchema:
    """Assess and convert the quality of a pattern."""
    length, intensity = np.hypot(*spots.q_inv_angstrom.T), spots.intensity
    quality, scale_is_known = assess_quality(spots, lattice, lattice_sought), spots.scale_is_known
    return QualitySchema(
        q_min=float(length.min()) if scale_is_known else None,
        q_max=float(length.max()) if scale_is_known else None,
        d_min=round(1 / float(length.max()), 4) if scale_is_known else None,
        dynamic_range=None if intensity is None else float(intensity.max() / intensity.min()),
        grade=quality.grade,
        advice=list(quality.advice),
        ellipticity=round_optional(quality.ellipticity, 5),
        ellipticity_sigma=(
            None if quality.ellipticity_sigma is None else round_significant(quality.ellipticity_sigma)
        ),
        **({} if spots.exposure is None else _serialize_exposure(spots.exposure)),
    )


def _serialize_exposure(exposure: Exposure) -> dict[str, Any]:
    """List the keys of `QualitySchema` that only frames have."""
    return {
        "saturated_spots": int(exposure.saturated.sum()),
        "center_method": exposure.center_method,
        "center_probability": round_optional(exposure.center_probability, 3),
        "paired_fraction": round(exposure.paired_fraction, 3),
        "beam_stop": exposure.beam_stop,
        "spot_width": round(exposure.spot_sigma_px, 2),
    }


def serialize_pattern(spots: Spots, *, keep_pixels: bool) -> RecordedPattern:
    """Convert the spots to points that `/predict` accepts.

    Args:
        spots: the pattern.
        keep_pixels: whether to give positions in pixels if the pattern has them.
    """
    in_pixels = keep_pixels and spots.pixels is not None and spots.center_px is not None
    positions = spots.pixels if in_pixels and spots.pixels is not None else spots.q_inv_angstrom
    columns = [positions] if spots.intensity is None else [positions, spots.intensity[:, None]]
    points = [[round_significant(value, 7) for value in row] for row in np.hstack(columns).tolist()]
    return RecordedPattern(
        points=points,
        units="pixel" if in_pixels else "1/angstrom",
        center=list(spots.center_px) if in_pixels and spots.center_px is not None else None,
        pixel_size=spots.pixel_size_inv_angstrom if in_pixels and spots.scale_is_known else None,
        scale_sigma=spots.scale_sigma if spots.scale_is_known else None,
    )


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
