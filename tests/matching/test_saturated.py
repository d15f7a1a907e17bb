"""A height that flanks tell is less sure, in seeds and in fits; without saturated spots nothing changes."""

from dataclasses import replace

import numpy as np

from model.indexing.orientations import find_orientations
from model.matching.fitting.candidate_diffraction import diffraction_of
from model.matching.fitting.fit import Fit
from model.matching.fitting.intensity_model import FitStart
from model.matching.fitting.refinement import refine
from model.matching.fitting.rough_fit import find_starting_points, fit_roughly
from model.pattern.observation import Observation
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern


def find_best_fit(observed: Observation) -> tuple[float, Fit]:
    """The score of the best starting point of the crystal that made the pattern, and the refinement from there."""
    crystal = LAYERS["MoSSe"]
    orientations = find_orientations(crystal.lattice[None], observed)
    diffraction, on_lattice = diffraction_of(crystal, observed), orientations.on_lattice[0]
    rows = diffraction.rows_of(orientations.hk)
    (point,) = find_starting_points(diffraction, observed, rows, on_lattice, 1)
    basis = orientations.basis[point.variant]
    start = FitStart(diffraction, observed, on_lattice, rows[point.variant], basis, point.face, point.tilt)
    (fit,) = refine(fit_roughly([start]), np.zeros(1))
    return point.score, fit


def observation(factor: float) -> Observation:
    """A noisy pattern whose strongest spot is measured so many times too high."""
    spots = simulate_pattern(
        LAYERS["MoSSe"], FlakePose(1.0, 20.0, 40.0, False, 1.0), np.random.default_rng(3)
    )
    assert spots.intensity is not None
    wrong = np.where(spots.intensity == spots.intensity.max(), factor, 1.0)
    return Observation.from_spots(replace(spots, intensity=spots.intensity * wrong), 80.0)


def test_a_wrong_height_of_a_saturated_spot_speaks_less_against_its_crystal() -> None:
    observed = observation(60.0)
    full = replace(observed, saturated=np.arange(len(observed)) < 1)
    seed, fit = find_best_fit(observed)
    less_seed, less = find_best_fit(full)
    assert less_seed > seed
    assert less.sigma[0] ** 2 > 0.5 * full.saturation_variance[0] > 0
    assert less.log_densities[0] > fit.log_densities[0]


def test_heights_have_no_level_of_their_own() -> None:
    """What they are relative to, the strongest of the pattern, may be saturated: it does not matter."""
    observed = observation(1.0)
    seed, fit = find_best_fit(observed)
    shifted_seed, shifted = find_best_fit(replace(observed, log_intensity=observed.log_intensity - 1.5))
    assert abs(seed - shifted_seed) < 1e-3
    off = np.isfinite(fit.computed)
    assert np.allclose(fit.computed[off] - 1.5, shifted.computed[off], atol=0.01)
    assert np.allclose(fit.tilt, shifted.tilt, atol=1e-3)
