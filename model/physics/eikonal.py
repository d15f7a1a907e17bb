"""Electron scattering by one atom beyond the Born approximation.

A fast electron that passes the nucleus at distance b gains the phase sigma v(b). The scattering factor is then complex
(Glauber's eikonal approximation; Schomaker & Glauber, Nature 170, 290, 1952):

    f(q) = 1/(i sigma) integral [exp(i sigma v(b)) - 1] exp(-2 pi i q . b) d2b,

with v the projected potential, the transform of the Born factor f_e, and sigma = gamma lambda. Its phase grows with q
and Z, to 0.84 radian for molybdenum at q = 1.6 and 80 kV. The phase difference between light and heavy atoms breaks
Friedel's law even for a flat layer, which is impossible with real factors.
"""

from functools import lru_cache

import numpy as np
import scipy.interpolate
import scipy.special
from numpy.typing import NDArray

from model.electrons import interaction_constant
from model.physics.scattering import electron_form_factor, select_gaussians

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ComplexArray = NDArray[np.complex128]

# The broadest Gaussian of the fits (cesium, B = 217 angstrom^2) falls to 1e-6 at 9 angstrom.
REACH_ANGSTROM = 9.0
RADIAL_POINTS = 600
Q_LIMIT_INV_ANGSTROM = 6.0
Q_STEP_INV_ANGSTROM = 0.02


def eikonal_form_factor(
    numbers: IntArray,
    q_inv_angstrom: FloatArray,
    voltage_kv: float,
    q_limit_inv_angstrom: float | None = None,
) -> ComplexArray:
    """Return the complex scattering factor of every atom at every |q|; it approaches f_e for light atoms and small q.

    Args:
        numbers: (N,) atomic numbers.
        q_inv_angstrom: (M,) |q| = 1/d, 1/angstrom, up to 6.
        voltage_kv: accelerating voltage.
        q_limit_inv_angstrom: cutoff of the potential in |q|, as on the grid of a multislice; it blunts the core of the
            atom and reduces the phase. It is rounded to 0.06. None means no cutoff.

    Returns:
        (M, N) scattering factors, angstrom (rest mass, as the Born factors).

    Raises:
        CrystalError: an element has no fit (beyond californium).
        OptionError: the voltage is not positive.
    """
    kinds, inverse = np.unique(numbers, return_inverse=True)
    limit = (
        None if q_limit_inv_angstrom is None else 3 * round(q_limit_inv_angstrom / Q_STEP_INV_ANGSTROM / 3)
    )
    columns = [_interpolate_factor(int(number), voltage_kv, limit)(q_inv_angstrom) for number in kinds]
    factors: ComplexArray = np.stack(columns, axis=1)[:, inverse]
    return factors


@lru_cache(maxsize=4096)
def _interpolate_factor(number: int, voltage_kv: float, limit: int | None) -> scipy.interpolate.CubicSpline:
    """Return the spline of an element's factor over |q|; the limit counts steps of |q|."""
    _, bessel, weight, q = _tabulate_hankel()
    phase = interaction_constant(voltage_kv) * (
        _project_potential(number) if limit is None else _project_blunt_potential(number, limit)
    )
    factor = bessel @ (weight * np.expm1(1j * phase) / (1j * interaction_constant(voltage_kv)))
    return scipy.interpolate.CubicSpline(q, factor)


def _project_potential(number: int) -> FloatArray:
    """Return the (R,) projected potential at the radii, the transform of the Born factor."""
    amplitude, width = select_gaussians(np.array([number]))[0].T
    amplitude, width = amplitude[width > 0], width[width > 0]
    radius = _tabulate_hankel()[0]
    # f_e = sum a exp(-B q^2 / 4) is the transform of sum a (4 pi / B) exp(-4 pi^2 b^2 / B).
    gaussians = np.exp(-4 * np.pi**2 * radius[:, None] ** 2 / width)
    return np.asarray(gaussians @ (4 * np.pi * amplitude / width))


def _project_blunt_potential(number: int, limit: int) -> FloatArray:
    """Return the (R,) projected potential of the Born factor cut off at a |q|, by the trapezoidal rule."""
    _, bessel, _, q = _tabulate_hankel()
    bessel, q = bessel[: limit + 1], q[: limit + 1]
    waves = 2 * np.pi * q * electron_form_factor(np.array([number]), q)[:, 0] * Q_STEP_INV_ANGSTROM
    waves[-1] /= 2
    return np.asarray(waves @ bessel)


@lru_cache(maxsize=1)
def _tabulate_hankel() -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return radii b (R,), J0(2 pi q b) (Q, R), weights of 2 pi b db (R,) and q (Q,)."""
    node, weight = np.polynomial.legendre.leggauss(RADIAL_POINTS)
    # Squared nodes are dense near the nucleus, where the potential is sharp.
    unit = (node + 1) / 2
    radius = REACH_ANGSTROM * unit**2
    q = np.arange(0, Q_LIMIT_INV_ANGSTROM + Q_STEP_INV_ANGSTROM, Q_STEP_INV_ANGSTROM)
    bessel = scipy.special.j0(2 * np.pi * np.outer(q, radius))
    return radius, bessel, 2 * np.pi * radius * REACH_ANGSTROM * unit * weight, q
