"""The likelihood of intensities: its derivatives, its optimum and its evidence."""

import numpy as np
import pytest

from model.indexing.orientations import find_orientations
from model.matching.fitting.candidate_diffraction import (
    FitStart,
    IntensityModel,
    OrientedCandidate,
)
from model.matching.fitting.diffraction_cache import get_diffraction
from model.matching.fitting.displacements import DisplacementResponse
from model.matching.fitting.likelihood import linearize
from model.matching.priors import B_FACTOR, LEVEL, LOG_DIFFUSE, TILT
from model.pattern.observation import Observation
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern


def make_model(name: str) -> IntensityModel:
    """One fit of a crystal to its own pattern, with two directions of displacements."""
    crystal = LAYERS[name]
    observed = Observation.from_spots(simulate_pattern(crystal, FlakePose(1.0, 30.0, 10.0)), 80.0)
    orientations = find_orientations(crystal.lattice[None], observed)
    diffraction = get_diffraction(crystal, observed)
    variants = diffraction.find_variants(orientations.basis[0], orientations.hk[0], distinct=True)
    candidate = OrientedCandidate(diffraction, observed, orientations.on_lattice[0], variants)
    rng, count = np.random.default_rng(0), len(diffraction.hk)
    response = DisplacementResponse(
        (0.1 * rng.normal(size=(count, 2)) + 0.1j * rng.normal(size=(count, 2))).astype(np.complex64),
        np.ones(2, dtype=bool),
        rng.uniform(0.0, 0.1, count),
    )
    start = FitStart(candidate, variant=0, face=0, tilt=np.zeros(2), score=0.0)
    return IntensityModel.from_starts([start]).add_displacements([response])


@pytest.mark.parametrize("name", ["graphene", "1T-TaS2"])
def test_the_design_is_the_derivative_of_the_computed_intensities(name: str) -> None:
    model = make_model(name)
    parameters = np.array([[0.2, 0.4, 0.02, -0.01, -1.5, 0.3, -0.2]])
    linear = linearize(model, parameters)
    for column in [LEVEL, B_FACTOR, *range(TILT.start, TILT.stop), LOG_DIFFUSE, 5, 6]:
        step = np.zeros_like(parameters)
        step[0, column] = 1e-3
        change = linearize(model, parameters - step).residual - linearize(model, parameters + step).residual
        used = model.used[0]
        expected = change[0, used] / 2e-3
        assert linear.design[0, used, column] == pytest.approx(
            expected, abs=0.02 * np.abs(expected).max() + 1e-3
        )
