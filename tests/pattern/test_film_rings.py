from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.pattern.detection.spot_finding import find_spots
from model.pattern.frame import Frame
from model.pattern.materials import MATERIALS
from model.pattern.options import RING_SCALE_SIGMA, PatternOptions
from model.pattern.signal.film_rings import FilmRings
from model.pattern.spots import Spots

Render = Callable[..., Any]


def add_rings(truth: Any, squares: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    """Add film rings to a rendered frame, at the radii of gold rings with these h^2 + k^2 + l^2."""
    y, x = np.mgrid[: len(truth.counts), : len(truth.counts)]
    q = np.hypot(x - truth.center[0], y - truth.center[1]) * truth.pixel_size
    film = sum(
        60 * np.exp(-((q - np.sqrt(each) / MATERIALS["Au"].a_angstrom) ** 2) / (2 * 0.006**2))
        for each in squares
    )
    return np.asarray(truth.counts + np.random.default_rng(seed).poisson(film), dtype=np.float32)


def find(counts: NDArray[np.float32], pixel_size: float | None = None, **known: Any) -> Spots:
    return find_spots(Frame(counts, **known), PatternOptions(pixel_size_inv_angstrom=pixel_size))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gold_rings_give_the_scale_where_nothing_else_does(render: Render, seed: int) -> None:
    truth = render(seed, size=512)
    spots = find(add_rings(truth, (3, 4, 8, 11, 12)))
    assert (spots.calibration, spots.scale_is_known) == ("rings", True)
    assert spots.scale_sigma == RING_SCALE_SIGMA
    assert spots.pixel_size_inv_angstrom == pytest.approx(truth.pixel_size, rel=0.003)
    assert any("rings of the support film, assumed to be gold" in warning for warning in spots.warnings)


def test_gold_rings_contradict_only_a_wrong_scale(render: Render) -> None:
    truth = render(4, size=512)
    counts = add_rings(truth, (3, 4, 8, 11, 12))
    right = find(counts, truth.pixel_size * 1.01)
    wrong = find(counts, pixel_size_inv_angstrom=truth.pixel_size * 1.1)
    assert not any("rings" in warning for warning in right.warnings)
    assert any("Check pixel_size" in warning for warning in wrong.warnings)
    assert (right.calibration, wrong.calibration) == ("request", "file")
    assert wrong.pixel_size_inv_angstrom == pytest.approx(truth.pixel_size * 1.1)


@pytest.mark.parametrize("squares", [(), (3, 8, 11), (3, 4, 8), (3, 5, 9, 12)])
def test_other_rings_give_no_scale(render: Render, squares: tuple[int, ...]) -> None:
    assert find(add_rings(render(5, size=512), squares)).calibration == "unknown"


def test_many_spots_at_one_radius_are_not_a_ring() -> None:
    y, x = np.mgrid[:400, :400].astype(float)
    counts = np.full((400, 400), 30.0)
    for angle in np.arange(12) * np.pi / 6:
        px, py = 200 + 90 * np.cos(angle), 200 + 90 * np.sin(angle)
        counts += 500 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18)
    noisy = np.random.default_rng(0).poisson(counts).astype(np.float32)
    assert FilmRings.find(noisy, (200.0, 200.0)).count_whole_rings() == 0
    ring = counts + 30 * np.exp(-((np.hypot(x - 200, y - 200) - 120) ** 2) / 8)
    rings = FilmRings.find(np.random.default_rng(0).poisson(ring).astype(np.float32), (200.0, 200.0))
    assert rings.count_whole_rings() == 1
    assert rings.radii == pytest.approx([120], abs=1)
