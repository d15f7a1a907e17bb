"""Scattering factors for X-rays and electrons, in Born and eikonal approximation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.crystal.crystal import Crystal
from model.electrons import electron_wavelength_angstrom, interaction_constant
from model.errors import CrystalError, OptionError
from model.physics.eikonal import eikonal_form_factor
from model.physics.kinematic import Geometry, compute_structure_factors
from model.physics.scattering import SYMBOLS, electron_form_factor, polarization_factor, xray_form_factor

EVERY = np.arange(1, len(SYMBOLS))


def test_symbols_are_those_of_the_periodic_table() -> None:
    assert [SYMBOLS[number] for number in (1, 6, 42, 79, 98)] == ["H", "C", "Mo", "Au", "Cf"]


def test_wavelengths_and_interaction_constant_are_those_of_textbooks() -> None:
    # Kirkland, "Advanced Computing in Electron Microscopy": 0.04176 angstrom at 80 kV, 0.01969 at 300 kV.
    assert electron_wavelength_angstrom(80.0) == pytest.approx(0.04176, abs=5e-6)
    assert electron_wavelength_angstrom(300.0) == pytest.approx(0.01969, abs=5e-6)
    # sigma = 0.001009 radian / (volt angstrom) at 80 kV, and 1 angstrom of f_e is 47.878 volt cubic angstrom.
    assert interaction_constant(80.0) / 47.878 == pytest.approx(0.001009, abs=2e-6)


def test_xrays_see_every_electron_at_q_0() -> None:
    assert xray_form_factor(EVERY, np.array([0.0]))[0] == pytest.approx(EVERY)


def test_xray_factors_fall_and_stay_positive() -> None:
    factors = xray_form_factor(np.array([6, 16, 42, 74]), np.linspace(0, 1.2, 30))
    assert (np.diff(factors, axis=0) < 0).all()
    assert (factors > 0).all()


def test_xray_factor_of_carbon() -> None:
    # Cromer & Mann's fit, Acta Cryst. A24, 321, 1968; International Tables C, table 6.1.1.4.
    a, b, c = [2.31, 1.02, 1.5886, 0.865], [20.8439, 10.2075, 0.5687, 51.6512], 0.2156
    s = np.linspace(0.05, 0.8, 16)
    expected = np.exp(-np.outer(s**2, b)) @ a + c
    assert xray_form_factor(np.array([6]), 2 * s)[:, 0] == pytest.approx(expected, abs=0.06)


def test_polarization_factor() -> None:
    # 2 theta = 0, 90 and 180 degrees: 2 sin(theta) = lambda q.
    q = np.array([0.0, np.sqrt(2) / 1.54, 2 / 1.54])
    assert polarization_factor(q, 1.54) == pytest.approx([1.0, 0.5, 1.0])


def test_xrays_at_normal_incidence_reach_q_of_one_wave_number(mos2: Crystal) -> None:
    geometry = Geometry(radiation="xray", q_max_inv_angstrom=1.6)
    reflections = compute_structure_factors(mos2, geometry)
    q = np.linalg.norm(reflections.q_inv_angstrom, axis=1)
    wave_number = 1 / geometry.wavelength
    assert 0 < len(q) < len(compute_structure_factors(mos2, Geometry()).hk)
    assert q.max() <= wave_number
    # Scattered by 2 theta with sin(2 theta) = lambda q, and q_z = (1 - cos(2 theta)) / lambda.
    assert reflections.qz_inv_angstrom == pytest.approx(wave_number - np.sqrt(wave_number**2 - q**2))
    half = len(reflections.hk) // 2
    assert (reflections.hk[:half] == -reflections.hk[half:]).all()


def test_xray_intensity_of_one_atom_is_the_squared_factor_times_the_polarization() -> None:
    lone = Crystal("Cu", "test", np.diag([3.0, 3.5]), np.array([29]), np.zeros((1, 3)))
    geometry = Geometry(radiation="xray", wavelength_angstrom=0.5, q_max_inv_angstrom=1.0)
    reflections = compute_structure_factors(lone, geometry)
    length = np.hypot(np.linalg.norm(reflections.q_inv_angstrom, axis=1), reflections.qz_inv_angstrom)
    cos_scattering = 1 - (0.5 * length) ** 2 / 2
    expected = xray_form_factor(np.array([29]), length)[:, 0] ** 2 * (1 + cos_scattering**2) / 2
    assert reflections.intensity == pytest.approx(expected)


def test_no_factors_beyond_californium() -> None:
    with pytest.raises(CrystalError, match="californium"):
        electron_form_factor(np.array([6, 99]), np.array([0.5]))
    with pytest.raises(CrystalError, match="californium"):
        eikonal_form_factor(np.array([99]), np.array([0.5]), 80.0)


def test_a_voltage_is_positive() -> None:
    with pytest.raises(OptionError):
        electron_wavelength_angstrom(float("nan"))


def test_eikonal_tends_to_born_as_the_phase_vanishes() -> None:
    q = np.linspace(0.1, 1.6, 20)
    ratio = eikonal_form_factor(np.array([1]), q, 300.0) / electron_form_factor(np.array([1]), q)
    assert np.abs(ratio - 1).max() < 0.05
    light, heavy = (eikonal_form_factor(np.array([z]), q, 80.0)[:, 0] for z in (6, 74))
    assert (np.angle(heavy) > 2 * np.angle(light)).all()


@pytest.mark.parametrize("number", [1, 6, 42, 55, 92])
def test_eikonal_obeys_the_optical_theorem(number: int) -> None:
    """Im f(0) = (sigma / 2) integral |f|^2 d2q: a phase object loses nothing."""
    sigma = interaction_constant(80.0)
    q = np.linspace(0.0, 6.0, 3001)
    factor = eikonal_form_factor(np.array([number]), q, 80.0)[:, 0]
    scattered = np.trapezoid(np.abs(factor) ** 2 * 2 * np.pi * q, q)
    assert factor[0].imag == pytest.approx(sigma / 2 * scattered, rel=0.01)


@given(voltage=st.floats(60, 300))
def test_eikonal_phase_of_molybdenum_falls_with_voltage(voltage: float) -> None:
    q = np.array([1.6])
    phase = np.angle(eikonal_form_factor(np.array([42]), q, round(voltage)))[0, 0]
    at_80 = np.angle(eikonal_form_factor(np.array([42]), q, 80.0))[0, 0]
    assert at_80 == pytest.approx(0.84, abs=0.005)
    # The phase follows sigma = gamma lambda, that is 1 / speed of the electron.
    expected = interaction_constant(round(voltage)) / interaction_constant(80.0)
    assert phase / at_80 == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("number", [6, 42, 82])
@pytest.mark.parametrize("limit", [1.62, 3.0])
def test_an_atom_without_a_sharp_core_loses_no_electron(number: int, limit: float) -> None:
    """The optical theorem for a phase object: 2 Im f(0) / sigma is the integral of |f|^2, over all q."""
    q, numbers = np.linspace(0.0, 6.0, 1201), np.array([number])
    scattered = eikonal_form_factor(numbers, q, 80.0, limit)[:, 0]
    whole = float((2 * np.pi * q * np.abs(scattered) ** 2).sum() * q[1])
    assert interaction_constant(80.0) * whole == pytest.approx(2 * float(scattered[0].imag), rel=0.03)


def test_a_blunt_core_turns_the_phase_less_and_a_far_limit_changes_nothing() -> None:
    q, numbers = np.linspace(0.3, 1.5, 13), np.array([16, 42, 74])
    blunt, far, sharp = (eikonal_form_factor(numbers, q, 80.0, limit) for limit in (1.62, 6.0, None))
    assert (np.angle(blunt) <= np.angle(sharp) + 1e-3).all()
    assert np.angle(blunt)[-1, 2] < 0.7 * np.angle(sharp)[-1, 2]
    assert np.abs(far / sharp - 1).max() < 0.03
