"""Spots in masked rectangles are removed, and the other arrays follow."""

from dataclasses import replace

import numpy as np
import pytest

from model.errors import NoSpotsError
from model.pattern.options import PatternOptions
from model.pattern.points.point_cloud import make_spots_from_points
from model.pattern.spots import Exposure, find_unmasked, mask_spots

RING = [
    [100 + 30 * np.cos(a), 100 + 30 * np.sin(a), 5.0 - k]
    for k, a in enumerate(np.radians([0, 90, 180, 270, 45]))
]
OPTIONS = PatternOptions(pixel_size_inv_angstrom=0.01, center_px=(100.0, 100.0))


@pytest.mark.parametrize("rectangle", [[125, 90, 140, 110], [140, 110, 125, 90], [125, 110, 140, 90]])
def test_a_rectangle_is_given_by_any_two_opposite_corners(rectangle: list[float]) -> None:
    spots = make_spots_from_points(RING, OPTIONS)
    unmasked = mask_spots(spots, np.array([rectangle], dtype=np.float64))
    assert len(unmasked) == 4
    assert unmasked.intensity is not None
    assert unmasked.intensity.max() == 4.0
    np.testing.assert_allclose(unmasked.masks_inv_angstrom, [[0.25, -0.1, 0.4, 0.1]])
    np.testing.assert_allclose(unmasked.rescale(2.0).masks_inv_angstrom, [[0.5, -0.2, 0.8, 0.2]])


def test_masks_scattering_vectors_in_reciprocal_space() -> None:
    q = [[(x - 100) / 100, (y - 100) / 100, i] for x, y, i in RING]
    unmasked = mask_spots(make_spots_from_points(q, PatternOptions()), np.array([[0.25, -0.1, 0.4, 0.1]]))
    assert len(unmasked) == 4
    assert unmasked.masks_inv_angstrom.tolist() == [[0.25, -0.1, 0.4, 0.1]]


def test_the_exposure_follows_the_spots() -> None:
    spots = make_spots_from_points(RING, OPTIONS)
    values = np.arange(5, dtype=np.float64)
    exposure = Exposure(values, values, values > 2, 1.5, "symmetry", 2, 1.0, False, (200, 200), "TIFF")
    unmasked = mask_spots(replace(spots, exposure=exposure), np.array([[125.0, 90, 140, 110]]))
    assert unmasked.exposure is not None
    assert unmasked.exposure.position_sigma_px.tolist() == [1, 2, 3, 4]
    assert unmasked.exposure.saturated.tolist() == [False, False, True, True]


def test_refuses_to_leave_fewer_than_three_spots() -> None:
    with pytest.raises(NoSpotsError, match="at least 3"):
        mask_spots(make_spots_from_points(RING, OPTIONS), np.array([[0.0, 0.0, 200.0, 101.0]]))


def test_finds_unmasked_positions_of_any_shape() -> None:
    rectangles = np.array([[0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0]])
    positions = np.array([[[0.5, 0.5], [1.5, 1.5]], [[2.0, 3.0], [2.5, 0.5]]])
    assert find_unmasked(positions, rectangles).tolist() == [[False, True], [False, True]]
