"""What one atom scatters beyond the first Born approximation.

An atom turns the phase of the wave behind it by chi(r) = sigma V(r); what it scatters is the transform of
exp(i chi) - 1, of which i chi is the first term (Glauber's approximation; Kirkland, "Advanced Computing in Electron
Microscopy", chapter 5). The heavier the atom the more the phase of its wave lags, so that light and heavy atoms of a
layer do not interfere as their Born amplitudes would.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0

from model.electrons import interaction_constant
from model.physics.scattering import electron_form_factor

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

# Radii times the band limit, and |q| over it: fine enough for its waves, and as far out as an atom reaches.
_RADII = np.linspace(0.0, 12.0, 400)
_SHARES = np.linspace(0.0, 1.0, 120)
_LIMIT_STEP = 0.05


def scattering_over_born(
    numbers: NDArray[np.int64], q_inv_angstrom: FloatArray, voltage_kv: float, q_limit: float
) -> ComplexArray:
    """(M, N) ratio of what atoms scatter to their Born amplitude, for (N,) atomic numbers at (M,) |q|.

    Args:
        numbers: atomic numbers.
        q_inv_angstrom: |q| = 1/d, 1/angstrom.
        voltage_kv: accelerating voltage.
        q_limit: |q| up to which the potential is taken to have waves, as a multislice's grid has, 1/angstrom.
    """
    limit = max(round(q_limit / _LIMIT_STEP), 1) * _LIMIT_STEP
    kinds, kind_of = np.unique(numbers, return_inverse=True)
    share = np.asarray(q_inv_angstrom) / limit
    ratios = [_ratio(int(kind), float(voltage_kv), limit) for kind in kinds]
    at = [np.interp(share, _SHARES, each.real) + 1j * np.interp(share, _SHARES, each.imag) for each in ratios]
    return np.stack(at, axis=1)[:, kind_of]


@cache
def _bessel() -> FloatArray:
    """(Q, R) J0(2 pi q r)."""
    return np.asarray(j0(2 * np.pi * np.outer(_SHARES, _RADII)))


@cache
def _ratio(number: int, voltage_kv: float, limit: float) -> ComplexArray:
    """(Q,) for one element at `_SHARES` of the limit; lengths are in units of 1 / limit."""
    born = electron_form_factor(np.array([number]), _SHARES * limit)[:, 0] * limit**2
    bessel, step = _bessel(), _RADII[1]
    potential = (2 * np.pi * _SHARES * born) @ bessel * _SHARES[1]
    turn = interaction_constant(voltage_kv) * potential
    wave = bessel @ (2 * np.pi * _RADII * (np.exp(1j * turn) - 1)) * step
    # Over the transform of the first term, so that what the grid leaves out of both does not count.
    return np.asarray(wave / (1j * (bessel @ (2 * np.pi * _RADII * turn)) * step))
