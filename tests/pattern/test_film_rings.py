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


def with_rings(truth: Any, squares: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    """A rendered frame on a film whose rings lie where those of gold with these h^2 + k^2 + l^2 do."""
    y, x = np.mgrid[: len(truth.counts), : len(truth.counts)]
    q = np.hypot(x - truth.center[0], y - truth.center[1]) * truth.pixel_size
    film = sum(
        60 * np.exp(-((q - np.sqrt(each) / MATERIALS["Au"].a_angstrom) ** 2) / (2 * 0.006**2))
        for each in squares
    )
    return np.asarray(truth.counts + np.random.default_rng(seed).poisson(film), dtype=np.float32)


def read(counts: NDArray[np.float32], pixel_size: float | None = None, **known: Any) -> Spots:
    return find_spots(Frame(counts, **known), PatternOptions(pixel_size_inv_angstrom=pixel_size))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rings_of_gold_tell_the_scale_where_nobody_else_does(render: Render, seed: int) -> None:
    truth = render(seed, size=512)
    spots = read(with_rings(truth, (3, 4, 8, 11, 12)))
    assert (spots.calibration, spots.scale_is_known) == ("rings", True)
    assert spots.scale_sigma == RING_SCALE_SIGMA
    assert spots.pixel_size_inv_angstrom == pytest.approx(truth.pixel_size, rel=0.003)
    assert any("rings beside the spots, as those of gold" in told for told in spots.warnings)


def test_rings_of_gold_contradict_a_wrong_scale_and_no_right_one(render: Render) -> None:
    truth = render(4, size=512)
    counts = with_rings(truth, (3, 4, 8, 11, 12))
    right = read(counts, truth.pixel_size * 1.01)
    wrong = read(counts, pixel_size_inv_angstrom=truth.pixel_size * 1.1)
    assert not any("rings" in told for told in right.warnings)
    assert any("Is pixel_size right?" in told for told in wrong.warnings)
    assert (right.calibration, wrong.calibration) == ("request", "file")
    assert wrong.pixel_size_inv_angstrom == pytest.approx(truth.pixel_size * 1.1)


@pytest.mark.parametrize("squares", [(), (3, 8, 11), (3, 4, 8), (3, 5, 9, 12)])
def test_other_rings_tell_no_scale(render: Render, squares: tuple[int, ...]) -> None:
    assert read(with_rings(render(5, size=512), squares)).calibration == "unknown"


def test_many_spots_at_one_radius_are_no_ring() -> None:
    y, x = np.mgrid[:400, :400].astype(float)
    counts = np.full((400, 400), 30.0)
    for turn in np.arange(12) * np.pi / 6:
        px, py = 200 + 90 * np.cos(turn), 200 + 90 * np.sin(turn)
        counts += 500 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18)
    noisy = np.random.default_rng(0).poisson(counts).astype(np.float32)
    assert FilmRings.about(noisy, (200.0, 200.0)).count() == 0
    ring = counts + 30 * np.exp(-((np.hypot(x - 200, y - 200) - 120) ** 2) / 8)
    found = FilmRings.about(np.random.default_rng(0).poisson(ring).astype(np.float32), (200.0, 200.0))
    assert found.count() == 1
    assert found.radii == pytest.approx([120], abs=1)
