"""A candidate's own symmetry: which faces and settings are really different; and that it is computed once."""

import numpy as np
import pytest

from model.indexing.orientations import invert_changes
from model.matching.fitting.candidate_diffraction import Layer, layer_of
from model.pattern.observation import Observation
from tests.matching.patterns import LAYERS, Lying, pattern


def layer(name: str) -> Layer:
    return Layer(LAYERS[name], 80.0, 1.5)


@pytest.mark.parametrize(
    ("name", "faces", "settings"),
    [
        ("graphene", 1, 1),  # p6/mmm: all twelve settings are one
        ("MoS2", 1, 2),  # p-6m2 has no two-fold axis along the beam
        ("MoSSe", 2, 2),  # p3m1, and its faces differ
        ("black phosphorus", 1, 1),
    ],
)
def test_only_settings_that_symmetry_does_not_join_are_tried(name: str, faces: int, settings: int) -> None:
    own = layer(name)
    assert len(own.faces) == faces
    assert len(own.distinct_changes) == settings
    assert np.array_equal(own.distinct_changes[0], own.changes[0])


def test_changes_of_basis_are_undone_by_their_inverse() -> None:
    for name in LAYERS:
        changes = layer(name).changes
        assert np.array_equal(invert_changes(changes) @ changes, np.broadcast_to(np.eye(2), changes.shape))


def test_a_layer_is_kept_for_patterns_that_reach_as_far_and_no_others() -> None:
    crystal = LAYERS["MoS2"]
    observed = Observation.from_spots(pattern(crystal, Lying()), 80.0)
    own = layer_of(crystal, observed)
    assert layer_of(crystal, observed.rescale(0.999)) is own
    assert layer_of(crystal, observed.rescale(0.9)) is not own
    assert layer_of(LAYERS["MoSSe"], observed) is not own
    assert layer_of(crystal, Observation.from_spots(pattern(crystal, Lying()), 200.0)) is not own
    assert np.linalg.norm(own.scatterers.q, axis=1).max() >= observed.q_max_inv_angstrom
