"""Spots in a box do not count, whichever corners tell it, and what is left fits together."""

from dataclasses import replace

import numpy as np
import pytest

from model.errors import NoSpotsError
from model.pattern.mask import mask_spots, outside
from model.pattern.options import PatternOptions
from model.pattern.points.point_cloud import spots_from_points
from model.pattern.spots import Exposure

RING = [
    [100 + 30 * np.cos(a), 100 + 30 * np.sin(a), 5.0 - k]
    for k, a in enumerate(np.radians([0, 90, 180, 270, 45]))
]
OPTIONS = PatternOptions(pixel_size_inv_angstrom=0.01, center_px=(100.0, 100.0))


@pytest.mark.parametrize("box", [[125, 90, 140, 110], [140, 110, 125, 90], [125, 110, 140, 90]])
def test_a_box_is_told_by_any_two_opposite_corners(box: list[float]) -> None:
    spots = spots_from_points(RING, OPTIONS)
    left = mask_spots(spots, np.array([box], dtype=np.float64))
    assert len(left) == 4
    assert left.intensity is not None
    assert left.intensity.max() == 4.0
    np.testing.assert_allclose(left.masks_inv_angstrom, [[0.25, -0.1, 0.4, 0.1]])
    np.testing.assert_allclose(left.rescale(2.0).masks_inv_angstrom, [[0.5, -0.2, 0.8, 0.2]])


def test_positions_in_reciprocal_space_have_masks_there() -> None:
    q = [[(x - 100) / 100, (y - 100) / 100, i] for x, y, i in RING]
    left = mask_spots(spots_from_points(q, PatternOptions()), np.array([[0.25, -0.1, 0.4, 0.1]]))
    assert len(left) == 4
    assert left.masks_inv_angstrom.tolist() == [[0.25, -0.1, 0.4, 0.1]]


def test_what_a_frame_tells_of_its_spots_goes_with_them() -> None:
    spots = spots_from_points(RING, OPTIONS)
    told = np.arange(5, dtype=np.float64)
    exposure = Exposure(told, told, told > 2, 1.5, "symmetry", 2, 1.0, False, (200, 200), "TIFF")
    left = mask_spots(replace(spots, exposure=exposure), np.array([[125.0, 90, 140, 110]]))
    assert left.exposure is not None
    assert left.exposure.position_sigma_px.tolist() == [1, 2, 3, 4]
    assert left.exposure.saturated.tolist() == [False, False, True, True]


def test_too_little_may_be_left() -> None:
    with pytest.raises(NoSpotsError, match="at least 3"):
        mask_spots(spots_from_points(RING, OPTIONS), np.array([[0.0, 0.0, 200.0, 101.0]]))


def test_positions_of_any_shape_are_judged() -> None:
    boxes = np.array([[0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0]])
    places = np.array([[[0.5, 0.5], [1.5, 1.5]], [[2.0, 3.0], [2.5, 0.5]]])
    assert outside(places, boxes).tolist() == [[False, True], [False, True]]
