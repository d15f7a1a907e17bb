import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from model.errors import NoSpotsError, OptionError
from model.pattern.detection.spot_calibration import LocatedSpots
from model.pattern.detection.spot_finding import find_spots, locate_spots
from model.pattern.formats.read_frame import read_frame
from model.pattern.frame import Frame, find_saturation_level
from model.pattern.options import PatternOptions

Render = Callable[..., Any]


def make_frame(counts: NDArray[Any], **known: Any) -> Frame:
    counts = counts.astype(np.float32)
    return Frame(counts, saturation_level=find_saturation_level(counts), **known)


@dataclass(frozen=True)
class Scores:
    center_error: float
    recall: float
    precision: float
    position_error: float
    log_intensity_error: float


def score(located: LocatedSpots, truth: Any) -> Scores:
    """Compare spots with the truth; recall counts spots above five sigma, and ln I may differ by a common scale."""
    near = max(1.5 * truth.sigma, 2)
    distance, partner = cKDTree(located.peaks.pixels).query(truth.pixels)
    strong = truth.signal_to_noise > 5
    both = strong & (distance < near)
    ratio = np.log(located.intensity[partner[both]] / truth.intensity[both])
    return Scores(
        float(np.hypot(located.center.x - truth.center[0], located.center.y - truth.center[1])),
        float((distance[strong] < near).mean()),
        float((cKDTree(truth.pixels).query(located.peaks.pixels)[0] < near).mean()),
        float(np.median(distance[both])),
        float(np.sqrt(np.mean((ratio - np.median(ratio)) ** 2))),
    )


@pytest.mark.parametrize("stop", [False, True], ids=["direct beam", "beam stop"])
@pytest.mark.parametrize(("seed", "size"), [(1, 512), (2, 512), (3, 600), (4, 768), (5, 1024)])
def test_finds_the_spots_of_a_rendered_frame(render: Render, seed: int, size: int, stop: bool) -> None:
    truth = render(seed, size=size, stop=stop, direct=[300.0, 1000.0, 6000.0][seed % 3])
    scores = score(locate_spots(make_frame(truth.counts)), truth)
    assert scores.center_error < 0.2
    assert scores.recall > 0.8
    assert scores.precision > 0.95
    assert scores.position_error < 0.3
    assert scores.log_intensity_error < 0.2


def test_scores_well_averaged_over_many_frames(render: Render) -> None:
    all_scores = []
    for seed in range(20, 30):
        truth = render(seed, size=512, stop=bool(seed % 2), cell=(2.4, 6.0), dose=20_000.0)
        all_scores.append(score(locate_spots(make_frame(truth.counts)), truth))
    assert np.mean([s.recall for s in all_scores]) > 0.92
    assert np.mean([s.precision for s in all_scores]) > 0.97
    assert np.max([s.center_error for s in all_scores]) < 0.2


def test_the_scale_of_the_counts_has_no_effect(render: Render) -> None:
    counts = render(7, size=512, direct=50.0).counts
    plain = locate_spots(Frame(counts.astype(np.float32)))
    tiny = locate_spots(Frame((counts * 1e-12).astype(np.float32)))
    assert tiny.peaks.pixels == pytest.approx(plain.peaks.pixels, abs=0.02)
    assert (tiny.center.x, tiny.center.y) == pytest.approx((plain.center.x, plain.center.y), abs=0.01)


def test_a_rotated_frame_has_rotated_spots(render: Render) -> None:
    counts = render(8, size=512).counts
    plain, rotated = locate_spots(make_frame(counts)), locate_spots(make_frame(np.rot90(counts)))
    expected = np.column_stack([plain.peaks.pixels[:, 1], 511 - plain.peaks.pixels[:, 0]])
    assert rotated.center.x == pytest.approx(plain.center.y, abs=0.05)
    assert (cKDTree(rotated.peaks.pixels).query(expected)[0] < 0.5).mean() > 0.95


def test_hot_pixels_are_not_spots(render: Render) -> None:
    truth = render(9, size=512, sigma=2.0)
    rng = np.random.default_rng(0)
    counts = truth.counts.copy()
    counts[rng.integers(0, 512, 40), rng.integers(0, 512, 40)] = 20_000
    scores = score(locate_spots(make_frame(counts)), truth)
    assert scores.precision > 0.9
    assert scores.center_error < 0.3


def test_estimates_saturated_spots_from_their_unsaturated_pixels(render: Render) -> None:
    truth = render(10, size=512, sigma=2.5, direct=20.0, dose=5000.0)
    frame = make_frame(np.minimum(truth.counts, 1500))
    spots = find_spots(frame, PatternOptions(pixel_size_inv_angstrom=truth.pixel_size))
    assert any("saturated" in warning for warning in spots.warnings)
    assert score(locate_spots(frame), truth).log_intensity_error < 0.25


def test_spots_are_in_reciprocal_units(render: Render) -> None:
    truth = render(11, size=512)
    options = PatternOptions(pixel_size_inv_angstrom=truth.pixel_size)
    spots = find_spots(make_frame(truth.counts, pixel_size_inv_angstrom=0.1, voltage_kv=200.0), options)
    true_q = (truth.pixels - truth.center) * truth.pixel_size
    assert np.median(cKDTree(true_q).query(spots.q_inv_angstrom)[0]) < 0.001
    assert spots.calibration == "request"
    assert spots.voltage_kv == 200
    assert spots.center_px == pytest.approx(tuple(truth.center), abs=0.2)


def test_the_scale_is_that_of_the_file_or_nominal(render: Render) -> None:
    truth = render(11, size=512)
    spots = find_spots(make_frame(truth.counts, pixel_size_inv_angstrom=0.004), PatternOptions())
    assert spots.calibration == "file"
    assert spots.pixel_size_inv_angstrom == 0.004
    assert spots.scale_is_known
    nominal = find_spots(make_frame(truth.counts), PatternOptions())
    assert (nominal.calibration, nominal.scale_is_known) == ("unknown", False)
    assert nominal.pixel_size_inv_angstrom is not None
    ratio = nominal.pixel_size_inv_angstrom / 0.004
    np.testing.assert_allclose(nominal.q_inv_angstrom, spots.q_inv_angstrom * ratio)
    assert np.quantile(np.hypot(*nominal.q_inv_angstrom.T), 0.95) == pytest.approx(1.2)


def test_refuses_units_of_points_for_a_frame(render: Render) -> None:
    frame = make_frame(render(11, size=512).counts, pixel_size_inv_angstrom=0.004)
    with pytest.raises(OptionError, match="units=1/nm applies only to points"):
        find_spots(frame, PatternOptions(units="1/nm"))
    find_spots(frame, PatternOptions(units="pixel"))


@pytest.mark.parametrize("wrong", [1e-5, 0.5])
def test_refuses_an_implausible_scale(render: Render, wrong: float) -> None:
    frame = make_frame(render(11, size=512).counts)
    with pytest.raises(OptionError, match=r"With this scale \(.* 1/angstrom per pixel\).*Check pixel_size"):
        find_spots(frame, PatternOptions(pixel_size_inv_angstrom=wrong))


def test_keeps_a_given_center(render: Render) -> None:
    truth = render(12, size=512)
    given = (float(truth.center[0]) + 1.5, float(truth.center[1]))
    found = locate_spots(make_frame(truth.counts), given)
    assert (found.center.x, found.center.y) == pytest.approx(given, abs=1e-9)
    with pytest.raises(OptionError, match="outside"):
        locate_spots(make_frame(truth.counts), (1100.0, 3.0))


def test_accepts_a_given_center_outside_the_frame(render: Render) -> None:
    truth = render(12, size=512)
    cut = int(truth.center[0]) + 40
    frame = make_frame(truth.counts[:, cut:])
    options = PatternOptions(
        pixel_size_inv_angstrom=truth.pixel_size,
        center_px=(float(truth.center[0]) - cut, float(truth.center[1])),
    )
    spots = find_spots(frame, options)
    true_q = (truth.pixels - truth.center) * truth.pixel_size
    assert len(spots) > 20
    assert (cKDTree(true_q).query(spots.q_inv_angstrom)[0] < 0.01).mean() > 0.9


def render_no_pattern(kind: str) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:400, :400].astype(float)
    radius = np.hypot(x - 200, y - 190)
    frames = {
        "blank": np.full((400, 400), 7.0),
        "noise": rng.poisson(30.0, (400, 400)),
        "halo": rng.poisson(3000 / (1 + radius**2 / 900)),
        "rings": rng.poisson(3000 / (1 + radius**2 / 900) + 500 * np.exp(-((radius - 100) ** 2) / 50)),
        "gradient": rng.poisson(x + 50),
        "lattice fringes": rng.poisson(300 + 90 * (np.cos(x / 3.1 + y / 9) + np.cos(y / 3.3 - x / 11))),
        "stripes": rng.poisson(np.where((x + y) % 40 < 20, 900, 100)),
    }
    return np.asarray(frames[kind], dtype=np.float64)


@pytest.mark.parametrize(
    "kind", ["blank", "noise", "halo", "rings", "gradient", "lattice fringes", "stripes"]
)
def test_refuses_what_is_not_a_spot_pattern(kind: str) -> None:
    with pytest.raises(NoSpotsError):
        locate_spots(make_frame(render_no_pattern(kind)))


@pytest.mark.parametrize("shape", [(32, 32), (33, 2000), (70, 41)])
def test_refuses_noise_in_frames_of_odd_shapes(shape: tuple[int, int]) -> None:
    counts = np.random.default_rng(1).poisson(5.0, shape) + np.eye(*shape) * 3
    with pytest.raises(NoSpotsError):
        locate_spots(make_frame(counts))


def test_finds_weak_spots_of_a_second_flake_on_the_flanks_of_strong_ones() -> None:
    y, x = np.mgrid[:400, :400].astype(float)
    strong = 27.0 * np.array([(h, k) for h in range(-6, 7) for k in range(-6, 7) if h or k])
    cosine, sine = np.cos(0.15), np.sin(0.15)
    weak = strong @ np.array([[cosine, sine], [-sine, cosine]])
    counts = np.full((400, 400), 30.0)
    for offsets, height in ((strong, 3000.0), (weak, 300.0)):
        for dx, dy in offsets:
            squared = (x - 200 - dx) ** 2 + (y - 200 - dy) ** 2
            counts += height * np.exp(-np.hypot(dx, dy) / 90 - squared / (2 * 2.1**2))
    found = locate_spots(make_frame(np.random.default_rng(0).poisson(counts)))
    apart = np.hypot(*(weak - strong).T)
    beside = 200 + weak[(apart > 3 * 2.1) & (apart < 5 * 2.1)]
    assert len(beside) == 12
    assert (cKDTree(found.peaks.pixels).query(beside)[0] < 2.5).mean() > 0.8
    true = 200 + np.concatenate([strong, weak])
    assert (cKDTree(true).query(found.peaks.pixels)[0] < 2.5).mean() > 0.95


def test_keeps_weak_spots_of_a_jpeg_and_removes_ripples(render: Render) -> None:
    truth = render(21, size=512, sigma=2.5, dose=20_000.0)
    levels = np.clip(truth.counts / np.percentile(truth.counts, 99.8) * 255, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="JPEG", quality=85)
    found = locate_spots(read_frame(buffer.getvalue()))
    assert (cKDTree(truth.pixels).query(found.peaks.pixels)[0] < 4).mean() > 0.95
    assert found.peaks.amplitude.min() < 2.0
