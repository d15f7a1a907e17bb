"""Kinematic intensities compared with diffsims and its scattering factors (Lobato & van Dyck, 2014)."""

import math
from dataclasses import replace

import numpy as np
import pytest
from diffpy.structure import Atom, Lattice, Structure
from diffsims.utils.sim_utils import (
    get_atomic_scattering_factors,
    get_electron_wavelength,
    get_kinematical_intensities,
    get_scattering_params_dict,
)
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.electrons import electron_wavelength_angstrom
from model.physics.kinematic import Geometry, Reflections, ThermalMotion, compute_structure_factors
from model.physics.scattering import SYMBOLS, electron_form_factor

Array = NDArray[np.float64]

C_ANGSTROM = 30.0
# Two independent fits of the factors of these elements leave 0.006 to 0.013; a missing Ewald term or a wrong
# sign of the tilt leaves ten times the tolerance (see below).
TOLERANCE = 0.03


def theirs(crystal: Crystal, hk: NDArray[np.int64], geometry: Geometry, b_iso: float = 0.0) -> Array:
    """Diffsims' intensities where the Ewald sphere cuts the rods, the cut taken to first order."""
    (a, _), (bx, by) = crystal.lattice
    b, gamma = math.hypot(bx, by), math.atan2(by, bx)
    lattice = Lattice(a, b, C_ANGSTROM, 90, 90, math.degrees(gamma))
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2, 2] = crystal.lattice, C_ANGSTROM
    sites = zip(crystal.numbers, crystal.positions @ np.linalg.inv(cell), strict=True)
    structure = Structure([Atom(SYMBOLS[number], xyz) for number, xyz in sites], lattice=lattice)
    q = np.array([lattice.reciprocal().norm([h, k, 0]) for h, k in hk])
    along_a = hk[:, 0] / a
    across = (hk[:, 1] / b - math.cos(gamma) * along_a) / math.sin(gamma)
    azimuth = math.radians(geometry.tilt_azimuth_deg)
    tilt = math.tan(math.radians(geometry.tilt_deg))
    excitation = get_electron_wavelength(geometry.voltage_kv) * q**2 / 2
    excitation += tilt * (math.cos(azimuth) * along_a + math.sin(azimuth) * across)
    factors = dict.fromkeys(SYMBOLS, b_iso)
    indices = np.column_stack([hk, -excitation * C_ANGSTROM])
    intensity: Array = get_kinematical_intensities(structure, indices, np.hypot(q, excitation), factors)
    return intensity


def spread_of_ln(reflections: Reflections, other: Array) -> float:
    strong = other > 1e-3 * other.max()
    return float(np.std(np.log(reflections.intensity[strong] / other[strong])))


@pytest.mark.parametrize("voltage_kv", [60.0, 300.0])
@pytest.mark.parametrize(("tilt_deg", "azimuth_deg"), [(0.0, 0.0), (2.0, 0.0), (4.0, 77.0), (4.0, 257.0)])
def test_agrees_straight_and_tilted(
    crystal: Crystal, tilt_deg: float, azimuth_deg: float, voltage_kv: float
) -> None:
    geometry = Geometry(voltage_kv=voltage_kv, tilt_deg=tilt_deg, tilt_azimuth_deg=azimuth_deg)
    reflections = compute_structure_factors(crystal, geometry)
    assert len(reflections.hk) >= 36
    assert spread_of_ln(reflections, theirs(crystal, reflections.hk, geometry)) < TOLERANCE


def test_agrees_on_the_debye_waller_factor(mos2: Crystal) -> None:
    still = compute_structure_factors(mos2)
    shaken = compute_structure_factors(mos2, thermal=ThermalMotion(0.6, 0.6))
    straight = Geometry()
    expected = theirs(mos2, still.hk, straight, b_iso=0.6) / theirs(mos2, still.hk, straight)
    assert shaken.intensity / still.intensity == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("voltage_kv", [60.0, 80.0, 200.0, 300.0])
def test_agrees_on_the_wavelength(voltage_kv: float) -> None:
    expected = get_electron_wavelength(voltage_kv)
    assert electron_wavelength_angstrom(voltage_kv) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("change", [{"tilt_azimuth_deg": 180.0}, {"tilt_deg": 0.0}, {"voltage_kv": 5.0}])
def test_the_tolerance_detects_a_wrong_geometry(black_phosphorus: Crystal, change: dict[str, float]) -> None:
    right = Geometry(tilt_deg=4.0, tilt_azimuth_deg=0.0, voltage_kv=80.0)
    wrong = replace(right, **change)  # type: ignore[arg-type]
    reflections = compute_structure_factors(black_phosphorus, wrong)
    assert spread_of_ln(reflections, theirs(black_phosphorus, reflections.hk, right)) > 10 * TOLERANCE


def test_the_factors_of_all_elements_agree() -> None:
    q = np.array([0.4, 0.8, 1.2, 1.6])
    numbers = np.arange(1, len(SYMBOLS))
    table = get_scattering_params_dict("lobato")
    coefficients = np.array([table[SYMBOLS[number]] for number in numbers])
    expected = np.array(
        [get_atomic_scattering_factors(q**2, one[None], "lobato")[:, 0] for one in coefficients]
    )
    ratio = electron_form_factor(numbers, q).T / expected
    assert np.median(np.abs(ratio - 1)) < 0.015
    assert np.abs(ratio - 1).max() < 0.16  # tin and ytterbium, where the two fits differ most
