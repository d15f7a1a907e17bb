"""What to measure next where several candidates explain a pattern alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin, tan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.elements import element_symbol
from model.matching.fit import FAINT, FLOOR, MODEL_SIGMA, SPOT_SIGMA
from model.matching.match import Match
from model.physics.kinematic import Geometry, on_camera
from model.physics.multislice import Sheets
from model.physics.reciprocal import reciprocal_lattice, reflections

FloatArray = NDArray[np.float64]

By = Literal["element", "tilt", "resolution", "nothing"]

TILTS_DEG = (4.0, 7.0)
AZIMUTHS = 8
FARTHER_INV_ANGSTROM = 2.2
# ln of the likelihood ratio that a measurement has to promise.
DECISIVE = 10.0
SAME_BEAM_INV_ANGSTROM = 0.02


@dataclass(frozen=True)
class Measurement:
    """What would part candidates.

    Attributes:
        by: looking for an element, another tilt, spots farther out, or nothing of the kind.
        text: the same as a sentence.
        element: to look for.
        tilt_deg: away from the normal.
        log_ratio: ln of the likelihood ratio of the first two that it promises; None for an element.
    """

    by: By
    text: str
    element: str | None = None
    tilt_deg: float | None = None
    log_ratio: float | None = None


def distinguishing(
    crystals: Sequence[Crystal], matches: Sequence[Match], voltage_kv: float, q_max_inv_angstrom: float
) -> Measurement:
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
        return Measurement(
            "element",
            f"Look for {element} (EDS, EELS): {holds} of the first {len(crystals)} candidates hold it.",
            element=element,
        )
    pair = [
        _Lying.of(crystal, match, voltage_kv) for crystal, match in zip(crystals[:2], matches, strict=False)
    ]
    for tilt_deg in TILTS_DEG:
        ratio = max(
            _expected_ratio(pair, tilt_deg, 360.0 * step / AZIMUTHS, q_max_inv_angstrom)
            for step in range(AZIMUTHS)
        )
        if ratio > DECISIVE:
            return Measurement(
                "tilt",
                f"Tilt the flake by {tilt_deg:g} degrees and take another pattern.",
                tilt_deg=tilt_deg,
                log_ratio=ratio,
            )
    farther = _expected_ratio(pair, 0.0, 0.0, FARTHER_INV_ANGSTROM)
    if farther > DECISIVE:
        return Measurement(
            "resolution",
            f"Record spots up to {FARTHER_INV_ANGSTROM:g} 1/angstrom (a shorter camera length, a longer exposure).",
            log_ratio=farther,
        )
    return Measurement(
        "nothing",
        "Neither tilting up to "
        f"{TILTS_DEG[-1]:g} degrees nor spots farther out would part the first two; "
        "measure the height or the number of layers.",
        log_ratio=farther,
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
    """A crystal as it lies on the camera."""

    crystal: Crystal
    voltage_kv: float
    geometry: Geometry

    @classmethod
    def of(cls, crystal: Crystal, match: Match, voltage_kv: float) -> "_Lying":
        geometry = Geometry(rotation_deg=match.rotation_deg, mirrored=match.mirrored)
        return cls(crystal.turned_over() if match.face_down else crystal, voltage_kv, geometry)

    def seen(self, tilt: FloatArray, q_max_inv_angstrom: float) -> tuple[FloatArray, FloatArray]:
        """(M, 2) beams and (M,) their intensities over the strongest, under a tilt (2,) in the camera's frame."""
        hk = reflections(self.crystal.lattice, q_max_inv_angstrom)
        q = hk @ reciprocal_lattice(self.crystal.lattice)
        map_ = on_camera(np.eye(2), self.geometry)
        own = np.asarray(np.linalg.solve(map_.T, tilt), dtype=np.float64)
        intensity = Sheets.of(self.crystal, self.voltage_kv, q_max_inv_angstrom).intensities(hk, own[None])[0]
        return on_camera(q, self.geometry), intensity / intensity.max()


def _expected_ratio(
    pair: Sequence[_Lying], tilt_deg: float, azimuth_deg: float, q_max_inv_angstrom: float
) -> float:
    """ln of the likelihood ratio that a pattern of the first would give it over the second."""
    tangent = tan(radians(tilt_deg))
    tilt = tangent * np.array([cos(radians(azimuth_deg)), sin(radians(azimuth_deg))])
    (q, intensity), (other_q, other) = (each.seen(tilt, q_max_inv_angstrom) for each in pair)
    distance = np.linalg.norm(q[:, None] - other_q[None], axis=2)
    nearest = distance.argmin(axis=1)
    meets = distance[np.arange(len(q)), nearest] < SAME_BEAM_INV_ANGSTROM
    bright = intensity > FAINT
    against = np.where(meets, other[nearest], 0.0)
    difference = np.log(intensity + FLOOR) - np.log(against + FLOOR)
    weight = bright / (MODEL_SIGMA**2 + SPOT_SIGMA**2 + FAINT / (intensity + 1e-3))
    difference = difference - (weight * difference).sum() / max(float(weight.sum()), 1e-9)
    # Tails as those of the fit: a single beam never decides alone.
    return float((np.log1p(weight * difference**2 / 4) * 2.5).sum())
