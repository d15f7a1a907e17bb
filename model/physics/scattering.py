"""Atomic scattering factors.

Electron factors are the four-Gaussian fits that come with pymatgen (`atomic_scattering_params.json`, after
De Graef & McHenry, "Structure of Materials", 2007): f_e(s) = sum_i a_i exp(-b_i s^2), s = |q|/2, in angstrom.
X-ray factors follow from them by the Mott-Bethe relation in the same reference:
f_x(s) = Z - 41.78214 s^2 f_e(s), in electrons.
"""

import json
from functools import cache
from importlib.resources import files
from math import pi

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from model.errors import CrystalError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SYMBOLS = tuple(chemical_symbols[:99])
"""Symbols by atomic number, up to californium; 0 is a placeholder."""

MOTT_BETHE_PER_ANGSTROM = 41.78214


@cache
def _load_gaussians() -> FloatArray:
    """Return (99, 4, 2) amplitudes (angstrom) and widths (angstrom^2) by atomic number; NaN where there is no fit."""
    text = files("pymatgen.analysis.diffraction").joinpath("atomic_scattering_params.json").read_text()
    fits = json.loads(text)
    table = np.full((len(SYMBOLS), 4, 2), np.nan)
    for number, symbol in enumerate(SYMBOLS):
        if symbol in fits:
            table[number] = fits[symbol]
    # The third amplitude of tin is misprinted in the table (2.118), which makes its f_e 14 % smaller than those of both
    # neighbors; the mean of their parameters agrees with Lobato & van Dyck (2014) within 1.6 %.
    table[50] = (table[49] + table[51]) / 2
    table.setflags(write=False)
    return table


def select_gaussians(numbers: IntArray) -> FloatArray:
    """Return (N, 4, 2) amplitudes (angstrom) and widths (angstrom^2) of the fits; an unused Gaussian is all zero.

    Raises:
        CrystalError: an element has no fit (beyond californium).
    """
    if np.max(numbers) >= len(SYMBOLS) or np.isnan(_load_gaussians()[numbers]).any():
        raise CrystalError(
            "Scattering factors are not available for elements beyond californium; exclude the crystal."
        )
    gaussians: FloatArray = _load_gaussians()[numbers]
    return gaussians


def electron_form_factor(numbers: IntArray, q_inv_angstrom: FloatArray) -> FloatArray:
    """Return the electron scattering factor f_e of every atom at every |q|.

    Args:
        numbers: (N,) atomic numbers.
        q_inv_angstrom: (M,) |q| = 1/d, 1/angstrom.

    Returns:
        (M, N) scattering factors, angstrom (Born approximation, rest mass).

    Raises:
        CrystalError: an element has no fit (beyond californium).
    """
    kinds, kind_of = np.unique(numbers, return_inverse=True)
    return electron_form_factors_by_element(kinds, q_inv_angstrom)[kind_of].T


def electron_form_factors_by_element(kinds: IntArray, q_inv_angstrom: FloatArray) -> FloatArray:
    """Return (K, M) electron scattering factors of (K,) different atomic numbers; see `electron_form_factor`."""
    amplitude, width = select_gaussians(kinds)[..., None].transpose(2, 0, 1, 3)
    s2 = (np.asarray(q_inv_angstrom) / 2) ** 2
    return np.asarray((amplitude * np.exp(-width * s2)).sum(axis=1))


def xray_form_factor(numbers: IntArray, q_inv_angstrom: FloatArray) -> FloatArray:
    """Return X-ray scattering factors f_x, (M, N) electrons, for (N,) atomic numbers at (M,) |q| in 1/angstrom."""
    s2 = (np.asarray(q_inv_angstrom) / 2) ** 2
    return numbers - MOTT_BETHE_PER_ANGSTROM * s2[:, None] * electron_form_factor(numbers, q_inv_angstrom)


def polarization_factor(q_inv_angstrom: FloatArray, wavelength_angstrom: float) -> FloatArray:
    """Return (1 + cos^2 2 theta) / 2 with 2 sin(theta) = lambda |q| at (M,) |q|, for unpolarized X-rays."""
    sin_theta = np.clip(wavelength_angstrom * q_inv_angstrom / 2, 0, 1)
    cos_two_theta = 1 - 2 * sin_theta**2
    factor: FloatArray = (1 + cos_two_theta**2) / 2
    return factor


DEBYE_WALLER_PER_SQUARED_DISPLACEMENT = 8 * pi**2
"""B = 8 pi^2 <u^2> along one axis, angstrom^2."""
