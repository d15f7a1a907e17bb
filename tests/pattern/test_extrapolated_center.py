"""A direct beam outside the frame is extrapolated from how the pattern falls off, or the frame is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import NoSpotsError
from model.indexing.pattern_quality import assess_quality
from model.pattern.beam_center.node_heights import NodeHeights
from model.pattern.beam_center.spot_lattice import SpotLattice
from model.pattern.detection.spot_calibration import LocatedSpots
from model.pattern.detection.spot_finding import find_spots, locate_spots
from model.pattern.frame import Frame, find_saturation_level
from model.pattern.options import PatternOptions
from model.pattern.read import read_pattern
from model.pattern.signal.peaks import DetectedPeaks, Peaks
from model.pattern.signal.preprocessing import BinnedImage
from tests.paths import SHARED

FORMATS = SHARED / "data" / "patterns" / "formats"
Render = Callable[..., Any]
SIDE = 512


def cut(truth: Any, beyond: int) -> tuple[Frame, NDArray[np.float64]]:
    """Cut a frame so that its left edge lies `beyond` pixels right of the direct beam; also return the direct beam."""
    left, top = round(truth.center[0]) + beyond, round(truth.center[1]) - SIDE // 3
    counts = truth.counts[top : top + SIDE, left : left + SIDE].astype(np.float32)
    return Frame(counts, saturation_level=find_saturation_level(counts)), truth.center - [left, top]


def locate_outside(render: Render, seed: int, beyond: int) -> tuple[LocatedSpots | None, float]:
    """Locate spots without the direct beam, and return the error of the center; None if the frame is refused."""
    truth = render(seed, size=1400, sigma=2.0, cell=(4.0, 7.0), direct=3000.0)
    frame, center = cut(truth, beyond)
    try:
        located = locate_spots(frame)
    except NoSpotsError:
        return None, 0.0
    return located, float(np.hypot(*(center - (located.center.x, located.center.y))))


def test_extrapolates_a_direct_beam_outside_the_frame_or_refuses_it(render: Render) -> None:
    results = [locate_outside(render, seed, beyond) for seed in range(1, 9) for beyond in (20, 90)]
    accepted = [(located, error) for located, error in results if located is not None]
    assert len(accepted) >= 0.5 * len(results)
    assert all(error < 1.5 for _, error in accepted)
    assert all(located.center_method == "extrapolated" for located, _ in accepted)
    probabilities = [located.center_probability for located, _ in accepted]
    assert all(probability is not None and probability >= 0.8 for probability in probabilities)


def test_warns_of_an_extrapolated_center(render: Render) -> None:
    truth = render(1, size=1400, sigma=2.0, cell=(4.0, 7.0), direct=3000.0)
    frame, center = cut(truth, 20)
    spots = find_spots(frame, PatternOptions(pixel_size_inv_angstrom=truth.pixel_size))
    assert spots.exposure is not None
    assert spots.exposure.center_method == "extrapolated"
    assert spots.center_px == pytest.approx(tuple(center), abs=1.5)
    assert any("Give center if you know it" in each for each in spots.warnings)
    assert any("give center" in each for each in assess_quality(spots, None).advice)


@pytest.mark.skipif(not FORMATS.is_dir(), reason="the shared patterns are not beside the project")
def test_an_extrapolated_center_completes_the_parallelogram_of_the_nearest_spots() -> None:
    spots = read_pattern((FORMATS / "test.mib").read_bytes(), "test.mib", PatternOptions())
    assert spots.exposure is not None
    assert spots.exposure.center_method == "extrapolated"
    assert spots.pixels is not None
    near = spots.pixels[np.argsort(np.hypot(*spots.q_inv_angstrom.T))[:4]]
    corners = [
        near[a] + near[b] - near[c] for a in range(4) for b in range(a) for c in range(4) if c not in (a, b)
    ]
    assert np.min(np.hypot(*(np.array(corners) - spots.center_px).T)) < 1.5


@pytest.mark.parametrize(("stop", "direct"), [(False, 1000.0), (True, 1000.0), (False, 0.0)])
def test_keeps_a_center_of_symmetry_at_the_direct_beam(render: Render, stop: bool, direct: float) -> None:
    for seed in range(40, 46):
        truth = render(seed, stop=stop, direct=direct)
        counts = truth.counts.astype(np.float32)
        located = locate_spots(Frame(counts, saturation_level=find_saturation_level(counts)))
        assert located.center_method == "symmetry"
        assert np.hypot(located.center.x - truth.center[0], located.center.y - truth.center[1]) < 0.3


def test_heights_fall_off_from_their_own_node() -> None:
    rng = np.random.default_rng(2)
    basis, origin = np.array([[40.0, 5.0], [-9.0, 37.0]]), np.array([-60.0, 150.0])
    lattice = SpotLattice(origin, basis)
    pixels = origin + lattice.find_indices_within((4.0, 4.0, 507.0, 507.0)) @ basis
    height = np.exp(9 - np.hypot(*(pixels - origin).T) / 55 + rng.normal(0, 0.7, len(pixels)))
    kept = height > 2.0
    peaks = Peaks(pixels[kept], height[kept], np.ones(kept.sum()), np.zeros(kept.sum(), dtype=bool))
    usable = np.ones((512, 512), dtype=bool)
    binned = BinnedImage.from_counts(usable.astype(np.float32), 512)
    heights = NodeHeights.measure(lattice, DetectedPeaks(usable, peaks, 1.5, binned))
    assert heights.seen.sum() == kept.sum()
    likelihood, residual = heights.fit_fall_off(np.array([origin, [256.0, 256.0], [560.0, 150.0]]), 512.0)
    assert likelihood[0] > likelihood[1:].max() + 5
    assert np.abs(residual[0]).max() < 5


def test_finds_the_symmetries_of_oblique_and_hexagonal_lattices() -> None:
    oblique = SpotLattice(np.zeros(2), np.array([[41.0, 3.0], [-12.0, 33.0]]))
    (inversion,) = oblique.find_symmetries()
    assert np.array_equal(inversion, -np.eye(2))
    hexagonal = SpotLattice(np.zeros(2), 30 * np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]]))
    assert len(hexagonal.find_symmetries()) == 11
