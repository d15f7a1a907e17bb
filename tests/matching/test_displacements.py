"""Displaced atoms: their effect on intensities, and on a fit."""

from dataclasses import replace

import numpy as np
import pytest

from model.crystal.crystal import Crystal
from model.matching.fitting.displacements import (
    DIFFUSE_B,
    MAX_DIRECTIONS,
    Scatterers,
    find_responses,
    select_directions,
)
from model.matching.priors import DISPLACEMENT_SIGMA_ANGSTROM, INTENSITY_FLOOR
from model.matching.verify import verify
from model.pattern.spots import Spots
from model.physics.multislice import Conditions, compute_dynamical_intensities
from model.physics.reciprocal import list_reflections, reciprocal_lattice
from model.physics.static_multislice import StaticMultislice, phase_factor
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern

TILT = np.array([0.04, -0.02])
Q_MAX = 1.4


def waves(crystal: Crystal, hk: np.ndarray, face: int) -> np.ndarray:
    sheets = StaticMultislice.from_crystal(crystal, 80.0, Q_MAX)
    seen: np.ndarray = (sheets.reflect() if face else sheets).compute_amplitudes(hk, TILT[None])[0]
    return seen


def displace(crystal: Crystal, shift: np.ndarray) -> Crystal:
    return replace(crystal, positions=crystal.positions + np.column_stack([shift, np.zeros(len(shift))]))


@pytest.mark.parametrize("face", [0, 1])
def test_responses_agree_with_the_multislice(crystal: Crystal, face: int) -> None:
    hk = list_reflections(crystal.lattice, Q_MAX)
    amplitude = waves(crystal, hk, face)
    strongest = float((np.abs(amplitude) ** 2).max())
    amplitude = (amplitude / np.sqrt(strongest)).astype(np.complex64)
    scatterers = Scatterers.from_crystal(crystal, 80.0, hk)
    responses = scatterers.compute_responses(
        scatterers.compute_waves(phase_factor(scatterers.compute_phases(TILT, face)), amplitude)
    )
    strong = np.abs(amplitude) ** 2 > 0.01
    rng, changes, left = np.random.default_rng(3), [], []
    for _ in range(6):
        shift = rng.normal(0, DISPLACEMENT_SIGMA_ANGSTROM, (len(crystal.numbers), 2))
        after = np.abs(waves(displace(crystal, shift), hk, face)) ** 2 / strongest
        change = np.log(after + INTENSITY_FLOOR) - np.log(np.abs(amplitude) ** 2 + INTENSITY_FLOOR)
        changes.append(change[strong])
        by_waves = np.abs(amplitude + responses @ (shift.ravel() / DISPLACEMENT_SIGMA_ANGSTROM)) ** 2
        left.append((np.log(after + INTENSITY_FLOOR) - np.log(by_waves + INTENSITY_FLOOR))[strong])
    assert np.std(left) < 0.45 * np.std(changes)


def test_a_displacement_of_the_whole_layer_changes_no_intensity(crystal: Crystal) -> None:
    hk = list_reflections(crystal.lattice, Q_MAX)
    scatterers = Scatterers.from_crystal(crystal, 80.0, hk)
    # The waves of single atoms, at the exit of the layer.
    whole = scatterers.amplitude * np.exp(
        1j
        * (
            np.outer(2 * np.pi * scatterers.q @ TILT + scatterers.curvature, scatterers.height)
            - scatterers.curvature[:, None] * np.ptp(scatterers.height) / 2
        )
    )
    amplitude = whole.sum(axis=1).astype(np.complex64)
    responses = scatterers.compute_responses(
        scatterers.compute_waves(phase_factor(scatterers.compute_phases(TILT, 0)), amplitude)
    )
    for axis in (0, 1):
        turned = responses[:, axis::2].sum(axis=1) / amplitude
        # Only the phase of each reflection changes.
        assert np.abs(turned.real).max() < 0.02


def test_the_directions_that_matter_are_selected() -> None:
    rng, count = np.random.default_rng(0), 3 * MAX_DIRECTIONS
    responses = rng.normal(size=(40, count)) * np.linspace(0.01, 1, count) ** 3
    waves, amplitude = responses.astype(np.complex64), np.ones(40, dtype=np.complex64)
    symmetric = np.diag(np.arange(count) % 2.0)
    kept, free = select_directions(waves, symmetric, amplitude, np.arange(20))
    assert kept.shape == (40, MAX_DIRECTIONS)
    assert (np.abs(kept[:20]) ** 2).sum() > 0.98 * (responses[:20] ** 2).sum()
    assert free.sum() == pytest.approx(MAX_DIRECTIONS / 2, abs=2)
    few, _ = select_directions(waves[:, :5], symmetric[:5, :5], amplitude, np.arange(20))
    assert np.linalg.norm(few) == pytest.approx(np.linalg.norm(waves[:, :5]), rel=1e-5)


@pytest.mark.parametrize("name", ["graphene", "1T-TaS2", "MoSSe", "black phosphorus"])
def test_displacements_that_keep_the_symmetry_leave_equivalent_reflections_equal(name: str) -> None:
    crystal = LAYERS[name]
    hk = list_reflections(crystal.lattice, Q_MAX)
    waves = StaticMultislice.from_crystal(crystal, 80.0, Q_MAX).compute_amplitudes(hk, np.zeros((1, 2)))[0]
    waves = (waves / np.abs(waves).max()).astype(np.complex64)
    scatterers = Scatterers.from_crystal(crystal, 80.0, hk)
    (response,) = find_responses([scatterers], [0], np.zeros((1, 2)), [waves], [np.arange(len(hk))])
    change, still = 2 * (waves.conj()[:, None] * response.amplitudes).real, np.abs(waves) ** 2
    length = np.linalg.norm(hk @ reciprocal_lattice(crystal.lattice), axis=1)
    equal = np.abs(still[:, None] - still) < 1e-5 * still.max()
    equal &= np.abs(length[:, None] - length) < 1e-6
    largest = float(np.abs(change).max())
    for own in change[:, response.keeps_symmetry].T:
        assert own[equal.argmax(axis=0)] == pytest.approx(own, abs=2e-3 * largest)
    # The changes of equivalent reflections by any other displacement add up to zero.
    mean = (equal / equal.sum(axis=1, keepdims=True)) @ change[:, ~response.keeps_symmetry]
    assert np.abs(mean).max() < 0.02 * largest


def simulate_frozen_phonons(crystal: Crystal, configurations: int) -> tuple[Spots, np.ndarray]:
    """The mean pattern of single cells displaced by 0.06 angstrom, and ln of its ratio to the coherent one."""
    rng, count = np.random.default_rng(4), len(crystal.numbers)
    moved = rng.normal(0, 0.06, (configurations, count, 3))
    tilts, none = np.zeros((configurations, 2)), np.zeros(configurations)
    conditions = Conditions(np.full(configurations, 80.0), tilts, moved, none)
    _, q, displaced = compute_dynamical_intensities(crystal, conditions, Q_MAX)
    still = Conditions(np.array([80.0]), tilts[:1], np.zeros((1, count, 3)), np.array([DIFFUSE_B]))
    _, _, coherent = compute_dynamical_intensities(crystal, still, Q_MAX)
    mean = displaced.mean(axis=0)
    return Spots(q, mean / mean.max()), np.log(mean / coherent[0])


def test_diffuse_scattering_in_faint_reflections_is_distinguished_from_another_crystal() -> None:
    """Faint reflections that are brighter by it cost less than others that are brighter by as much."""
    crystal, rng = LAYERS["black phosphorus"], np.random.default_rng(6)
    spots, gain = simulate_frozen_phonons(crystal, 60)
    assert spots.intensity is not None
    elsewhere = replace(spots, intensity=spots.intensity * np.exp(rng.permutation(gain) - gain))
    score = []
    for each in (spots, elsewhere):
        (match,) = verify([crystal], [0.5], each, 80.0).matches
        assert match is not None
        score.append(match.score)
    assert score[0] > score[1] + 10


def test_displaced_atoms_are_distinguished_from_another_crystal() -> None:
    """Intensities that deviate as displacements make them cost less than others that deviate by as much."""
    rng, crystal = np.random.default_rng(5), LAYERS["1T-TaS2"]
    pose = FlakePose(2.0, 30.0)
    shift = rng.normal(0, DISPLACEMENT_SIGMA_ANGSTROM, (len(crystal.numbers), 2))
    plain, moved = simulate_pattern(crystal, pose), simulate_pattern(displace(crystal, shift), pose)
    assert plain.intensity is not None
    assert moved.intensity is not None
    change = np.log(moved.intensity / plain.intensity)
    permuted = replace(plain, intensity=plain.intensity * np.exp(rng.permutation(change)))
    score = []
    for spots in (plain, moved, permuted):
        (match,) = verify([crystal], [0.5], spots, 80.0).matches
        assert match is not None
        score.append(match.score)
    assert score[0] > score[1] > score[2] + 3


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_the_noise_of_the_pattern_is_estimated(noise: float) -> None:
    crystal, rng = LAYERS["1T-TaS2"], np.random.default_rng(1)
    spots = simulate_pattern(crystal, FlakePose(1.0, 30.0))
    assert spots.intensity is not None
    noisy = replace(spots, intensity=spots.intensity * np.exp(rng.normal(0, noise, len(spots))))
    (match,) = verify([crystal], [0.5], noisy, 80.0).matches
    assert match is not None
    sigma = float(np.nanmin(match.reflections.log_intensity_sigma))
    assert sigma == pytest.approx(np.hypot(noise, 0.1), rel=0.4)
