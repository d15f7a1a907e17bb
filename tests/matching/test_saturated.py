"""Saturated spots have less weight, on the grid and in fits."""

from dataclasses import replace

import numpy as np

from model.indexing.orientations import find_orientations
from model.matching.fitting.candidate_diffraction import OrientedCandidate
from model.matching.fitting.diffraction_cache import get_diffraction
from model.matching.fitting.fit import Fit
from model.matching.fitting.refinement import refine
from model.matching.fitting.rough_fit import find_starts, fit_roughly
from model.pattern.observation import Observation
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern


def find_best_fit(observed: Observation) -> tuple[float, Fit]:
    """The score of the best start of the crystal that made the pattern, and the refinement from there."""
    crystal = LAYERS["MoSSe"]
    orientations = find_orientations(crystal.lattice[None], observed)
    diffraction = get_diffraction(crystal, observed)
    variants = diffraction.find_variants(orientations.basis[0], orientations.hk[0], distinct=True)
    candidate = OrientedCandidate(diffraction, observed, orientations.on_lattice[0], variants)
    ((start,),) = find_starts([candidate], 1)
    (fit,) = refine(fit_roughly([start]), np.zeros(1))
    return start.score, fit


def observe(factor: float) -> Observation:
    """A noisy pattern whose strongest spot is measured too high by a factor."""
    spots = simulate_pattern(
        LAYERS["MoSSe"], FlakePose(1.0, 20.0, 40.0, False, 1.0), np.random.default_rng(3)
    )
    assert spots.intensity is not None
    wrong = np.where(spots.intensity == spots.intensity.max(), factor, 1.0)
    return Observation.from_spots(replace(spots, intensity=spots.intensity * wrong), 80.0)


def test_a_wrong_intensity_of_a_saturated_spot_is_less_evidence_against_its_crystal() -> None:
    observed = observe(60.0)
    saturated = replace(observed, saturated=np.arange(len(observed)) < 1)
    grid_score, fit = find_best_fit(observed)
    saturated_grid_score, saturated_fit = find_best_fit(saturated)
    assert saturated_grid_score > grid_score
    assert saturated_fit.sigma[0] ** 2 > 0.5 * saturated.saturation_variance[0] > 0
    assert saturated_fit.log_densities[0] > fit.log_densities[0]


def test_the_level_of_the_intensities_does_not_matter() -> None:
    """Intensities are relative to the strongest spot, which may be saturated."""
    observed = observe(1.0)
    grid_score, fit = find_best_fit(observed)
    shifted_grid_score, shifted = find_best_fit(replace(observed, log_intensity=observed.log_intensity - 1.5))
    assert abs(grid_score - shifted_grid_score) < 1e-3
    used = np.isfinite(fit.computed)
    assert np.allclose(fit.computed[used] - 1.5, shifted.computed[used], atol=0.01)
    assert np.allclose(fit.tilt, shifted.tilt, atol=1e-3)
