"""Request bodies for benchmarks of speed, with patterns of crystals in the index."""

from pathlib import Path
from typing import Any

import numpy as np

from bench.library import open_catalog
from bench.scenes import KINDS, render_frame
from index.storage.catalog import Entry
from model.crystal.crystal import Crystal
from model.physics.kinematic import Geometry, compute_kinematic_spots

_BOUNDARY = "dd2d-benchmark"
FORM = f"multipart/form-data; boundary={_BOUNDARY}"


def build_point_bodies(index: Path, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return JSON requests with kinematic patterns, rotated and with 10 % intensity noise."""
    return [_build_points(entry.crystal, rng) for entry in _draw_entries(index, count, rng)]


def build_frame_bodies(index: Path, count: int, rng: np.random.Generator) -> list[bytes]:
    """Return forms with a TIFF of 1024 by 1024 pixels."""
    return [
        _form(render_frame(entry, KINDS["plain"], int(rng.integers(2**32))))
        for entry in _draw_entries(index, count, rng)
    ]


def _draw_entries(index: Path, count: int, rng: np.random.Generator) -> list[Entry]:
    with open_catalog(index) as catalog:
        return catalog.get_entries(rng.integers(0, len(catalog), count).tolist())


def _build_points(crystal: Crystal, rng: np.random.Generator) -> dict[str, Any]:
    turned = Geometry(rotation_deg=float(rng.uniform(0, 360)), q_max_inv_angstrom=1.4)
    spots = compute_kinematic_spots(crystal, turned, relative_threshold=1e-3)
    assert spots.intensity is not None
    noisy = spots.intensity * np.exp(rng.normal(0, 0.1, len(spots)))
    points = np.column_stack([spots.q_inv_angstrom, noisy])
    return {"points": points.tolist(), "voltage_kv": 80, "top_k": 10}


def _form(frame: Any) -> bytes:
    fields = {"pixel_size": f"{frame.pixel_size:.6g}", "voltage_kv": "80"}
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="frame.tif"\r\n\r\n'
    return b"".join([*parts, head.encode(), frame.data, f"\r\n--{_BOUNDARY}--\r\n".encode()])
