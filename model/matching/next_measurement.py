"""What to measure next where several candidates explain a pattern alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import degrees, pi, radians, tan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.elements import element_symbol
from model.matching.fitting.likelihood import FAINT_INTENSITY, INTENSITY_FLOOR, ROUGH_NOISE
from model.matching.match import Match
from model.physics.kinematic import Geometry, on_camera
from model.physics.reciprocal import reciprocal_lattice, reflections
from model.physics.sheets import Sheets

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MeasurementMethod = Literal["element", "tilt", "resolution", "nothing"]

TILTS_DEG = (4.0, 7.0)
AZIMUTHS = 8
FARTHER_INV_ANGSTROM = 2.2
# ln of the likelihood ratio that a measurement has to promise.
DECISIVE = 10.0
SAME_BEAM_INV_ANGSTROM = 0.02


@dataclass(frozen=True)
class NextMeasurement:
    """What would part candidates.

    Attributes:
        method: looking for an element, another tilt, spots farther out, or nothing of the kind.
        advice: the same as a sentence.
        element: to look for.
        tilt_deg: away from the normal.
        log_likelihood_ratio: ln of the likelihood ratio of the first two that it promises; None for an element.
    """

    method: MeasurementMethod
    advice: str
    element: str | None = None
    tilt_deg: float | None = None
    log_likelihood_ratio: float | None = None


def suggest_next_measurement(
    crystals: Sequence[Crystal], matches: Sequence[Match], voltage_kv: float, q_max_inv_angstrom: float
) -> NextMeasurement:
    """What would part candidates that explain a pattern alike, the likeliest two first.

    An element that some have and others lack is cheapest to look for. Else their patterns are computed under other
    tilts, and farther out.

    Args:
        crystals: at least two.
        matches: how each lies on the pattern.
        voltage_kv: accelerating voltage.
        q_max_inv_angstrom: how far the pattern reaches.
    """
    element = _parting_element(crystals)
    if element is not None:
        holds = sum(element in crystal.elements for crystal in crystals)
        return NextMeasurement(
            "element",
            f"Look for {element} (EDS, EELS): {holds} of the first {len(crystals)} candidates hold it.",
            element=element,
        )
    leaders = list(zip(crystals[:2], matches[:2], strict=True))
    pair = [_Lying.of(*each, voltage_kv, q_max_inv_angstrom) for each in leaders]
    for tilt_deg in TILTS_DEG:
        angle = 2 * pi * np.arange(AZIMUTHS) / AZIMUTHS
        tilts = tan(radians(tilt_deg)) * np.column_stack([np.cos(angle), np.sin(angle)])
        ratios = _expected_ratio(pair, tilts)
        # Nobody has to know which sense of a tilt is the positive one: what either promises counts.
        ratios = np.minimum(ratios, np.roll(ratios, AZIMUTHS // 2))
        ratio, best = float(ratios.max()), int(ratios.argmax())
        if ratio > DECISIVE:
            axis = degrees(float(angle[best]) + pi / 2) % 180
            return NextMeasurement(
                "tilt",
                f"Tilt the flake by {tilt_deg:g} degrees from its normal, about an axis at {axis:.0f} degrees (from x "
                "to y of the pattern), and take another pattern.",
                tilt_deg=tilt_deg,
                log_likelihood_ratio=ratio,
            )
    wider = [_Lying.of(*each, voltage_kv, FARTHER_INV_ANGSTROM) for each in leaders]
    farther = float(_expected_ratio(wider, np.zeros((1, 2)))[0])
    if farther > DECISIVE:
        return NextMeasurement(
            "resolution",
            f"Record spots up to {FARTHER_INV_ANGSTROM:g} 1/angstrom (a shorter camera length, a longer exposure).",
            log_likelihood_ratio=farther,
        )
    return NextMeasurement(
        "nothing",
        "Neither tilting up to "
        f"{TILTS_DEG[-1]:g} degrees nor spots farther out would part the first two; "
        "measure the height or the number of layers.",
        log_likelihood_ratio=farther,
    )


def _parting_element(crystals: Sequence[Crystal]) -> str | None:
    """The element that divides the candidates most evenly; of equals the heaviest, which is easiest to find."""
    present = [set(crystal.numbers.tolist()) for crystal in crystals]
    parting = set.union(*present) - set.intersection(*present)
    if not parting:
        return None
    middle = len(crystals) / 2
    return element_symbol(
        min(parting, key=lambda number: (abs(sum(number in each for each in present) - middle), -number))
    )


@dataclass(frozen=True)
class _Lying:
    """A crystal as it lies on the camera.

    Attributes:
        hk: (M, 2) indices of its beams.
        q: (M, 2) where they are on the camera, 1/angstrom.
        turn: (2, 2) from rows in its frame to rows on the camera.
        sheets: its multislice.
    """

    hk: IntArray
    q: FloatArray
    turn: FloatArray
    sheets: Sheets

    @classmethod
    def of(cls, crystal: Crystal, match: Match, voltage_kv: float, q_max_inv_angstrom: float) -> "_Lying":
        geometry = Geometry(rotation_deg=match.rotation_deg, mirrored=match.mirrored)
        flake = crystal.turned_over() if match.face_down else crystal
        hk = reflections(flake.lattice, q_max_inv_angstrom)
        return cls(
            hk=hk,
            q=on_camera(hk @ reciprocal_lattice(flake.lattice), geometry),
            turn=on_camera(np.eye(2), geometry),
            sheets=Sheets.of(flake, voltage_kv, q_max_inv_angstrom),
        )

    def intensities(self, tilts: FloatArray) -> FloatArray:
        """(T, M) over the strongest, under tilts (T, 2) in the camera's frame."""
        # q . tau is the same in both frames.
        intensity = self.sheets.intensities(self.hk, tilts @ self.turn.T)
        return np.asarray(intensity / intensity.max(axis=1, keepdims=True))


def _expected_ratio(pair: Sequence[_Lying], tilts: FloatArray) -> FloatArray:
    """(T,) ln of the likelihood ratio that a pattern of the first, under each tilt, would give it over the second."""
    first, second = pair
    if not len(first.hk) or not len(second.hk):  # no beam of one as far as the pattern reaches
        return np.zeros(len(tilts))
    distance = np.linalg.norm(first.q[:, None] - second.q[None], axis=2)
    nearest = distance.argmin(axis=1)
    meets = distance[np.arange(len(first.q)), nearest] < SAME_BEAM_INV_ANGSTROM
    intensity = first.intensities(tilts)
    against = np.where(meets, second.intensities(tilts)[:, nearest], 0.0)
    difference = np.log(intensity + INTENSITY_FLOOR) - np.log(against + INTENSITY_FLOOR)
    weight = (intensity > FAINT_INTENSITY) / ROUGH_NOISE.variance(intensity)
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    level = (weight * difference).sum(axis=1, keepdims=True) / total
    # Tails as those of the fit: a single beam never decides alone.
    tails = np.log1p(weight * (difference - level) ** 2 / ROUGH_NOISE.freedom)
    return np.asarray((ROUGH_NOISE.freedom + 1) / 2 * tails.sum(axis=1))
