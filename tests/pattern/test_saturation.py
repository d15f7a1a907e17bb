"""What a full camera clipped stays marked until the intensities are compared."""

from collections.abc import Callable
from typing import Any

import numpy as np

from model.matching.observation import Observation
from model.pattern import Frame, PatternOptions, Spots, find_spots
from model.pattern.frame import saturation_of


def test_clipped_spots_are_marked_where_intensities_are_compared(render: Callable[..., Any]) -> None:
    truth = render(10, size=512, sigma=2.5, direct=20.0, dose=5000.0)
    counts = np.minimum(truth.counts, 1500).astype(np.float32)
    frame = Frame(counts, saturation_level=saturation_of(counts))
    spots = find_spots(frame, PatternOptions(pixel_size_inv_angstrom=truth.pixel_size))
    assert spots.exposure is not None
    seen = Observation.of(spots, 80.0)
    assert 0 < seen.saturated.sum() <= spots.exposure.saturated.sum()
    # The strongest come first, and those are the ones that fill a camera.
    assert seen.saturated[0]
    assert not seen.saturated[len(seen) // 2 :].any()
    assert (seen.rescaled(1.1).saturated == seen.saturated).all()


def test_points_are_not_clipped() -> None:
    q = np.array([[0.4, 0.0], [-0.4, 0.0], [0.0, 0.5]])
    assert not Observation.of(Spots(q, np.array([3.0, 2.0, 1.0])), 80.0).saturated.any()
