"""Frames of a tilted layer of MoS2, as files of a camera, and how a user brings them to the page."""

import base64
from typing import Literal

import numpy as np
from playwright.sync_api import Page, expect

from app.cli.render_frame import counted_frame
from model.crystal.crystal import Crystal
from model.physics.kinematic import Geometry, ThermalMotion, kinematic_spots
from tests.pattern.formats.camera_files import DmWriter, tiff

PIXEL_SIZE, SIDE = 0.0072, 400


def mos2() -> Crystal:
    cell = np.array([[3.16, 0, 0], [-1.58, 1.58 * np.sqrt(3), 0], [0, 0, 20.0]])
    sites = [[0, 0, 0.5], [1 / 3, 2 / 3, 0.578], [1 / 3, 2 / 3, 0.422]]
    return Crystal.from_cell(cell, [42, 16, 16], sites, id="mos2", source="test")


def mos2_frame(kind: Literal["tiff", "dm4"]) -> bytes:
    """With its scale in it."""
    lying = Geometry(tilt_deg=3.0, tilt_azimuth_deg=70, rotation_deg=25, q_max_inv_angstrom=1.3)
    spots = kinematic_spots(mos2(), lying, ThermalMotion(0.4, 0.6))
    counts = counted_frame(spots, pixel_size_inv_angstrom=PIXEL_SIZE, size=SIDE, seed=5)
    if kind == "dm4":
        return DmWriter(4).file(counts[None], scale=10 * PIXEL_SIZE, unit="1/nm", volts=80e3)
    per_unit = 1 / (10 * PIXEL_SIZE)
    told = "ImageJ=1.54\nunit=1/nm\n"
    return tiff(counts, description=told, resolution=(per_unit, per_unit), metadata=None)


def stack_without_scale() -> bytes:
    """Two images of one flake, with other noise, and nothing said of their scale."""
    spots = kinematic_spots(
        mos2(), Geometry(rotation_deg=25, q_max_inv_angstrom=1.3), ThermalMotion(0.4, 0.6)
    )
    return tiff(
        np.stack(
            [
                counted_frame(spots, pixel_size_inv_angstrom=PIXEL_SIZE, size=SIDE, seed=seed)
                for seed in (5, 6)
            ]
        ),
        metadata=None,
    )


def large_frame(side: int) -> bytes:
    """More pixels than the picture of it has."""
    spots = kinematic_spots(mos2(), Geometry(q_max_inv_angstrom=1.3), ThermalMotion(0.4, 0.6))
    return tiff(counted_frame(spots, pixel_size_inv_angstrom=2.8 / side, size=side, seed=5), metadata=None)


def drop(page: Page, data: bytes, name: str) -> None:
    """Drop a file on the page."""
    transfer = page.evaluate_handle(
        """([text, name]) => {
            const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [base64.b64encode(data).decode(), name],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def settled(page: Page) -> None:
    """Until the answer is there and nothing more is asked."""
    expect(page.locator("#candidates .candidate").first).to_be_visible()
    expect(page.locator("#busy")).to_be_empty()


def candidates(page: Page) -> list[str]:
    """Their formulas, best first."""
    texts = page.locator("#candidates .formula").all_inner_texts()
    return ["".join(text.split("lattice")[0].split()) for text in texts]
