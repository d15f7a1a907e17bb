"""The direct beam off the frame is told from what falls off from it, or the frame is refused; never guessed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import NoSpotsError
from model.indexing.pattern_quality import assess_quality
from model.pattern.beam_center.envelope import NodeHeights
from model.pattern.beam_center.lattice_node import SpotLattice
from model.pattern.detection.spot_finding import FoundSpots, find_spots, locate_spots
from model.pattern.frame import Frame, find_saturation_level
from model.pattern.options import PatternOptions
from model.pattern.read import read_pattern
from model.pattern.signal.peaks import Peaks
from tests.paths import SHARED

FORMATS = SHARED / "data" / "patterns" / "formats"
Render = Callable[..., Any]
SIDE = 512


def cut(truth: Any, beyond: int) -> tuple[Frame, NDArray[np.float64]]:
    """A piece of a frame whose left edge lies `beyond` pixels right of the direct beam, and where that is."""
    left, top = round(truth.center[0]) + beyond, round(truth.center[1]) - SIDE // 3
    counts = truth.counts[top : top + SIDE, left : left + SIDE].astype(np.float32)
    return Frame(counts, saturation_level=find_saturation_level(counts)), truth.center - [left, top]


def found_off(render: Render, seed: int, beyond: int) -> tuple[FoundSpots | None, float]:
    """What is found in a frame without its direct beam, and how far its centre is off; None where it is refused."""
    truth = render(seed, size=1400, sigma=2.0, cell=(4.0, 7.0), direct=3000.0)
    frame, centre = cut(truth, beyond)
    try:
        found = locate_spots(frame)
    except NoSpotsError:
        return None, 0.0
    return found, float(np.hypot(*(centre - (found.center.x, found.center.y))))


def test_a_direct_beam_off_the_frame_is_told_or_the_frame_refused(render: Render) -> None:
    told = [found_off(render, seed, beyond) for seed in range(1, 9) for beyond in (20, 90)]
    answered = [(found, off) for found, off in told if found is not None]
    assert len(answered) >= 0.5 * len(told)
    assert all(off < 1.5 for _, off in answered)
    assert all(found.center_method == "extrapolated" for found, _ in answered)
    assert all(found.certainty is not None and found.certainty >= 0.8 for found, _ in answered)


def test_an_extrapolated_centre_is_warned_of(render: Render) -> None:
    truth = render(1, size=1400, sigma=2.0, cell=(4.0, 7.0), direct=3000.0)
    frame, centre = cut(truth, 20)
    spots = find_spots(frame, PatternOptions(pixel_size_inv_angstrom=truth.pixel_size))
    assert spots.exposure is not None
    assert spots.exposure.center_method == "extrapolated"
    assert spots.center_px == pytest.approx(tuple(centre), abs=1.5)
    assert any("give center if you know it" in each for each in spots.warnings)
    assert any("give center" in each for each in assess_quality(spots, None).advice)


@pytest.mark.skipif(not FORMATS.is_dir(), reason="the shared patterns are not beside the project")
def test_a_recorded_direct_beam_behind_a_stop_at_the_edge_closes_the_parallelogram_of_its_spots() -> None:
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
def test_a_centre_of_symmetry_that_is_the_direct_beam_stays(
    render: Render, stop: bool, direct: float
) -> None:
    for seed in range(40, 46):
        truth = render(seed, stop=stop, direct=direct)
        counts = truth.counts.astype(np.float32)
        found = locate_spots(Frame(counts, saturation_level=find_saturation_level(counts)))
        assert found.center_method == "symmetry"
        assert np.hypot(found.center.x - truth.center[0], found.center.y - truth.center[1]) < 0.3


def test_heights_fall_off_from_the_node_they_were_made_about() -> None:
    rng = np.random.default_rng(2)
    basis, beam = np.array([[40.0, 5.0], [-9.0, 37.0]]), np.array([-60.0, 150.0])
    lattice = SpotLattice(beam, basis)
    pixels = beam + lattice.indices_within((4.0, 4.0, 507.0, 507.0)) @ basis
    height = np.exp(9 - np.hypot(*(pixels - beam).T) / 55 + rng.normal(0, 0.7, len(pixels)))
    kept = height > 2.0
    peaks = Peaks(pixels[kept], height[kept], np.ones(kept.sum()), np.zeros(kept.sum(), dtype=bool))
    seen = NodeHeights.of(lattice, peaks, 1.5, np.ones((512, 512), dtype=bool))
    assert seen.seen.sum() == kept.sum()
    likelihood, deviation = seen.falling_off(np.array([beam, [256.0, 256.0], [560.0, 150.0]]), 512.0)
    assert likelihood[0] > likelihood[1:].max() + 5
    assert np.abs(deviation[0]).max() < 5


def test_an_oblique_lattice_has_its_inversion_alone_and_a_hexagonal_one_eleven_symmetries() -> None:
    oblique = SpotLattice(np.zeros(2), np.array([[41.0, 3.0], [-12.0, 33.0]]))
    (inversion,) = oblique.symmetries()
    assert np.array_equal(inversion, -np.eye(2))
    hexagonal = SpotLattice(np.zeros(2), 30 * np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]]))
    assert len(hexagonal.symmetries()) == 11
