"""The scale of a pattern: whether it can be right, and what stands for it where nobody knows it."""

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError, OptionError
from model.pattern.options import Units
from model.pattern.spots import MIN_SPOTS

DIRECT_BEAM_RADIUS_INV_ANGSTROM = 0.03
"""A spot nearer to the centre belongs to the direct beam."""
MAX_COMPARED_Q_INV_ANGSTROM = 1.6
"""The towers see no spot beyond it."""
MAX_PLAUSIBLE_Q_INV_ANGSTROM = 10.0
NOMINAL_RADIUS_INV_ANGSTROM = 1.2
"""Radius within which 95 % of the spots lie in the units of a pattern of unknown scale."""
_NOMINAL_SHARE = 0.95


def nominal_pixel_size(offsets_px: NDArray[np.float64]) -> float:
    """A size of a pixel to compute in where nobody knows the true one, 1/angstrom: spots get usual lengths by it.

    Args:
        offsets_px: (N, 2) from the direct beam, which may be among them.

    Raises:
        NoSpotsError: they all lie on the direct beam.
    """
    radius = float(np.quantile(np.hypot(*offsets_px.T), _NOMINAL_SHARE)) if len(offsets_px) else 0.0
    if radius == 0:
        raise NoSpotsError("all spots lie on the direct beam; check the centre")
    return NOMINAL_RADIUS_INV_ANGSTROM / radius


def require_plausible_scale(
    q_inv_angstrom: NDArray[np.float64], units: Units, pixel_size_inv_angstrom: float | None = None
) -> None:
    """Refuse a scale that leaves fewer than three spots where they can be compared, or puts one absurdly far.

    Args:
        q_inv_angstrom: (N, 2), the direct beam may be among them.
        units: of the positions, as they were taken.
        pixel_size_inv_angstrom: the scale of positions in pixels.

    Raises:
        OptionError: the scale cannot be right. Fewer than three spots at any scale are the caller's to refuse.
    """
    length = np.linalg.norm(q_inv_angstrom, axis=1)
    near = length <= DIRECT_BEAM_RADIUS_INV_ANGSTROM
    compared = int((~near & (length <= MAX_COMPARED_Q_INV_ANGSTROM)).sum())
    spots = len(length) - int(near.any())
    if spots < MIN_SPOTS or (compared >= MIN_SPOTS and length.max() <= MAX_PLAUSIBLE_Q_INV_ANGSTROM):
        return
    scale = f"units={units}"
    advice = "are units right? Say units=1/nm, or units=pixel with pixel_size, if positions are in those"
    if units == "pixel":
        scale = f"{pixel_size_inv_angstrom:.6g} 1/angstrom per pixel"
        advice = "is pixel_size right? It is in 1/angstrom per pixel, a tenth of the value in 1/nm"
    raise OptionError(
        f"with this scale ({scale}) {compared} of {spots} spots lie within {DIRECT_BEAM_RADIUS_INV_ANGSTROM} to "
        f"{MAX_COMPARED_Q_INV_ANGSTROM} 1/angstrom, where patterns are compared ({MIN_SPOTS} are needed), "
        f"and the farthest at {length.max():.3g}; {advice}"
    )
