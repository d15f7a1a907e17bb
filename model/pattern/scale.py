"""Units and scale of a pattern: spellings of units, plausible scales, and a nominal one if the scale is unknown."""

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError, OptionError
from model.pattern.spots import DIRECT_BEAM_RADIUS_INV_ANGSTROM, MIN_SPOTS

Units = Literal["1/angstrom", "1/nm", "pixel"]

MAX_COMPARED_Q_INV_ANGSTROM = 1.6
"""The towers ignore spots beyond it."""
MAX_PLAUSIBLE_Q_INV_ANGSTROM = 10.0
PIXEL_SIZE_RANGE_INV_ANGSTROM = (1e-5, 0.1)
"""Between these lies every pixel size that a file may state."""
NOMINAL_RADIUS_INV_ANGSTROM = 1.2
"""Radius that holds 95 % of the spots in the nominal units of a pattern of unknown scale."""
_NOMINAL_SHARE = 0.95

REAL_SPACE_UNITS = {"m", "mm", "um", "µm", "μm", "nm", "å", "a", "angstrom", "pm"}
_UNIT_SPELLINGS: tuple[tuple[Units, re.Pattern[str]], ...] = (
    ("pixel", re.compile(r"(in_)?(px|pix|pixels?)")),
    ("1/nm", re.compile(r"1/nm|/nm|nm_?(\^?[-−]1|⁻¹|\*\*-1)|inv_?nm|per_?nm|nm_?inv|reciprocal_?nm")),
    (
        "1/angstrom",
        re.compile(
            r"1/(å|a|ang|angstroms?)|/(å|ang|angstroms?)|(å|a|ang|angstroms?)_?(\^?[-−]1|⁻¹|\*\*-1)|"
            r"inv_?(å|a|ang|angstroms?)|per_?(å|a|ang|angstroms?)|(å|ang|angstroms?)_?inv"
        ),
    ),
)


def parse_units(text: str) -> Units | None:
    """Return the units denoted by a text such as `nm⁻¹`, `1/Å` or `px`, or None."""
    cleaned = re.sub(r"[\s_]+", "_", text.strip().lower().replace("\\u207b\\u00b9", "⁻¹")).strip("_")
    for units, spelling in _UNIT_SPELLINGS:
        if spelling.fullmatch(cleaned):
            return units
    return None


def is_plausible_pixel_size(pixel_size_inv_angstrom: float) -> bool:
    """Return whether a pixel size stated in a file is plausible, in 1/angstrom."""
    smallest, largest = PIXEL_SIZE_RANGE_INV_ANGSTROM
    return smallest < pixel_size_inv_angstrom < largest


def choose_nominal_pixel_size(offsets_px: NDArray[np.float64]) -> float:
    """Return a nominal pixel size for use if the true one is unknown, in 1/angstrom.

    It places 95 % of the spots within 1.2 1/angstrom, where spots of two-dimensional crystals usually lie.

    Args:
        offsets_px: (N, 2) positions relative to the direct beam, which may be among them.

    Raises:
        NoSpotsError: All spots lie on the direct beam.
    """
    radius = float(np.quantile(np.hypot(*offsets_px.T), _NOMINAL_SHARE)) if len(offsets_px) else 0.0
    if radius == 0:
        raise NoSpotsError("All spots lie on the direct beam; check the center.")
    return NOMINAL_RADIUS_INV_ANGSTROM / radius


def require_plausible_scale(
    q_inv_angstrom: NDArray[np.float64], units: Units, pixel_size_inv_angstrom: float | None = None
) -> None:
    """Reject a scale that leaves fewer than three spots in the compared range, or places one implausibly far out.

    Fewer than three spots at any scale are left to the caller.

    Args:
        q_inv_angstrom: (N, 2); the direct beam may be among them.
        units: units in which the positions were given.
        pixel_size_inv_angstrom: pixel size, for positions in pixels.

    Raises:
        OptionError: The scale is wrong.
    """
    length = np.linalg.norm(q_inv_angstrom, axis=1)
    in_direct_beam = length <= DIRECT_BEAM_RADIUS_INV_ANGSTROM
    compared = int((~in_direct_beam & (length <= MAX_COMPARED_Q_INV_ANGSTROM)).sum())
    spots = len(length) - int(in_direct_beam.any())
    if spots < MIN_SPOTS or (compared >= MIN_SPOTS and length.max() <= MAX_PLAUSIBLE_Q_INV_ANGSTROM):
        return
    scale = f"units={units}"
    advice = "Check units: use units=1/nm, or units=pixel with pixel_size, if the positions are in one of these units."
    if units == "pixel":
        scale = f"{pixel_size_inv_angstrom:.6g} 1/angstrom per pixel"
        advice = "Check pixel_size: it is in 1/angstrom per pixel, a tenth of the value in 1/nm."
    raise OptionError(
        f"With this scale ({scale}), {compared} of {spots} spots lie between {DIRECT_BEAM_RADIUS_INV_ANGSTROM} and "
        f"{MAX_COMPARED_Q_INV_ANGSTROM} 1/angstrom, where patterns are compared, and {MIN_SPOTS} are needed; the "
        f"farthest spot lies at {length.max():.3g} 1/angstrom. {advice}"
    )
