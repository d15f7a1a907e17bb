"""Electron scattering by one atom beyond the Born approximation.

An electron crosses an atom so fast that it only gains a phase, sigma v(b), at distance b from the nucleus.
The scattering factor is then complex (Glauber's eikonal; Schomaker & Glauber, Nature 170, 290, 1952):

    f(q) = 1/(i sigma) integral [exp(i sigma v(b)) - 1] exp(-2 pi i q . b) d2b,

with v the projected potential whose transform is the Born factor f_e, and sigma = gamma lambda. Its phase
grows with q and with Z, to 0.84 radian for molybdenum at q = 1.6 and 80 kV. Between light and heavy atoms that
difference breaks Friedel's law even for a flat layer, which no real factor can do.
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

# The broadest Gaussian of the fits (caesium's, B = 217 angstrom^2) is down to 1e-6 at 9 angstrom.
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
    """Complex scattering factor of every atom at every |q|; tends to f_e at low phase (light atoms, small q).

    Args:
        numbers: (N,) atomic numbers.
        q_inv_angstrom: (M,) |q| = 1/d, 1/angstrom, up to 6.
        voltage_kv: accelerating voltage.
        q_limit_inv_angstrom: the potential has no waves beyond this |q|, as on the grid of a multislice, which makes
            the atom's core blunt and its phase smaller; rounded to 0.06. None keeps all.

    Returns:
        (M, N) scattering factors, angstrom (rest mass, as the Born factors).

    Raises:
        CrystalError: an element without a fit (beyond californium).
        OptionError: a voltage that is not positive.
    """
    kinds, inverse = np.unique(numbers, return_inverse=True)
    limit = (
        None if q_limit_inv_angstrom is None else 3 * round(q_limit_inv_angstrom / Q_STEP_INV_ANGSTROM / 3)
    )
    columns = [_spline(int(number), voltage_kv, limit)(q_inv_angstrom) for number in kinds]
    factors: ComplexArray = np.stack(columns, axis=1)[:, inverse]
    return factors


@lru_cache(maxsize=4096)
def _spline(number: int, voltage_kv: float, limit: int | None) -> scipy.interpolate.CubicSpline:
    """Of one element; the potential has waves up to so many steps of |q|."""
    _, bessel, weight, q = _hankel()
    phase = interaction_constant(voltage_kv) * (
        _potential(number) if limit is None else _blunt(number, limit)
    )
    factor = bessel @ (weight * np.expm1(1j * phase) / (1j * interaction_constant(voltage_kv)))
    return scipy.interpolate.CubicSpline(q, factor)


def _potential(number: int) -> FloatArray:
    """(R,) whose transform is the Born factor, at the radii."""
    amplitude, width = select_gaussians(np.array([number]))[0].T
    amplitude, width = amplitude[width > 0], width[width > 0]
    radius = _hankel()[0]
    # f_e = sum a exp(-B q^2 / 4) is the transform of sum a (4 pi / B) exp(-4 pi^2 b^2 / B).
    gaussians = np.exp(-4 * np.pi**2 * radius[:, None] ** 2 / width)
    return np.asarray(gaussians @ (4 * np.pi * amplitude / width))


def _blunt(number: int, limit: int) -> FloatArray:
    """(R,) the same of the Born factor up to so many steps of |q|, by the trapezoidal rule."""
    _, bessel, _, q = _hankel()
    bessel, q = bessel[: limit + 1], q[: limit + 1]
    waves = 2 * np.pi * q * electron_form_factor(np.array([number]), q)[:, 0] * Q_STEP_INV_ANGSTROM
    waves[-1] /= 2
    return np.asarray(waves @ bessel)


@lru_cache(maxsize=1)
def _hankel() -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Radii b (R,), J0(2 pi q b) (Q, R), the weights of 2 pi b db (R,) and the q (Q,)."""
    node, weight = np.polynomial.legendre.leggauss(RADIAL_POINTS)
    # Squaring the nodes crowds them at the nucleus, where the potential is sharp.
    unit = (node + 1) / 2
    radius = REACH_ANGSTROM * unit**2
    q = np.arange(0, Q_LIMIT_INV_ANGSTROM + Q_STEP_INV_ANGSTROM, Q_STEP_INV_ANGSTROM)
    bessel = scipy.special.j0(2 * np.pi * np.outer(q, radius))
    return radius, bessel, 2 * np.pi * radius * REACH_ANGSTROM * unit * weight, q
