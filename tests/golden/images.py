"""Frames rendered from points, the same on every machine: plain arithmetic and a generator whose stream is fixed."""

import io
import json
import lzma
import struct
import tarfile
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

FOLDER = Path(__file__).parent
# 1/angstrom per pixel of a frame of 512 pixels, so that 1.3 1/angstrom lie inside.
PIXEL_SIZE = 0.0052

FloatImage = NDArray[np.float64]
Points = list[list[float]]


@cache
def _patterns() -> dict[str, Points]:
    patterns: dict[str, Points] = json.loads((FOLDER / "patterns.json").read_text(encoding="utf-8"))
    return patterns


def points_of(name: str) -> Points:
    """A committed pattern: rows of x, y in 1/angstrom and intensity."""
    return [list(row) for row in _patterns()[name]]


@cache
def camera_files() -> dict[str, bytes]:
    """Files of every camera format, by name; they hold one image of 192 x 192 pixels."""
    with lzma.open(FOLDER / "camera_files.tar.xz") as packed, tarfile.open(fileobj=packed) as archive:
        files = ((member.name, archive.extractfile(member)) for member in archive)
        return {name: file.read() for name, file in files if file is not None}


def add_noise(counts: FloatImage, seed: int) -> NDArray[np.uint16]:
    """Counts with noise of nearly Poisson's width, rounded.

    NumPy fixes the raw stream of a bit generator, but not the distributions that are made of it.
    """
    raw = np.random.PCG64(seed).random_raw(counts.size).astype("<u8")
    uniform = raw.view("<u2").reshape(*counts.shape, 4).astype(np.float64)
    normal = (uniform.sum(axis=-1) - 4 * 32767.5) / (65536 * np.sqrt(4 / 12))
    noisy = np.rint(counts + np.sqrt(np.maximum(counts, 0)) * normal)
    return np.asarray(np.clip(noisy, 0, 65535).astype(np.uint16))


def render_spots(
    points: Points,
    *,
    side: int = 512,
    pixel_size: float = PIXEL_SIZE,
    center: tuple[float, float] | None = None,
    strongest: float = 8000.0,
    width: float = 1.8,
    background: float = 12.0,
    direct_beam: float = 20000.0,
    ellipticity: float = 0.0,
) -> FloatImage:
    """Expected counts of a frame with a Gaussian at each point, a direct beam, and a background that falls off."""
    x0, y0 = center or (side / 2 + 0.3, side / 2 - 0.4)
    y, x = np.mgrid[:side, :side].astype(np.float64)
    radius = np.hypot(x - x0, y - y0)
    counts = background + 20 * background / (1 + (radius / (0.06 * side)) ** 2)
    counts = counts + direct_beam * np.exp(-(radius**2) / (2 * (1.5 * width) ** 2))
    for qx, qy, intensity in points:
        px, py = x0 + qx / pixel_size * (1 + ellipticity), y0 + qy / pixel_size
        distance = (x - px) ** 2 + (y - py) ** 2
        near = distance < (6 * width) ** 2
        counts[near] += strongest * intensity * np.exp(-distance[near] / (2 * width**2))
    return np.asarray(counts)


def render_rings(
    radii: list[float], *, side: int = 512, height: float = 300.0, width: float = 2.0
) -> FloatImage:
    """Expected counts of smooth rings about the middle of a frame."""
    y, x = np.mgrid[:side, :side].astype(np.float64)
    radius = np.hypot(x - side / 2, y - side / 2)
    counts = 10 + 400 / (1 + (radius / 20) ** 2)
    for each in radii:
        counts = counts + height * np.exp(-((radius - each) ** 2) / (2 * width**2))
    return np.asarray(counts)


def render_discs(radius: float = 48.0, spacing: float = 60.0, *, side: int = 512) -> FloatImage:
    """Expected counts of overlapping discs of a convergent beam, each with fringes of its own."""
    raw = np.random.PCG64(1).random_raw(3 * 81).astype("<u8") % 1000
    turns, phases, levels = raw.reshape(3, 81) / 1000.0
    y, x = np.mgrid[:side, :side].astype(np.float64)
    counts = np.full((side, side), 10.0)
    places = [(h, k) for h in range(-4, 5) for k in range(-4, 5)]
    for (h, k), turn, phase, level in zip(places, turns, phases, levels, strict=True):
        dx = x - side / 2 - spacing * (h + 0.5 * k)
        dy = y - side / 2 - spacing * np.sqrt(0.75) * k
        height = 3000 * np.exp(-spacing * np.sqrt(h * h + h * k + k * k) / 70 + 1.4 * (level - 0.5))
        inside = 1 / (1 + np.exp(np.clip(np.hypot(dx, dy) - radius, -50, 50)))
        along = dx * np.cos(np.pi * turn) + dy * np.sin(np.pi * turn)
        counts += height * inside * (1 + 0.5 * np.cos(3 * np.pi / radius * along + 6 * phase))
    return np.asarray(counts)


def render_columns(spacing: float = 21.0, *, side: int = 512) -> FloatImage:
    """Expected counts of a real-space image: equal bright columns of atoms."""
    y, x = np.mgrid[:side, :side].astype(np.float64)
    counts = np.full((side, side), 60.0)
    for h in range(-30, 31):
        for k in range(-30, 31):
            px, py = 9.3 + spacing * (h + 0.5 * k), 7.1 + spacing * np.sqrt(0.75) * k
            if -9 < px < side + 9 and -9 < py < side + 9:
                distance = (x - px) ** 2 + (y - py) ** 2
                near = distance < 400
                counts[near] += 500 * np.exp(-distance[near] / (2 * 3.0**2))
    return counts


def add_beam_stop(counts: FloatImage, *, half_width: int = 14) -> FloatImage:
    """The counts behind a beam stop: a bar from the left edge to the middle."""
    covered = counts.copy()
    middle = counts.shape[0] // 2
    covered[middle - half_width : middle + half_width, : middle + half_width] = 1.0
    return covered


def to_eight_bits(counts: NDArray[np.uint16], white: float) -> NDArray[np.uint8]:
    """Gray levels of counts, clipped at a white level."""
    return np.rint(np.clip(counts / white, 0, 1) * 255).astype(np.uint8)


def write_tiff(array: NDArray[Any], **options: Any) -> bytes:
    """A TIFF file."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def write_npy(array: NDArray[Any]) -> bytes:
    """An NPY file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write_png(array: NDArray[Any]) -> bytes:
    """A PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def write_large_png(width: int, height: int) -> bytes:
    """A PNG whose header claims more pixels than it holds."""
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(2**20))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
