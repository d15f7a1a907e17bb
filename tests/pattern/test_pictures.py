"""Exported pictures: color maps are inverted, annotations and scale bars removed."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.pattern.formats.read_frame import read_frame
from model.pattern.pictures.color_maps import extract_signal
from model.pattern.pictures.scale_bar import find_scale_bar
from tests.pattern.formats.camera_files import picture

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
LEVELS = (60 * np.exp(-(((np.mgrid[:120, :160] - 60) ** 2).sum(axis=0)) / 900)).astype(np.uint8)
LEVELS[30:33, 40:43] = 255
LEVELS[90:93, 120:123] = 200


def apply_map(name: str) -> NDArray[np.uint8]:
    colors: NDArray[np.uint8] = (matplotlib.colormaps[name](LEVELS)[..., :3] * 255).round().astype(np.uint8)
    return colors


@pytest.mark.parametrize("name", ["viridis", "plasma", "inferno", "magma", "cividis", "hot", "jet", "turbo"])
def test_inverts_a_color_map(name: str) -> None:
    signal, warnings = extract_signal(apply_map(name))
    assert signal.shape == LEVELS.shape
    assert np.abs(signal - LEVELS).max() <= 8
    assert name in warnings[0]


def test_removes_circles_around_spots_from_a_mapped_picture() -> None:
    image = Image.fromarray(apply_map("viridis"))
    draw = ImageDraw.Draw(image)
    for x, y in ((41, 31), (121, 91)):
        draw.ellipse([x - 7, y - 7, x + 7, y + 7], outline=(255, 0, 0), width=2)
    signal, warnings = extract_signal(np.asarray(image))
    assert "removed" in warnings[1]
    assert signal[31, 41] == pytest.approx(255, abs=4)
    assert np.abs(signal - LEVELS).max() <= 30


def test_keeps_the_panel_of_a_figure() -> None:
    figure = np.full((200, 400, 3), 255, np.uint8)
    figure[40:160, 30:190] = apply_map("viridis")
    figure[100:160, 250:290] = (255, 64, 64)
    signal, _ = extract_signal(figure)
    assert signal.shape == LEVELS.shape
    assert np.abs(signal - LEVELS).max() <= 8


def test_removes_colored_annotations_from_a_gray_picture() -> None:
    image = Image.fromarray(LEVELS).convert("RGB")
    ImageDraw.Draw(image).ellipse([34, 24, 48, 38], outline=(0, 200, 0))
    signal, warnings = extract_signal(np.asarray(image))
    assert "annotations" in warnings[0]
    assert np.abs(signal - LEVELS).max() <= 6


def test_a_picture_in_other_colors_keeps_its_brightness() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    signal, warnings = extract_signal(colors)
    assert signal == pytest.approx(colors.mean(axis=2), abs=1e-3)
    assert "mean brightness" in warnings[0]


def render_bar(label: str, font: str, size: int, *, dark: bool = True) -> NDArray[np.uint8]:
    background = np.random.default_rng(0).poisson(10, (512, 512)).astype(np.uint8)
    image = Image.fromarray(background if dark else 245 - background)
    draw, color = ImageDraw.Draw(image), 255 if dark else 0
    draw.rectangle([300, 440, 410, 448], fill=color)
    draw.text((305, 452), label, fill=color, font=ImageFont.truetype(FONTS / font, size))
    return np.asarray(image)


@pytest.mark.parametrize("font", ["DejaVuSans.ttf", "DejaVuSansMono.ttf"])
@pytest.mark.parametrize("size", [16, 28])
@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("2 nm⁻¹", 0.2),
        ("5 1/nm", 0.5),
        ("10 1/nm", 1.0),
        ("0.5 Å⁻¹", 0.5),
        ("1 1/Å", 1.0),
        ("2.5 nm⁻¹", 0.25),
        ("3 nm-1", 0.3),
        ("4 1/nm", 0.4),
        ("6 1/nm", 0.6),
        ("7 nm⁻¹", 0.7),
        ("8 1/nm", 0.8),
        ("9 nm⁻¹", 0.9),
    ],
)
def test_reads_the_label_of_a_scale_bar(label: str, expected: float, font: str, size: int) -> None:
    for dark in (True, False):
        bar = find_scale_bar(render_bar(label, font, size, dark=dark))
        assert bar is not None
        assert bar.length_px == 111
        assert bar.pixel_size_inv_angstrom == pytest.approx(expected / 111)


def test_ignores_a_scale_bar_of_real_space() -> None:
    frame = read_frame(picture(render_bar("200 nm", "DejaVuSans.ttf", 20), "PNG"))
    assert frame.pixel_size_inv_angstrom is None
    assert "a real-space length" in frame.warnings[0]


def test_removes_a_scale_bar_and_keeps_its_scale() -> None:
    image = render_bar("2 nm⁻¹", "DejaVuSans.ttf", 24)
    frame = read_frame(picture(image, "PNG"))
    assert frame.pixel_size_inv_angstrom == pytest.approx(0.2 / 111)
    assert frame.counts.max() < 40
    assert "read as 2 nm^-1" in frame.warnings[0]


@pytest.mark.parametrize("label", ["", "Fig. 3", "?"])
def test_warns_of_an_unreadable_label(label: str) -> None:
    frame = read_frame(picture(render_bar(label, "DejaVuSans.ttf", 20), "PNG"))
    assert frame.pixel_size_inv_angstrom is None
    assert "cannot be read" in frame.warnings[0]


def test_spots_are_not_a_scale_bar() -> None:
    assert find_scale_bar(LEVELS) is None
    assert find_scale_bar(np.zeros((50, 50), np.uint8)) is None
