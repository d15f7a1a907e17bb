"""Saturated spots stay marked until their intensities are compared."""

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


def test_marks_saturated_spots_of_an_observation(render: Callable[..., Any]) -> None:
    truth = render(10, size=512, sigma=2.5, direct=20.0, dose=5000.0)
    counts = np.minimum(truth.counts, 1500).astype(np.float32)
    frame = Frame(counts, saturation_level=find_saturation_level(counts))
    spots = find_spots(frame, PatternOptions(pixel_size_inv_angstrom=truth.pixel_size))
    assert spots.exposure is not None
    observation = Observation.from_spots(spots, 80.0)
    assert 0 < observation.saturated.sum() <= spots.exposure.saturated.sum()
    # The strongest come first, and these are the saturated ones.
    assert observation.saturated[0]
    assert not observation.saturated[len(observation) // 2 :].any()
    assert (observation.rescale(1.1).saturated == observation.saturated).all()


def test_measures_the_width_with_unsaturated_spots(render: Callable[..., Any]) -> None:
    truth = render(13, size=512, sigma=2.5, direct=20.0, dose=20_000.0)
    heights = np.sort(truth.intensity)[::-1] / (2 * np.pi * truth.sigma**2)
    counts = np.minimum(truth.counts, round(np.median(truth.counts) + heights[24])).astype(np.float32)
    located = locate_spots(Frame(counts, saturation_level=find_saturation_level(counts)))
    assert located.peaks.saturated.sum() > 20
    assert located.sigma == pytest.approx(truth.sigma, rel=0.05)
    distance, own = cKDTree(located.peaks.pixels).query(truth.pixels)
    both = (distance < 2) & (truth.signal_to_noise > 20)
    assert np.std(np.log(located.intensity[own[both]] / truth.intensity[both])) < 0.1


def test_the_uncertainty_grows_with_the_height_above_saturation() -> None:
    log_intensity = np.array([2.0, 1.0, 0.0, -0.1, -1.0])
    saturated = np.array([True, True, True, False, False])
    variance = estimate_saturation_variance(log_intensity, saturated)
    assert variance == pytest.approx((SATURATION_SIGMA * np.array([2.1, 1.1, 0.1, 0.0, 0.0])) ** 2)
    assert not estimate_saturation_variance(log_intensity, np.zeros(5, dtype=bool)).any()
    assert estimate_saturation_variance(log_intensity[:3], np.ones(3, dtype=bool)) == pytest.approx(
        (SATURATION_SIGMA * np.array([2.0, 1.0, 0.0])) ** 2
    )


def test_points_are_not_saturated() -> None:
    q = np.array([[0.4, 0.0], [-0.4, 0.0], [0.0, 0.5]])
    assert not Observation.from_spots(Spots(q, np.array([3.0, 2.0, 1.0])), 80.0).saturated.any()
