"""What a full camera clipped stays marked until the intensities are compared."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from model.pattern.detection.spot_finding import find_spots, locate_spots
from model.pattern.frame import Frame, find_saturation_level
from model.pattern.observation import SATURATION_SIGMA, Observation, estimate_saturation_variance
from model.pattern.options import PatternOptions
from model.pattern.spots import Spots


def test_clipped_spots_are_marked_where_intensities_are_compared(render: Callable[..., Any]) -> None:
    truth = render(10, size=512, sigma=2.5, direct=20.0, dose=5000.0)
    counts = np.minimum(truth.counts, 1500).astype(np.float32)
    frame = Frame(counts, saturation_level=find_saturation_level(counts))
    spots = find_spots(frame, PatternOptions(pixel_size_inv_angstrom=truth.pixel_size))
    assert spots.exposure is not None
    seen = Observation.from_spots(spots, 80.0)
    assert 0 < seen.saturated.sum() <= spots.exposure.saturated.sum()
    # The strongest come first, and those are the ones that fill a camera.
    assert seen.saturated[0]
    assert not seen.saturated[len(seen) // 2 :].any()
    assert (seen.rescale(1.1).saturated == seen.saturated).all()


def test_of_a_camera_that_most_strong_spots_fill_the_others_tell_the_width(
    render: Callable[..., Any],
) -> None:
    truth = render(13, size=512, sigma=2.5, direct=20.0, dose=20_000.0)
    heights = np.sort(truth.intensity)[::-1] / (2 * np.pi * truth.sigma**2)
    counts = np.minimum(truth.counts, round(np.median(truth.counts) + heights[24])).astype(np.float32)
    found = locate_spots(Frame(counts, saturation_level=find_saturation_level(counts)))
    assert found.peaks.clipped.sum() > 20
    assert found.sigma == pytest.approx(truth.sigma, rel=0.05)
    distance, own = cKDTree(found.peaks.pixels).query(truth.pixels)
    both = (distance < 2) & (truth.signal_to_noise > 20)
    assert np.std(np.log(found.intensity[own[both]] / truth.intensity[both])) < 0.1


def test_the_more_of_a_spot_is_cut_off_the_less_sure_is_its_height() -> None:
    level = np.array([2.0, 1.0, 0.0, -0.1, -1.0])
    saturated = np.array([True, True, True, False, False])
    variance = estimate_saturation_variance(level, saturated)
    assert variance == pytest.approx((SATURATION_SIGMA * np.array([2.1, 1.1, 0.1, 0.0, 0.0])) ** 2)
    assert not estimate_saturation_variance(level, np.zeros(5, dtype=bool)).any()
    assert estimate_saturation_variance(level[:3], np.ones(3, dtype=bool)) == pytest.approx(
        (SATURATION_SIGMA * np.array([2.0, 1.0, 0.0])) ** 2
    )


def test_points_are_not_clipped() -> None:
    q = np.array([[0.4, 0.0], [-0.4, 0.0], [0.0, 0.5]])
    assert not Observation.from_spots(Spots(q, np.array([3.0, 2.0, 1.0])), 80.0).saturated.any()
