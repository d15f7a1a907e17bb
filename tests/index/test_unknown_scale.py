"""Crystals in the order of their similarity, each at its best scale."""

import numpy as np
import pytest

from index.search.unknown_scale import RADIUS_RANGE_INV_ANGSTROM, STEP, choose_scales, list_scales
from model.indexing.lattice_table import LatticeMatches
from model.pattern.spots import Spots

SPOTS = Spots(np.array([[0.4, 0.0], [0.0, 0.8], [1.2, 0.0], [-0.4, 0.0], [0.0, 0.4], [0.3, 0.3]]))


def test_scales_keep_the_pattern_within_range_and_cover_the_deviation() -> None:
    scales = list_scales(SPOTS)
    radius = np.quantile(np.hypot(*SPOTS.q_inv_angstrom.T), 0.95)
    assert radius / scales[0] == pytest.approx(RADIUS_RANGE_INV_ANGSTROM[1])
    assert radius / scales[-1] == pytest.approx(RADIUS_RANGE_INV_ANGSTROM[0], rel=STEP)
    np.testing.assert_allclose(np.diff(np.log(scales)), STEP)
    doubted = list_scales(SPOTS, 0.1)
    assert doubted[0] == pytest.approx(np.exp(-0.1))
    assert np.exp(0.1) <= doubted[-1] < np.exp(0.1 + STEP)


def test_without_a_lattice_all_scales_are_allowed() -> None:
    similarity = np.array([[0.1, 0.9], [0.5, 0.2], [0.3, 0.3]], dtype=np.float32)
    scales = np.array([0.8, 1.0, 1.25])
    found = choose_scales(similarity, scales, np.array([4, 7]), None)
    assert found.row.tolist() == [7, 4]
    np.testing.assert_allclose(found.similarity, [0.9, 0.5], rtol=1e-6)
    assert found.scale.tolist() == [0.8, 1.0]


def test_a_lattice_restricts_the_scales_of_a_crystal() -> None:
    scales = np.exp(STEP * np.arange(10))
    similarity = np.tile(np.linspace(0.0, 0.9, 10, dtype=np.float32)[:, None], (1, 3))
    rows = np.array([2, 5, 9])
    fitting = LatticeMatches(
        np.array([5, 2, 5, 3, 9]), np.array([scales[1], scales[4], scales[6], scales[9], 40.0])
    )
    found = choose_scales(similarity, scales, rows, fitting)
    # 3 is not admitted, 9 would need a scale that the pattern does not bear, 5 is better at its second.
    assert found.row.tolist() == [5, 2]
    assert found.scale.tolist() == pytest.approx([scales[6], scales[4]])
    np.testing.assert_allclose(found.similarity, [0.6, 0.4], rtol=1e-5)


def test_without_admitted_crystals_there_are_no_neighbors() -> None:
    none = np.empty((3, 0), dtype=np.float32)
    scales = np.array([0.8, 1.0, 1.25])
    for fitting in (None, LatticeMatches(np.array([1]), np.array([1.0]))):
        assert len(choose_scales(none, scales, np.empty(0, dtype=np.int64), fitting).row) == 0


def test_a_pattern_out_of_range_at_all_scales_has_no_scales() -> None:
    assert len(list_scales(SPOTS.rescale(4.0), 0.1)) == 0
    assert len(list_scales(SPOTS.rescale(4.0))) > 10
