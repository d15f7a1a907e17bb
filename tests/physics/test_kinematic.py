"""Identities that kinematic diffraction of a layer obeys, by symmetry and by definition."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.errors import NoSpotsError, OptionError
from model.physics.kinematic import (
    Geometry,
    ThermalMotion,
    compute_excitation_error,
    compute_kinematic_spots,
    compute_structure_factors,
    project_to_camera,
)
from model.physics.reciprocal import list_reflections, reciprocal_lattice

Array = NDArray[np.float64]
AtomModel = Literal["born", "eikonal"]

FLAT_EWALD_KV = 1e9
TILTED = Geometry(tilt_deg=3.0, tilt_azimuth_deg=40.0)

lengths = st.floats(2.0, 8.0)
tilts = st.floats(0.0, 8.0)
azimuths = st.floats(0.0, 360.0)


def moved(crystal: Crystal, shift: Array) -> Crystal:
    return replace(crystal, positions=crystal.positions + shift)


def doubled(crystal: Crystal) -> Crystal:
    """The same layer with b twice as long."""
    lattice = crystal.lattice * np.array([[1.0], [2.0]])
    again = crystal.positions + np.append(crystal.lattice[1], 0.0)
    lattice[1] -= np.rint(lattice[1, 0] / lattice[0, 0]) * lattice[0]
    return Crystal(
        "2x1", "test", lattice, np.tile(crystal.numbers, 2), np.concatenate([crystal.positions, again])
    )


def mates(intensity: Array) -> Array:
    """The intensity at -q in the place of that at q."""
    return np.roll(intensity, len(intensity) // 2)


def by_position(q: Array, intensity: Array) -> dict[tuple[float, float], float]:
    keys = (np.round(q, 4) + 0.0).tolist()
    return {(x, y): value for (x, y), value in zip(keys, intensity.tolist(), strict=True)}


@given(a=lengths, b=lengths, skew=st.floats(-0.5, 0.5), q_max=st.floats(0.3, 1.6))
def test_reflections_are_all_within_reach_and_come_in_pairs(
    a: float, b: float, skew: float, q_max: float
) -> None:
    lattice = np.array([[a, 0.0], [skew * a, b]])
    hk = list_reflections(lattice, q_max)
    every = {(h, k) for h in range(-20, 21) for k in range(-20, 21)} - {(0, 0)}
    within = {i for i in every if np.linalg.norm(np.array(i) @ reciprocal_lattice(lattice)) <= q_max}
    assert {(h, k) for h, k in hk.tolist()} == within
    assert len(hk) == len(within)
    assert (hk[: len(hk) // 2] == -hk[len(hk) // 2 :]).all()


def test_reciprocal_lattice_is_dual(crystal: Crystal) -> None:
    assert crystal.lattice @ reciprocal_lattice(crystal.lattice).T == pytest.approx(np.eye(2))
    several = np.stack([crystal.lattice, 2 * crystal.lattice])
    assert reciprocal_lattice(several)[1] == pytest.approx(reciprocal_lattice(crystal.lattice) / 2)


@given(tilt=tilts, azimuth=azimuths, voltage=st.floats(60, 300))
def test_excitation_is_the_ewald_and_the_tilt_term(tilt: float, azimuth: float, voltage: float) -> None:
    geometry = Geometry(tilt_deg=tilt, tilt_azimuth_deg=azimuth, voltage_kv=voltage)
    q = np.random.default_rng(1).uniform(-1.0, 1.0, (40, 2))
    first_order = geometry.wavelength * (q**2).sum(axis=1) / 2 + q @ geometry.tilt_vector
    # What is left is of second order: lambda (q . tau)^2 / 2, and lambda^3 q^4 / 8.
    assert np.abs(compute_excitation_error(q, geometry) - first_order).max() < 0.1 * np.hypot(
        0.02, geometry.wavelength
    )


@given(tilt=tilts, azimuth=azimuths, radiation=st.sampled_from(["electron", "xray"]))
def test_scattered_waves_keep_their_length(
    tilt: float, azimuth: float, radiation: Literal["electron", "xray"]
) -> None:
    geometry = Geometry(radiation=radiation, tilt_deg=tilt, tilt_azimuth_deg=azimuth)
    tau, wave_number = geometry.tilt_vector, 1 / geometry.wavelength
    incident = wave_number * np.append(tau, 1.0) / np.sqrt(1 + tau @ tau)
    q = np.random.default_rng(1).uniform(-0.35, 0.35, (40, 2))
    scattered = incident + np.column_stack([q, -compute_excitation_error(q, geometry)])
    assert np.linalg.norm(scattered, axis=1) == pytest.approx(wave_number, rel=1e-9)
    assert (scattered[:, 2] > 0).all()


def test_at_80_kv_the_ewald_term_at_0_6_equals_0_7_degrees_of_tilt() -> None:
    q = np.array([[0.6, 0.0]])
    angle = np.degrees(np.arctan(compute_excitation_error(q, Geometry())[0] / 0.6))
    assert angle == pytest.approx(0.72, abs=0.02)


@pytest.mark.parametrize("atom_model", ["born", "eikonal"])
@given(x=st.floats(-9, 9), y=st.floats(-9, 9), z=st.floats(-9, 9))
def test_the_origin_does_not_matter(
    janus: Crystal, atom_model: AtomModel, x: float, y: float, z: float
) -> None:
    geometry = replace(TILTED, atom_model=atom_model)
    there = compute_structure_factors(moved(janus, np.array([x, y, z])), geometry).intensity
    assert there == pytest.approx(compute_structure_factors(janus, geometry).intensity, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("atom_model", ["born", "eikonal"])
def test_a_supercell_has_the_same_spots(crystal: Crystal, atom_model: AtomModel) -> None:
    geometry = replace(TILTED, atom_model=atom_model)
    one, two = compute_kinematic_spots(crystal, geometry), compute_kinematic_spots(doubled(crystal), geometry)
    assert one.intensity is not None
    assert two.intensity is not None
    expected = by_position(one.q_inv_angstrom, one.intensity)
    assert by_position(two.q_inv_angstrom, two.intensity) == pytest.approx(expected, rel=1e-6)


def test_friedels_law_holds_on_a_flat_ewald_sphere_in_born_approximation(crystal: Crystal) -> None:
    intensity = compute_structure_factors(crystal, Geometry(voltage_kv=FLAT_EWALD_KV)).intensity
    assert mates(intensity) == pytest.approx(intensity, rel=1e-3, abs=1e-6 * intensity.max())


@pytest.mark.parametrize("atom_model", ["born", "eikonal"])
def test_a_two_fold_axis_keeps_friedels_law_until_the_layer_is_tilted(
    graphene: Crystal, black_phosphorus: Crystal, atom_model: AtomModel
) -> None:
    straight = compute_structure_factors(graphene, Geometry(atom_model=atom_model)).intensity
    assert mates(straight) == pytest.approx(straight, rel=1e-9)
    # Phosphorus has an inversion center but its two-fold axes lie in the plane: curvature tells q from -q.
    tilted = compute_structure_factors(black_phosphorus, replace(TILTED, atom_model=atom_model)).intensity
    strong = tilted > 1e-2 * tilted.max()
    assert np.std(np.log(tilted / mates(tilted))[strong]) > 0.3


def test_complex_factors_break_friedels_law_where_real_ones_cannot(mos2: Crystal) -> None:
    # The horizontal mirror makes F(q, q_z) even in q_z, so with real factors I(q) = I(-q) at any curvature.
    real = compute_structure_factors(mos2).intensity
    assert mates(real) == pytest.approx(real, rel=1e-9)
    eikonal = compute_structure_factors(mos2, Geometry(atom_model="eikonal")).intensity
    strong = eikonal > 1e-2 * eikonal.max()
    assert np.std(np.log(eikonal / mates(eikonal))[strong]) > 0.3


@given(tilt=tilts, azimuth=azimuths)
def test_turning_the_flake_over_mirrors_the_pattern(janus: Crystal, tilt: float, azimuth: float) -> None:
    """Turned by 180 degrees about x, with the tilt mirrored: I'(q_x, q_y) = I(-q_x, q_y), for real factors."""
    turned = Crystal(
        "over",
        "test",
        np.array([janus.lattice[0], janus.lattice[1] * [-1, 1]]),
        janus.numbers,
        janus.positions * [1, -1, -1] + np.append(janus.lattice[1] * [0, 1], 0.0),
    )
    up = compute_structure_factors(janus, Geometry(tilt_deg=tilt, tilt_azimuth_deg=azimuth))
    down = compute_structure_factors(turned, Geometry(tilt_deg=tilt, tilt_azimuth_deg=180 - azimuth))
    mirrored = project_to_camera(up.q_inv_angstrom, Geometry(mirrored=True))
    expected = by_position(mirrored, up.intensity)
    assert by_position(down.q_inv_angstrom, down.intensity) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(max_examples=30)
@given(turn=st.floats(-180, 180), mirrored=st.booleans(), tilt=tilts, azimuth=azimuths)
def test_the_camera_turns_and_mirrors_but_keeps_intensities(
    mos2: Crystal, turn: float, mirrored: bool, tilt: float, azimuth: float
) -> None:
    plain = Geometry(tilt_deg=tilt, tilt_azimuth_deg=azimuth)
    seen = replace(plain, rotation_deg=turn, mirrored=mirrored)
    one, other = compute_kinematic_spots(mos2, plain), compute_kinematic_spots(mos2, seen)
    assert one.intensity is not None
    assert other.intensity == pytest.approx(one.intensity)
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = one.q_inv_angstrom * [-1.0 if mirrored else 1.0, 1.0] @ rotation.T
    assert other.q_inv_angstrom == pytest.approx(expected)


@given(tilt=tilts, azimuth=azimuths)
def test_tilt_stretches_the_pattern_across_its_axis(tilt: float, azimuth: float) -> None:
    geometry = Geometry(tilt_deg=tilt, tilt_azimuth_deg=azimuth)
    along = np.array([np.cos(np.radians(azimuth)), np.sin(np.radians(azimuth))])
    axis = np.array([-along[1], along[0]])
    seen = project_to_camera(np.array([along, axis]), geometry)
    assert seen[0] == pytest.approx(along / np.cos(np.radians(tilt)))
    assert seen[1] == pytest.approx(axis)


@given(tilt=st.floats(0, 4), azimuth=azimuths)
def test_the_stretch_is_the_projection_along_the_incident_wave_except_for_the_curvature(
    tilt: float, azimuth: float
) -> None:
    geometry = Geometry(tilt_deg=tilt, tilt_azimuth_deg=azimuth)
    q = np.random.default_rng(2).uniform(-0.7, 0.7, (30, 2))
    direction = np.append(geometry.tilt_vector, 1.0)
    direction /= np.linalg.norm(direction)
    wave = np.column_stack([q, -compute_excitation_error(q, geometry)])
    projected = np.linalg.norm(wave - np.outer(wave @ direction, direction), axis=1)
    left_out = geometry.wavelength * 0.98 / 2 * np.sin(np.radians(tilt))
    assert (
        np.abs(np.linalg.norm(project_to_camera(q, geometry), axis=1) - projected).max()
        < 1.05 * left_out + 1e-5
    )


@given(xx=st.floats(-0.03, 0.03), yy=st.floats(-0.03, 0.03), xy=st.floats(-0.03, 0.03))
def test_strain_moves_spots_as_it_moves_planes(mos2: Crystal, xx: float, yy: float, xy: float) -> None:
    reflections = compute_structure_factors(
        mos2, Geometry(strain=((xx, xy), (xy, yy)), q_max_inv_angstrom=1.0)
    )
    lattice = mos2.lattice @ (np.eye(2) + np.array([[xx, xy], [xy, yy]]))
    assert reflections.q_inv_angstrom @ lattice.T == pytest.approx(reflections.hk.astype(float))


def test_thermal_motion_out_of_the_plane_acts_through_the_tilt_only(mos2: Crystal) -> None:
    motion = ThermalMotion(b_out_of_plane=5.0)
    straight = (
        compute_structure_factors(mos2, thermal=motion).intensity / compute_structure_factors(mos2).intensity
    )
    tilted = (
        compute_structure_factors(mos2, TILTED, motion).intensity
        / compute_structure_factors(mos2, TILTED).intensity
    )
    assert straight.min() > 0.98
    assert tilted.min() < 0.98


def test_debye_waller_is_the_mean_over_displacements(mos2: Crystal) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(0.0, 0.08, (4000, 3, 3))
    geometry = Geometry(q_max_inv_angstrom=1.0)
    mean = np.mean(
        [compute_structure_factors(mos2, geometry, displacements=shift).amplitude for shift in drawn], axis=0
    )
    b = 8 * np.pi**2 * 0.08**2
    expected = compute_structure_factors(mos2, geometry, ThermalMotion(b, b)).amplitude
    assert np.abs(mean - expected).max() < 0.03 * np.abs(expected).max()


def test_each_atom_moves_by_its_own_debye_waller_factor(mos2: Crystal) -> None:
    """Light atoms move more: the mean over displacements of the sulphurs alone is damping of the sulphurs alone."""
    rng = np.random.default_rng(1)
    sulphur = (mos2.numbers == 16)[:, None]
    geometry = Geometry(q_max_inv_angstrom=1.0)
    drawn = rng.normal(0.0, 0.1, (4000, 3, 3)) * sulphur
    mean = np.mean(
        [compute_structure_factors(mos2, geometry, displacements=shift).amplitude for shift in drawn], axis=0
    )
    b = tuple(np.where(sulphur[:, 0], 8 * np.pi**2 * 0.1**2, 0.0).tolist())
    expected = compute_structure_factors(mos2, geometry, ThermalMotion(b, b)).amplitude
    assert np.abs(mean - expected).max() < 0.03 * np.abs(expected).max()
    alike = compute_structure_factors(mos2, TILTED, ThermalMotion((0.5,) * 3, (0.7,) * 3)).amplitude
    assert alike == pytest.approx(compute_structure_factors(mos2, TILTED, ThermalMotion(0.5, 0.7)).amplitude)


@pytest.mark.parametrize("b", [-0.1, float("nan"), (0.1, 0.2)])
def test_rejects_impossible_debye_waller_factors(mos2: Crystal, b: float | tuple[float, ...]) -> None:
    with pytest.raises(OptionError, match=r"B|b_in_plane"):
        compute_structure_factors(mos2, thermal=ThermalMotion(b))


def test_spots_are_relative_to_the_strongest_and_above_the_threshold(mos2: Crystal) -> None:
    spots = compute_kinematic_spots(mos2, relative_threshold=0.1)
    assert spots.intensity is not None
    assert spots.intensity.max() == 1.0
    assert spots.intensity.min() > 0.1
    assert spots.voltage_kv == 80.0
    with pytest.raises(NoSpotsError):
        compute_kinematic_spots(mos2, Geometry(q_max_inv_angstrom=0.2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"q_max_inv_angstrom": 0.0},
        {"q_max_inv_angstrom": float("nan")},
        {"tilt_deg": -1.0},
        {"tilt_deg": 60.0},
        {"voltage_kv": 0.0},
        {"radiation": "xray", "wavelength_angstrom": -1.0},
        {"strain": ((0.0, 0.1), (0.0, 0.0))},
    ],
)
def test_rejects_impossible_geometries(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        Geometry(**wrong)  # type: ignore[arg-type]


def test_rejects_displacements_of_another_shape(mos2: Crystal) -> None:
    with pytest.raises(OptionError, match="displacements"):
        compute_structure_factors(mos2, displacements=np.zeros((2, 3)))


def janus() -> Crystal:
    lattice = np.array([[3.2, 0.0], [-1.1, 4.1]])
    heights = np.array([[0.3, 0.4, -1.6], [1.2, 1.9, 1.4], [0.0, 0.0, 0.1]])
    return Crystal("janus", "test", lattice, np.array([16, 34, 42]), heights)


@pytest.mark.parametrize(("model", "equal"), [("born", True), ("eikonal", False)])
def test_face_down_is_a_mirror_with_real_factors_only(model: AtomModel, equal: bool) -> None:
    up = replace(TILTED, atom_model=model, mirrored=True)
    down = replace(TILTED, atom_model=model, tilt_azimuth_deg=180.0 - TILTED.tilt_azimuth_deg)
    one, other = (
        by_position(spots.q_inv_angstrom, spots.intensity)
        for spots in (
            compute_kinematic_spots(janus(), up),
            compute_kinematic_spots(janus().turn_over(), down),
        )
        if spots.intensity is not None
    )
    keys = sorted(set(one) & set(other))
    assert len(keys) > 20
    same = np.allclose([one[key] for key in keys], [other[key] for key in keys], atol=1e-6)
    assert same == equal


def test_turning_over_twice_changes_nothing() -> None:
    again = janus().turn_over().turn_over()
    np.testing.assert_allclose(again.lattice, janus().lattice)
    np.testing.assert_allclose(again.positions, janus().positions, atol=1e-9)
