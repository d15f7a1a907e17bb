"""Cameras calibrated with gold, graphene and MoS2: pixel size and distortion are those that were simulated."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.calibration.calibrate_camera import calibrate_camera
from model.errors import NoSpotsError, OptionError
from model.pattern.camera import CameraCalibration
from model.pattern.frame import Frame
from model.pattern.materials import MATERIALS

SIDE, CENTER = 512, np.array([261.0, 249.0])
Array = NDArray[np.float64]


def stretched(ellipticity: float, axis_deg: float) -> Array:
    """(2, 2) from rows without distortion to rows on the camera, of the same mean length."""
    turn = np.radians(axis_deg)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    half = np.sqrt(1 + ellipticity)
    return np.asarray(axes.T * [half, 1 / half] @ axes)


def gold(pixel_size: float, ellipticity: float, axis_deg: float) -> Frame:
    y, x = np.mgrid[:SIDE, :SIDE]
    offset = np.stack([x - CENTER[0], y - CENTER[1]], axis=-1) @ np.linalg.inv(
        stretched(ellipticity, axis_deg)
    )
    q = np.hypot(*np.moveaxis(offset, -1, 0)) * pixel_size
    counts = 30 + 400 / (1 + (q / 0.12) ** 2)
    for ring, height in zip(
        MATERIALS["Au"].compute_rings(), (300, 160, 120, 110, 30, 12, 30, 25, 20), strict=True
    ):
        counts += height * np.exp(-((q - ring) ** 2) / (2 * 0.006**2))
    counts += 5e4 * np.exp(-(q**2) / (2 * 0.01**2))
    return Frame(np.random.default_rng(0).poisson(counts).astype(np.float32))


def layer(a_angstrom: float, pixel_size: float, ellipticity: float, axis_deg: float) -> Frame:
    y, x = np.mgrid[:SIDE, :SIDE]
    counts = np.full((SIDE, SIDE), 20.0)
    first = 2 / np.sqrt(3) / a_angstrom / pixel_size
    turn = np.radians(17.0)
    a = first * np.array([np.cos(turn), np.sin(turn)])
    b = first * np.array([np.cos(turn + np.pi / 3), np.sin(turn + np.pi / 3)])
    for h in range(-4, 5):
        for k in range(-4, 5):
            at = CENTER + (h * a + k * b) @ stretched(ellipticity, axis_deg)
            height = 3000 * np.exp(-0.35 * (h * h + h * k + k * k))
            counts += height * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 1.5**2))
    return Frame(np.random.default_rng(1).poisson(counts).astype(np.float32))


@pytest.mark.parametrize(
    ("pixel_size", "ellipticity", "axis_deg"),
    [(0.004, 0.0, 0.0), (0.0031, 0.02, 30.0), (0.005, 0.012, 140.0)],
)
def test_calibrates_with_the_rings_of_gold(pixel_size: float, ellipticity: float, axis_deg: float) -> None:
    found = calibrate_camera(gold(pixel_size, ellipticity, axis_deg), "Au")
    assert found.pixel_size_inv_angstrom == pytest.approx(pixel_size, rel=2e-3)
    assert found.ellipticity == pytest.approx(ellipticity, abs=2e-3)
    if ellipticity:
        assert (found.axis_deg - axis_deg + 90) % 180 - 90 == pytest.approx(0, abs=5)
    assert found.residual < 0.01


@pytest.mark.parametrize(
    ("material", "ellipticity", "axis_deg"),
    [("graphene", 0.0, 0.0), ("graphene", 0.008, 75.0), ("MoS2", 0.01, 10.0)],
)
def test_calibrates_with_the_spots_of_a_layer(material: str, ellipticity: float, axis_deg: float) -> None:
    pixel_size = 0.0065
    found = calibrate_camera(
        layer(MATERIALS[material].a_angstrom, pixel_size, ellipticity, axis_deg), material
    )
    assert found.pixel_size_inv_angstrom == pytest.approx(pixel_size, rel=1e-3)
    assert found.ellipticity == pytest.approx(ellipticity, abs=1.5e-3)
    if ellipticity:
        assert (found.axis_deg - axis_deg + 90) % 180 - 90 == pytest.approx(0, abs=8)


def test_the_correction_inverts_the_distortion() -> None:
    true = np.random.default_rng(2).normal(0, 50, (20, 2))
    camera = CameraCalibration(0.004, 0.03, 40.0)
    assert camera.correct_distortion(true @ stretched(0.03, 40.0)) == pytest.approx(true)
    assert camera.apply_distortion(camera.correct_distortion(true)) == pytest.approx(true)


def test_an_ellipticity_too_large_for_rings_is_measured_with_a_layer() -> None:
    with pytest.raises(NoSpotsError, match="single layer"):
        calibrate_camera(gold(0.004, 0.08, 60.0), "Au")
    found = calibrate_camera(layer(2.461, 0.0065, 0.05, 75.0), "graphene")
    assert found.ellipticity == pytest.approx(0.05, abs=3e-3)
    assert found.shape == (SIDE, SIDE)


def test_a_pattern_of_another_material_is_refused() -> None:
    with pytest.raises(OptionError, match="use one of Au"):
        calibrate_camera(gold(0.004, 0, 0), "unobtainium")
    noise = Frame(np.random.default_rng(3).poisson(50, (SIDE, SIDE)).astype(np.float32))
    with pytest.raises(NoSpotsError):
        calibrate_camera(noise, "Au")
    with pytest.raises(NoSpotsError):
        calibrate_camera(noise, "graphene")
    with pytest.raises(OptionError, match="impossible"):
        CameraCalibration(3.0)
