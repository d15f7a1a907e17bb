"""Whether intensities can be those of diffraction at all."""

from math import log

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_MINIMUM_SPOTS = 30
_MINIMUM_RANGE_INV_ANGSTROM = 0.8
_SHALLOWEST_SLOPE_ANGSTROM = -0.5
_NEAR_INV_ANGSTROM, _FAR_FAINTER = 0.25, 0.05
_MINIMUM_STRONG, _STRONG_RANGE_INV_ANGSTROM = 12, 0.6


def intensities_fall_off(q_inv_angstrom: FloatArray, intensity: FloatArray) -> bool:
    """Whether ln I falls with |q|, as every atom's scattering factor makes it.

    The squared electron scattering factors of all elements fall by more than a factor of ten from 0.3 to
    1.2 1/angstrom (X-rays' by three at least), a slope of ln I below -1 angstrom. Rounding noise and numbers
    that are no intensities show none. True where too few spots, or too small a range, allow no judgement.

    Args:
        q_inv_angstrom: (N, 2) without the direct beam.
        intensity: (N,) positive.
    """
    length = np.linalg.norm(q_inv_angstrom, axis=1)
    if len(length) < _MINIMUM_SPOTS or np.ptp(length) < _MINIMUM_RANGE_INV_ANGSTROM:
        return True
    logarithm = np.log(intensity)
    if _falls(length, logarithm):
        return True
    # Spots far fainter than others about as far out, of a superstructure perhaps, are seen near the centre alone.
    outwards = np.argsort(length, kind="stable")
    length, logarithm = length[outwards], logarithm[outwards]
    first = np.searchsorted(length, length - _NEAR_INV_ANGSTROM, side="right")
    beyond = np.searchsorted(length, length + _NEAR_INV_ANGSTROM, side="left")
    ends = np.column_stack([first, beyond]).ravel()
    strongest = np.maximum.reduceat(np.append(logarithm, -np.inf), ends)[::2]
    strong = logarithm > strongest + log(_FAR_FAINTER)
    enough = (
        np.count_nonzero(strong) >= _MINIMUM_STRONG and np.ptp(length[strong]) >= _STRONG_RANGE_INV_ANGSTROM
    )
    return bool(enough) and _falls(length[strong], logarithm[strong])


def _falls(length: FloatArray, logarithm: FloatArray) -> bool:
    """Whether ln I falls with |q|, surely, as steeply as an atom's."""
    x = length - length.mean()
    slope = float(x @ logarithm / (x @ x))
    residual = logarithm - logarithm.mean() - slope * x
    error = float(np.sqrt(residual @ residual / (len(x) - 2) / (x @ x)))
    return slope - 2 * error < _SHALLOWEST_SLOPE_ANGSTROM
