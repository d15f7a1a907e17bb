"""Dynamical diffraction conserves intensity and is kinematic for weak scatterers."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.electrons import interaction_constant
from model.errors import OptionError
from model.physics import multislice
from model.physics.kinematic import Geometry, ThermalMotion, compute_structure_factors
from model.physics.multislice import Conditions, compute_dynamical_intensities

Array = NDArray[np.float64]


def under(crystal: Crystal, geometry: Geometry, b_iso: float = 0.0) -> Array:
    """(M,) intensities under one set of conditions."""
    still = np.zeros((1, len(crystal.numbers), 3))
    conditions = Conditions(
        np.array([geometry.voltage_kv]), geometry.tilt_vector[None], still, np.array([b_iso])
    )
    intensity: Array = compute_dynamical_intensities(crystal, conditions, geometry.q_max_inv_angstrom)[2][0]
    return intensity


def spread_of_ln(one: Array, other: Array, weakest: float = 1e-2) -> float:
    strong = other > weakest * other.max()
    return float(np.std(np.log(one[strong] / other[strong])))


@pytest.fixture
def weak(monkeypatch: pytest.MonkeyPatch) -> float:
    """Atoms scatter a thousandth of what they do; the factor."""
    monkeypatch.setattr(multislice, "interaction_constant", lambda kv: 1e-3 * interaction_constant(kv))
    return 1e-3


@pytest.mark.parametrize(("tilt_deg", "azimuth_deg"), [(0.0, 0.0), (4.0, 30.0), (4.0, 210.0)])
def test_a_weak_layer_scatters_kinematically(
    crystal: Crystal, weak: float, tilt_deg: float, azimuth_deg: float
) -> None:
    geometry = Geometry(tilt_deg=tilt_deg, tilt_azimuth_deg=azimuth_deg)
    expected = compute_structure_factors(crystal, geometry, ThermalMotion(0.3, 0.0)).intensity
    found = under(crystal, geometry, b_iso=0.3)
    assert spread_of_ln(found, expected) < 0.02
    # Not only in proportion: |F|^2 (sigma / area)^2 of the incident beam.
    scale = (weak * interaction_constant(80.0) / crystal.area) ** 2
    assert found.max() == pytest.approx(scale * expected.max(), rel=0.01)


@pytest.mark.parametrize("q_max", [0.9, 1.2, 1.5])
def test_intensities_depend_little_on_the_largest_q(crystal: Crystal, q_max: float) -> None:
    def reflections(farthest: float) -> dict[tuple[int, int], float]:
        still = np.zeros((1, len(crystal.numbers), 3))
        conditions = Conditions(np.array([80.0]), np.zeros((1, 2)), still, np.zeros(1))
        hk, _, intensity = compute_dynamical_intensities(crystal, conditions, farthest)
        return dict(zip(map(tuple, hk.tolist()), intensity[0].tolist(), strict=True))

    near, far = reflections(q_max), reflections(3.0)
    found, expected = (np.array([each[hk] for hk in near]) for each in (near, far))
    assert spread_of_ln(found, expected, weakest=3e-3) < 0.06


def test_atoms_inside_one_slice_keep_their_heights_under_a_tilt(weak: float) -> None:
    sites = np.array([[0.0, 0.0, 0.25], [2.0, 1.1547, -0.25]])
    lattice = 4.0 * np.array([[1.0, 0.0], [-0.5, np.sqrt(3) / 2]])
    silicene_like = Crystal("buckled", "test", lattice, np.array([14, 14]), sites)
    # The curvature of the sphere inside a slice is left out, so not to q = 1.6.
    geometry = Geometry(tilt_deg=8.0, tilt_azimuth_deg=20.0, q_max_inv_angstrom=1.0)
    expected = compute_structure_factors(silicene_like, geometry).intensity
    flat = compute_structure_factors(replace(silicene_like, positions=sites * [1, 1, 0]), geometry).intensity
    found = under(silicene_like, geometry)
    assert weak < 1
    assert spread_of_ln(found, expected) < 0.05 < 0.5 * spread_of_ln(flat, expected)


@pytest.fixture
def flat_tungsten_carbide() -> Crystal:
    """Invented: a heavy and a light atom side by side in one slice, where multislice and eikonal are one theory."""
    lattice = 4.2 * np.array([[1.0, 0.0], [-0.5, np.sqrt(3) / 2]])
    sites = np.array([[0.0, 0.0, 0.0], [2.1, 2.1 / np.sqrt(3), 0.0]])
    return Crystal("WC", "test", lattice, np.array([74, 6]), sites)


def test_eikonal_atoms_side_by_side_scatter_as_multislice_says(
    flat_tungsten_carbide: Crystal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The usual limit takes the sharpest part of the potential away; eikonal atoms have all of it.
    monkeypatch.setattr(multislice, "POTENTIAL_LIMIT_INV_ANGSTROM", 5.0)
    exact = under(flat_tungsten_carbide, Geometry())
    born = compute_structure_factors(flat_tungsten_carbide).intensity
    eikonal = compute_structure_factors(flat_tungsten_carbide, Geometry(atom_model="eikonal")).intensity
    assert spread_of_ln(eikonal, exact) < 0.3 * spread_of_ln(born, exact)
    half = len(exact) // 2
    ratio, eikonal_ratio = (np.log(one[:half] / one[half:]) for one in (exact, eikonal))
    assert np.corrcoef(ratio, eikonal_ratio)[0, 1] > 0.99


def test_eikonal_atoms_overrate_friedel_differences_where_atoms_stand_in_a_column(mos2: Crystal) -> None:
    # Two sulphurs over each other scatter twice as strongly, which the eikonal of each does not know.
    exact = under(mos2, Geometry())
    eikonal = compute_structure_factors(mos2, Geometry(atom_model="eikonal")).intensity
    half = len(exact) // 2
    assert spread_of_ln(eikonal[:half], eikonal[half:]) > 2 * spread_of_ln(exact[:half], exact[half:])


@settings(max_examples=20)
@given(voltage=st.floats(60, 300), tilt=st.floats(0, 5), azimuth=st.floats(0, 360))
def test_reflections_never_carry_more_than_the_incident_intensity(
    janus: Crystal, voltage: float, tilt: float, azimuth: float
) -> None:
    geometry = Geometry(voltage_kv=voltage, tilt_deg=tilt, tilt_azimuth_deg=azimuth)
    assert 0.005 < under(janus, geometry).sum() < 1.0


def test_one_slice_only_shifts_phases_and_keeps_the_intensity(
    graphene: Crystal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The direct beam is 1 - sum of the others; seen as the spectrum's first term.
    spectra: list[NDArray[np.complex64]] = []
    transform = scipy.fft.fft2

    def remembered(wave: NDArray[np.complex64]) -> NDArray[np.complex64]:
        spectra.append(transform(wave))
        return spectra[-1]

    monkeypatch.setattr(scipy.fft, "fft2", remembered)
    diffracted = under(graphene, Geometry(q_max_inv_angstrom=5.0)).sum()
    direct = abs(spectra[0][0, 0, 0] / spectra[0][0].size) ** 2
    assert direct < 0.999
    assert diffracted == pytest.approx(1 - direct, rel=0.02)


def test_friedel_pairs_differ_without_a_two_fold_axis(
    mos2: Crystal, graphene: Crystal, flat_tungsten_carbide: Crystal
) -> None:
    def differ(crystal: Crystal) -> float:
        intensity = under(crystal, Geometry())
        return spread_of_ln(intensity[: len(intensity) // 2], intensity[len(intensity) // 2 :])

    # Single precision leaves 1e-3 of the weakest.
    assert differ(graphene) < 1e-2
    # In MoS2 the two sulphurs of a column nearly balance the molybdenum (Z = 32 and 42).
    assert differ(mos2) > 0.05
    assert differ(flat_tungsten_carbide) > 0.2


def test_conditions_of_a_batch_do_not_touch_each_other(mos2: Crystal) -> None:
    rng = np.random.default_rng(5)
    batch = Conditions(
        np.array([60.0, 80.0, 300.0]),
        rng.normal(0, 0.03, (3, 2)),
        rng.normal(0, 0.05, (3, 3, 3)),
        np.zeros(3),
    )
    together = compute_dynamical_intensities(mos2, batch)[2]
    for i in range(3):
        alone = Conditions(
            batch.voltage_kv[i : i + 1], batch.tilt[i : i + 1], batch.displacements[i : i + 1], np.zeros(1)
        )
        assert compute_dynamical_intensities(mos2, alone)[2][0] == pytest.approx(
            together[i], rel=1e-3, abs=1e-8
        )


def test_displacing_all_atoms_together_changes_nothing(mos2: Crystal) -> None:
    shift = np.broadcast_to([0.3, -0.2, 0.1], (1, 3, 3)).copy()
    conditions = Conditions(np.array([80.0]), np.array([[0.02, 0.01]]), shift, np.zeros(1))
    still = replace(conditions, displacements=np.zeros((1, 3, 3)))
    moved, unmoved = (compute_dynamical_intensities(mos2, one)[2][0] for one in (conditions, still))
    assert spread_of_ln(moved, unmoved) < 1e-2


@pytest.mark.parametrize(
    "wrong",
    [{"voltage_kv": np.array([80.0, 80.0])}, {"tilt": np.zeros(2)}, {"displacements": np.zeros((2, 3, 3))}],
)
def test_conditions_that_disagree_are_refused(wrong: dict[str, Array]) -> None:
    right = Conditions(np.array([80.0]), np.zeros((1, 2)), np.zeros((1, 3, 3)), np.zeros(1))
    with pytest.raises(OptionError):
        replace(right, **wrong)
