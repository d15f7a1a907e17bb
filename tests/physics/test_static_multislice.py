"""Multislice of a static layer and its tilt series, compared with the multislice of every tilt."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.operations import Operations, find_operations
from model.physics import static_multislice as static_multislice
from model.physics.multislice import Conditions, compute_dynamical_intensities
from model.physics.reciprocal import list_reflections
from model.physics.static_multislice import StaticMultislice
from model.physics.tilt_series import (
    MAX_DEGREE,
    MAX_TILT_TANGENT,
    TiltSeries,
    choose_degree,
    compute_monomials,
)

Array = NDArray[np.float64]
VOLTAGE_KV, Q_MAX = 80.0, 1.5


def spread_of_ln(found: Array, expected: Array, floor: float = 1e-3) -> float:
    """rms difference of ln I of reflections above a share of the strongest."""
    strong = expected > floor * expected.max()
    return float(np.sqrt(np.mean(np.log(found[strong] / expected[strong]) ** 2)))


def tilts(seed: int, count: int, largest: float = 0.07) -> Array:
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, count), largest * np.sqrt(rng.random(count))
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


@pytest.mark.parametrize("max_matrix_waves", [0, 10_000])
@pytest.mark.parametrize("face_down", [False, True])
def test_sheets_scatter_as_the_whole_layer_does(
    crystal: Crystal, face_down: bool, max_matrix_waves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_multislice, "MAX_MATRIX_WAVES", max_matrix_waves)
    reflected = replace(crystal, positions=crystal.positions * np.array([1.0, 1.0, -1.0]))
    tilt = np.concatenate([np.zeros((1, 2)), tilts(1, 3)])
    conditions = Conditions(np.full(4, VOLTAGE_KV), tilt, np.zeros((4, len(crystal.numbers), 3)), np.zeros(4))
    hk, _, expected = compute_dynamical_intensities(reflected if face_down else crystal, conditions, Q_MAX)
    sheets = StaticMultislice.from_crystal(crystal, VOLTAGE_KV, Q_MAX)
    if face_down:
        sheets = sheets.reflect()
    found = sheets.compute_intensities(hk, tilt)
    assert found.shape == expected.shape
    for own, other in zip(found, expected, strict=True):
        assert spread_of_ln(own, other) < 1e-3
        assert own.max() == pytest.approx(other.max(), rel=1e-3)


def test_a_layer_is_as_thick_as_its_atoms_lie_apart(mos2: Crystal, graphene: Crystal) -> None:
    assert StaticMultislice.from_crystal(mos2, VOLTAGE_KV, Q_MAX).thickness_angstrom == pytest.approx(
        3.12, abs=1e-4
    )
    assert StaticMultislice.from_crystal(graphene, VOLTAGE_KV, Q_MAX).thickness_angstrom == 0.0


def identity_of(operations: Operations) -> Operations:
    found = operations.select((operations.change == np.eye(2)).all(axis=(1, 2)) & ~operations.turns_over)
    assert len(found.change) == 1
    return found


def test_a_series_follows_the_tilt(crystal: Crystal) -> None:
    hk = list_reflections(crystal.lattice, Q_MAX)
    sheets = StaticMultislice.from_crystal(crystal, VOLTAGE_KV, Q_MAX)
    series = TiltSeries.from_multislice(sheets, hk, Q_MAX, identity_of(find_operations(crystal)))
    for largest, off in ((0.035, 0.03), (0.07, 0.1)):
        for tilt in tilts(2, 8, largest):
            expected = sheets.compute_intensities(hk, tilt[None])[0]
            assert spread_of_ln(series.compute_intensities(tilt[None])[0], expected, 3e-3) < off
    relative = series.normalize()
    assert relative.straight.max() == pytest.approx(1.0, abs=1e-5)
    assert relative.compute_intensities(np.zeros((1, 2)))[0] == pytest.approx(relative.straight, abs=5e-3)


@pytest.mark.parametrize("face_down", [False, True])
def test_a_series_by_symmetry_is_the_same_from_fewer_tilts(crystal: Crystal, face_down: bool) -> None:
    hk = list_reflections(crystal.lattice, Q_MAX)
    sheets = StaticMultislice.from_crystal(crystal, VOLTAGE_KV, Q_MAX)
    sheets = sheets.reflect() if face_down else sheets
    operations = find_operations(crystal)
    symmetry = operations.select(~operations.turns_over & (operations.residual_angstrom < 0.005))
    plain, series = (
        TiltSeries.from_multislice(sheets, hk, Q_MAX, each) for each in (identity_of(operations), symmetry)
    )
    assert np.abs(series.straight - plain.straight).max() < 1e-4 * plain.straight.max()
    for tilt in tilts(2, 8):
        expected = sheets.compute_intensities(hk, tilt[None])[0]
        assert spread_of_ln(series.compute_intensities(tilt[None])[0], expected, 3e-3) < 0.1
    # Its amplitudes have the phases of the others, not those of another origin.
    straight = sheets.compute_amplitudes(hk, np.zeros((1, 2)))[0]
    assert np.abs(series.coefficients[0] - straight).max() < 0.02 * np.abs(straight).max()


def test_the_thicker_a_layer_the_more_terms() -> None:
    degrees = [choose_degree(thickness, Q_MAX) for thickness in (0.0, 1.0, 3.0, 6.0, 9.0, 100.0)]
    assert degrees == sorted(degrees)
    assert degrees[0] == 0
    assert degrees[-1] == MAX_DEGREE
    assert choose_degree(6.0, 0.5) < choose_degree(6.0, Q_MAX)


@pytest.mark.parametrize("count", [1, 3, 10, 36])
def test_monomials_are_relative_to_the_largest_tilt(count: int) -> None:
    assert compute_monomials(np.zeros((1, 2)), count)[0] == pytest.approx(np.eye(count)[0])
    assert np.abs(compute_monomials(np.array([[MAX_TILT_TANGENT, 0.0]]), count)).max() == pytest.approx(1.0)
