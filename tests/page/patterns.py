"""Simulated camera files of MoS2."""

from typing import Literal

import numpy as np

from app.cli.frame_simulation import simulate_frame
from model.crystal.crystal import Crystal
from model.physics.kinematic import Geometry, ThermalMotion, compute_kinematic_spots
from tests.pattern.formats.camera_files import DmWriter, tiff

PIXEL_SIZE_INV_ANGSTROM = 0.0072
FRAME_SIZE_PX = 400
_THERMAL_MOTION = ThermalMotion(0.4, 0.6)


def create_mos2() -> Crystal:
    cell = np.array([[3.16, 0, 0], [-1.58, 1.58 * np.sqrt(3), 0], [0, 0, 20.0]])
    sites = [[0, 0, 0.5], [1 / 3, 2 / 3, 0.578], [1 / 3, 2 / 3, 0.422]]
    return Crystal.from_cell(cell, [42, 16, 16], sites, id="mos2", source="test")


def simulate_mos2_file(file_format: Literal["tiff", "dm4"]) -> bytes:
    """Simulate a frame of a tilted flake. The file states its scale."""
    geometry = Geometry(tilt_deg=3.0, tilt_azimuth_deg=70, rotation_deg=25, q_max_inv_angstrom=1.3)
    spots = compute_kinematic_spots(create_mos2(), geometry, _THERMAL_MOTION)
    counts = simulate_frame(
        spots, pixel_size_inv_angstrom=PIXEL_SIZE_INV_ANGSTROM, size=FRAME_SIZE_PX, seed=5
    )
    pixel_size_inv_nm = 10 * PIXEL_SIZE_INV_ANGSTROM
    if file_format == "dm4":
        return DmWriter(4).file(counts[None], scale=pixel_size_inv_nm, unit="1/nm", volts=80e3)
    resolution = (1 / pixel_size_inv_nm, 1 / pixel_size_inv_nm)
    return tiff(counts, description="ImageJ=1.54\nunit=1/nm\n", resolution=resolution, metadata=None)


def simulate_stack_without_scale() -> bytes:
    """Simulate two frames of one flake, which differ in their noise."""
    geometry = Geometry(rotation_deg=25, q_max_inv_angstrom=1.3)
    spots = compute_kinematic_spots(create_mos2(), geometry, _THERMAL_MOTION)
    frames = [
        simulate_frame(spots, pixel_size_inv_angstrom=PIXEL_SIZE_INV_ANGSTROM, size=FRAME_SIZE_PX, seed=seed)
        for seed in (5, 6)
    ]
    return tiff(np.stack(frames), metadata=None)


def simulate_large_frame(size: int) -> bytes:
    """Simulate a frame that is larger than the picture that the service makes of it."""
    spots = compute_kinematic_spots(create_mos2(), Geometry(q_max_inv_angstrom=1.3), _THERMAL_MOTION)
    return tiff(simulate_frame(spots, pixel_size_inv_angstrom=2.8 / size, size=size, seed=5), metadata=None)
