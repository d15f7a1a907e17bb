"""A candidate's own symmetry: which faces and settings are really different."""

import numpy as np
import pytest

from model.matching.layer import Layer
from model.matching.observation import Observation
from model.matching.settings import changes_of, inverse_of
from model.physics.reciprocal import reciprocal_lattice
from tests.matching.patterns import LAYERS, Lying, pattern


def layer_of(name: str) -> tuple[Layer, np.ndarray]:
    crystal = LAYERS[name]
    (changes,) = changes_of(reciprocal_lattice(crystal.lattice)[None])
    return Layer(crystal, Observation.of(pattern(crystal, Lying()), 80.0)), changes


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
    layer, changes = layer_of(name)
    assert len(layer.faces) == faces
    distinct = layer.distinct(changes)
    assert len(distinct) == settings
    assert np.array_equal(distinct[0], changes[0])


def test_changes_of_basis_are_undone_by_their_inverse() -> None:
    for name in LAYERS:
        _, changes = layer_of(name)
        assert np.array_equal(inverse_of(changes) @ changes, np.broadcast_to(np.eye(2), changes.shape))
