"""Suggest what to measure next if several candidates explain a pattern equally well."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import degrees, pi, radians, tan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.elements import element_symbol
from model.matching.fitting.likelihood import ROUGH_NOISE
from model.matching.match import Match
from model.matching.priors import FAINT_INTENSITY, INTENSITY_FLOOR
from model.physics.kinematic import Geometry, project_to_camera
from model.physics.reciprocal import list_reflections, reciprocal_lattice
from model.physics.static_multislice import StaticMultislice

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MeasurementMethod = Literal["element", "tilt", "resolution", "nothing"]

TILTS_DEG = (4.0, 7.0)
AZIMUTHS = 8
FAR_REACH_INV_ANGSTROM = 2.2
MIN_LOG_LIKELIHOOD_RATIO = 10.0
"""Smallest expected ln likelihood ratio of a measurement that is suggested."""
SAME_REFLECTION_INV_ANGSTROM = 0.02


@dataclass(frozen=True)
class NextMeasurement:
    """A measurement that would distinguish candidates.

    Attributes:
        method: detecting an element, another tilt, spots farther out, or nothing of this kind.
        advice: the same as a sentence.
        element: the element to detect.
        tilt_deg: angle between beam and normal.
        log_likelihood_ratio: expected ln likelihood ratio of the first two candidates; None for an element.
    """

    method: MeasurementMethod
    advice: str
    element: str | None = None
    tilt_deg: float | None = None
    log_likelihood_ratio: float | None = None


def suggest_next_measurement(
    crystals: Sequence[Crystal], matches: Sequence[Match], voltage_kv: float, q_max_inv_angstrom: float
) -> NextMeasurement:
    """Suggest what would distinguish candidates, the two most likely first.

    It is easiest to detect an element that only some of them contain. Otherwise the patterns of the first two are
    computed under other tilts, and farther out.

    Args:
        crystals: at least two candidates.
        matches: how each matches the pattern.
        voltage_kv: accelerating voltage.
        q_max_inv_angstrom: |q| of the outermost spot.
    """
    element = _choose_element(crystals)
    if element is not None:
        count = sum(element in crystal.elements for crystal in crystals)
        advice = (
            f"Look for {element} (EDS, EELS): {count} of the first {len(crystals)} candidates contain it."
        )
        return NextMeasurement("element", advice, element=element)
    leaders = list(zip(crystals[:2], matches[:2], strict=True))
    pair = [_OrientedCrystal.from_match(*leader, voltage_kv, q_max_inv_angstrom) for leader in leaders]
    tilt = _suggest_tilt(pair)
    if tilt is not None:
        return tilt
    wide = [_OrientedCrystal.from_match(*leader, voltage_kv, FAR_REACH_INV_ANGSTROM) for leader in leaders]
    return _suggest_reach(wide)


def _choose_element(crystals: Sequence[Crystal]) -> str | None:
    """Choose the element that divides the candidates most evenly; of several the heaviest, the easiest to detect."""
    present = [set(crystal.numbers.tolist()) for crystal in crystals]
    distinguishing = set.union(*present) - set.intersection(*present)
    if not distinguishing:
        return None
    half = len(crystals) / 2

    def rank(number: int) -> tuple[float, int]:
        return abs(sum(number in elements for elements in present) - half), -number

    return element_symbol(min(distinguishing, key=rank))


def _suggest_tilt(pair: "Sequence[_OrientedCrystal]") -> NextMeasurement | None:
    """Suggest the smallest tilt that distinguishes two crystals, if there is one."""
    angle = 2 * pi * np.arange(AZIMUTHS) / AZIMUTHS
    for tilt_deg in TILTS_DEG:
        tilts = tan(radians(tilt_deg)) * np.column_stack([np.cos(angle), np.sin(angle)])
        ratios = _expect_log_ratio(pair, tilts)
        # The sense of the tilt need not be known: the smaller ratio of both senses counts.
        ratios = np.minimum(ratios, np.roll(ratios, AZIMUTHS // 2))
        ratio, best = float(ratios.max()), int(ratios.argmax())
        if ratio > MIN_LOG_LIKELIHOOD_RATIO:
            axis = degrees(float(angle[best]) + pi / 2) % 180
            advice = (
                f"Tilt the flake by {tilt_deg:g} degrees, about an axis at {axis:.0f} degrees (from x to y of the "
                "pattern), and record another pattern."
            )
            return NextMeasurement("tilt", advice, tilt_deg=tilt_deg, log_likelihood_ratio=ratio)
    return None


def _suggest_reach(pair: "Sequence[_OrientedCrystal]") -> NextMeasurement:
    """Suggest spots farther out if they distinguish two crystals, otherwise a measurement of another kind."""
    ratio = float(_expect_log_ratio(pair, np.zeros((1, 2)))[0])
    if ratio > MIN_LOG_LIKELIHOOD_RATIO:
        advice = (
            f"Record spots up to {FAR_REACH_INV_ANGSTROM:g} 1/angstrom, with a shorter camera length and a longer "
            "exposure."
        )
        return NextMeasurement("resolution", advice, log_likelihood_ratio=ratio)
    advice = (
        f"Neither a tilt of up to {TILTS_DEG[-1]:g} degrees nor spots farther out would distinguish the first two "
        "candidates; measure the height or the number of layers."
    )
    return NextMeasurement("nothing", advice, log_likelihood_ratio=ratio)


@dataclass(frozen=True)
class _OrientedCrystal:
    """A crystal in the orientation in which it matches a pattern.

    Attributes:
        hk: (M, 2) indices of its reflections.
        q: (M, 2) their positions on the camera, 1/angstrom.
        turn: (2, 2) from rows in its frame to rows on the camera.
        sheets: its multislice.
    """

    hk: IntArray
    q: FloatArray
    turn: FloatArray
    sheets: StaticMultislice

    @classmethod
    def from_match(
        cls, crystal: Crystal, match: Match, voltage_kv: float, q_max_inv_angstrom: float
    ) -> "_OrientedCrystal":
        geometry = Geometry(rotation_deg=match.rotation_deg, mirrored=match.mirrored)
        flake = crystal.turn_over() if match.face_down else crystal
        hk = list_reflections(flake.lattice, q_max_inv_angstrom)
        return cls(
            hk=hk,
            q=project_to_camera(hk @ reciprocal_lattice(flake.lattice), geometry),
            turn=project_to_camera(np.eye(2), geometry),
            sheets=StaticMultislice.from_crystal(flake, voltage_kv, q_max_inv_angstrom),
        )

    def compute_intensities(self, tilts: FloatArray) -> FloatArray:
        """Return the intensities (T, M) relative to the strongest, under tilts (T, 2) in the camera's frame."""
        # q . tau is the same in both frames.
        intensity = self.sheets.compute_intensities(self.hk, tilts @ self.turn.T)
        return np.asarray(intensity / intensity.max(axis=1, keepdims=True))


def _expect_log_ratio(pair: Sequence[_OrientedCrystal], tilts: FloatArray) -> FloatArray:
    """Return the ln likelihood ratio (T,) of two crystals that patterns of the first under tilts (T, 2) would show."""
    first, second = pair
    if not len(first.hk) or not len(second.hk):  # the pattern ends before the first reflection of one of them
        return np.zeros(len(tilts))
    distance = np.linalg.norm(first.q[:, None] - second.q[None], axis=2)
    nearest = distance.argmin(axis=1)
    is_common = distance[np.arange(len(first.q)), nearest] < SAME_REFLECTION_INV_ANGSTROM
    intensity = first.compute_intensities(tilts)
    other = np.where(is_common, second.compute_intensities(tilts)[:, nearest], 0.0)
    difference = np.log(intensity + INTENSITY_FLOOR) - np.log(other + INTENSITY_FLOOR)
    weight = (intensity > FAINT_INTENSITY) / ROUGH_NOISE.compute_variance(intensity)
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    level = (weight * difference).sum(axis=1, keepdims=True) / total
    # Student's t, as in the fits: no single reflection decides alone.
    tails = np.log1p(weight * (difference - level) ** 2 / ROUGH_NOISE.freedom)
    return np.asarray((ROUGH_NOISE.freedom + 1) / 2 * tails.sum(axis=1))
