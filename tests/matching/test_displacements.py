"""Atoms that lie a little aside of where the library has them: what that does to intensities, and to a fit."""

from dataclasses import replace

import numpy as np
import pytest

from model.crystal import Crystal
from model.matching.displacements import (
    DISPLACEMENT_SIGMA_ANGSTROM,
    MOST_DIRECTIONS,
    Scatterers,
    main_directions,
)
from model.matching.noise import FLOOR
from model.matching.verification import verify
from model.physics.reciprocal import reflections
from model.physics.sheets import Sheets
from tests.matching.patterns import LAYERS, Lying, pattern

TILT = np.array([0.04, -0.02])
Q_MAX = 1.4


def waves(crystal: Crystal, hk: np.ndarray, face: int) -> np.ndarray:
    sheets = Sheets.of(crystal, 80.0, Q_MAX)
    seen: np.ndarray = (sheets.reversed() if face else sheets).amplitudes(hk, TILT[None])[0]
    return seen


def shifted(crystal: Crystal, shift: np.ndarray) -> Crystal:
    return replace(crystal, positions=crystal.positions + np.column_stack([shift, np.zeros(len(shift))]))


@pytest.mark.parametrize("face", [0, 1])
def test_responses_are_those_of_the_multislice(crystal: Crystal, face: int) -> None:
    hk = reflections(crystal.lattice, Q_MAX)
    amplitude = waves(crystal, hk, face)
    strongest = float((np.abs(amplitude) ** 2).max())
    amplitude = (amplitude / np.sqrt(strongest)).astype(np.complex64)
    responses = Scatterers.of(crystal, 80.0, hk).responses(TILT, face, amplitude)
    strong = np.abs(amplitude) ** 2 > 0.01
    rng, changes, left = np.random.default_rng(3), [], []
    for _ in range(6):
        shift = rng.normal(0, DISPLACEMENT_SIGMA_ANGSTROM, (len(crystal.numbers), 2))
        after = np.abs(waves(shifted(crystal, shift), hk, face)) ** 2 / strongest
        change = np.log(after + FLOOR) - np.log(np.abs(amplitude) ** 2 + FLOOR)
        changes.append(change[strong])
        by_waves = np.abs(amplitude + responses @ (shift.ravel() / DISPLACEMENT_SIGMA_ANGSTROM)) ** 2
        left.append((np.log(after + FLOOR) - np.log(by_waves + FLOOR))[strong])
    assert np.std(left) < 0.45 * np.std(changes)


def test_a_shift_of_the_whole_layer_changes_nothing(crystal: Crystal) -> None:
    hk = reflections(crystal.lattice, Q_MAX)
    scatterers = Scatterers.of(crystal, 80.0, hk)
    # The waves of single atoms, at the exit of the layer.
    whole = scatterers.amplitude * np.exp(
        1j
        * (
            np.outer(2 * np.pi * scatterers.q @ TILT + scatterers.curvature, scatterers.height)
            - scatterers.curvature[:, None] * np.ptp(scatterers.height) / 2
        )
    )
    amplitude = whole.sum(axis=1).astype(np.complex64)
    responses = scatterers.responses(TILT, 0, amplitude)
    for axis in (0, 1):
        turned = responses[:, axis::2].sum(axis=1) / amplitude
        # Each beam's phase alone is turned.
        assert np.abs(turned.real).max() < 0.02


def test_of_many_directions_those_that_matter_are_kept() -> None:
    rng = np.random.default_rng(0)
    responses = rng.normal(size=(40, 3 * MOST_DIRECTIONS)) * np.linspace(0.01, 1, 3 * MOST_DIRECTIONS) ** 3
    waves, amplitude = responses.astype(np.complex64), np.ones(40, dtype=np.complex64)
    kept = main_directions(waves, amplitude, np.arange(20))
    assert kept.shape == (40, MOST_DIRECTIONS)
    assert (np.abs(kept[:20]) ** 2).sum() > 0.99 * (responses[:20] ** 2).sum()
    assert main_directions(waves[:, :5], amplitude, np.arange(20)) is not None


def test_shifted_atoms_are_told_from_another_crystal() -> None:
    """Intensities that are off as shifts make them cost less than others that are off by as much."""
    rng, crystal = np.random.default_rng(5), LAYERS["1T-TaS2"]
    lying = Lying(2.0, 30.0)
    shift = rng.normal(0, DISPLACEMENT_SIGMA_ANGSTROM, (len(crystal.numbers), 2))
    plain, moved = pattern(crystal, lying), pattern(shifted(crystal, shift), lying)
    assert plain.intensity is not None
    assert moved.intensity is not None
    change = np.log(moved.intensity / plain.intensity)
    turned_about = replace(plain, intensity=plain.intensity * np.exp(rng.permutation(change)))
    score = []
    for spots in (plain, moved, turned_about):
        (match,) = verify([crystal], [0.5], spots, 80.0).matches
        assert match is not None
        score.append(match.score)
    assert score[0] > score[1] > score[2] + 3


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_the_noise_of_the_pattern_is_found(noise: float) -> None:
    crystal, rng = LAYERS["1T-TaS2"], np.random.default_rng(1)
    spots = pattern(crystal, Lying(1.0, 30.0))
    assert spots.intensity is not None
    noisy = replace(spots, intensity=spots.intensity * np.exp(rng.normal(0, noise, len(spots))))
    (match,) = verify([crystal], [0.5], noisy, 80.0).matches
    assert match is not None
    sigma = float(np.nanmin(match.beams.log_sigma))
    assert sigma == pytest.approx(np.hypot(noise, 0.1), rel=0.4)
