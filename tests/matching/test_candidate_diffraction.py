"""The diffraction of a candidate: which faces and variants its symmetry leaves distinct, and when it is cached."""

import numpy as np
import pytest

from model.indexing.orientations import find_lattice_symmetries, invert_changes
from model.matching.fitting.candidate_diffraction import CandidateDiffraction
from model.matching.fitting.diffraction_cache import DiffractionCache, get_diffraction
from model.pattern.observation import Observation
from model.physics.reciprocal import reciprocal_lattice
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern


@pytest.mark.parametrize(
    ("name", "faces", "variants"),
    [
        ("graphene", 1, 1),  # p6/mmm: all twelve variants are one
        ("MoS2", 1, 2),  # p-6m2 has no two-fold axis along the beam
        ("MoSSe", 2, 2),  # p3m1, and its faces differ
        ("black phosphorus", 1, 1),
    ],
)
def test_variants_that_symmetry_joins_are_left_out(name: str, faces: int, variants: int) -> None:
    diffraction = CandidateDiffraction(LAYERS[name], 80.0, 1.5)
    distinct = diffraction.find_variants(np.eye(2), diffraction.hk, distinct=True)
    every = diffraction.find_variants(np.eye(2), diffraction.hk, distinct=False)
    assert len(diffraction.faces) == faces
    assert len(distinct.bases) == variants
    assert np.array_equal(distinct.bases[0], every.bases[0])


@pytest.mark.parametrize("name", LAYERS)
def test_inverses_undo_changes_of_basis(name: str) -> None:
    (changes,) = find_lattice_symmetries(reciprocal_lattice(LAYERS[name].lattice)[None])
    assert np.array_equal(invert_changes(changes) @ changes, np.broadcast_to(np.eye(2), changes.shape))


def test_diffraction_is_cached_for_patterns_with_the_same_reach_and_voltage() -> None:
    crystal = LAYERS["MoS2"]
    observed = Observation.from_spots(simulate_pattern(crystal, FlakePose()), 80.0)
    diffraction = get_diffraction(crystal, observed)
    assert get_diffraction(crystal, observed.rescale(0.999)) is diffraction
    assert get_diffraction(crystal, observed.rescale(0.9)) is not diffraction
    assert get_diffraction(LAYERS["MoSSe"], observed) is not diffraction
    other_voltage = Observation.from_spots(simulate_pattern(crystal, FlakePose()), 200.0)
    assert get_diffraction(crystal, other_voltage) is not diffraction
    assert np.linalg.norm(diffraction.scatterers.q, axis=1).max() >= observed.q_max_inv_angstrom


def test_the_cache_is_limited_by_the_size_of_what_it_keeps() -> None:
    size = CandidateDiffraction(LAYERS["MoS2"], 80.0, 1.5).max_bytes
    cache = DiffractionCache(int(2.5 * size))
    first = cache.get(LAYERS["MoS2"], 80.0, 1.5)
    for voltage_kv in (81.0, 82.0, 83.0):
        assert cache.get(LAYERS["MoS2"], voltage_kv, 1.5) is cache.get(LAYERS["MoS2"], voltage_kv, 1.5)
        assert cache.bytes <= 2.5 * size
    assert cache.get(LAYERS["MoS2"], 80.0, 1.5) is not first


def test_the_size_of_what_is_kept_is_not_underestimated() -> None:
    candidate = CandidateDiffraction(LAYERS["oblique"], 80.0, 1.5)
    arrays = [face.coefficients for face in candidate.faces]
    arrays += [each for each in vars(candidate.scatterers).values() if isinstance(each, np.ndarray)]
    assert 0 < sum(each.nbytes for each in arrays) <= candidate.max_bytes
