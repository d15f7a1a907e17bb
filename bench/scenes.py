"""Simulated camera frames for benchmarks, with camera defects and the expected spots.

The frames have 1024 pixels a side and show multislice patterns (`bench/queries.py`). A spot is expected if it is five
sigma above the noise of a matched filter. A found spot is true if a computed reflection above two sigma is within the
width of a spot.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import numpy as np
import scipy.ndimage
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bench.queries import Instrument, simulate_spots
from index.storage.catalog import Entry

SIDE, Q_MAX = 1024, 1.55
DETECTED, CERTAIN = 2.0, 5.0
Array = NDArray[np.float64]


@dataclass
class Scene:
    """A frame that is being rendered.

    Attributes:
        image: (S, S) expected counts.
        q: (N, 2) reflections, in pixels from the center.
        level: (N,) peak heights, counts.
        center: (2,) x, y.
        width: standard deviation of a spot, pixels.
        rng: random numbers of this frame.
        hidden: (S, S) pixels under the beam stop.
        pixel_size: 1/angstrom.
        radius: radius of discs, pixels; 0 for points.
    """

    image: Array
    q: Array
    level: Array
    center: Array
    width: float
    rng: np.random.Generator
    hidden: NDArray[np.bool_]
    pixel_size: float
    radius: float = 0.0

    @property
    def side(self) -> int:
        """Pixels along a side."""
        return len(self.image)

    def compute_distance(self) -> Array:
        """Return (S, S) distances from the center, pixels."""
        y, x = np.mgrid[: self.side, : self.side]
        return np.asarray(np.hypot(x - self.center[0], y - self.center[1]))

    def draw(self, q: Array, level: Array) -> None:
        """Add spots."""
        reach = int(6 * self.width + self.radius) + 2
        for (dx, dy), height in zip(q, level, strict=True):
            x, y = self.center[0] + dx, self.center[1] + dy
            columns = slice(max(0, int(x) - reach), min(self.side, int(x) + reach + 1))
            rows = slice(max(0, int(y) - reach), min(self.side, int(y) + reach + 1))
            if columns.start >= columns.stop or rows.start >= rows.stop:
                continue
            yy, xx = np.mgrid[rows, columns]
            away = np.hypot(xx - x, yy - y)
            if self.radius:
                self.image[rows, columns] += height / (1 + np.exp((away - self.radius) / 0.7))
            else:
                self.image[rows, columns] += height * np.exp(-(away**2) / (2 * self.width**2))


Defect = Callable[[Scene], None]
Encoding = Callable[[NDArray[np.uint16]], bytes]


def _beam_stop(scene: Scene) -> None:
    distance, turn = scene.compute_distance(), scene.rng.uniform(0, 2 * pi)
    y, x = np.mgrid[: scene.side, : scene.side] - scene.center[::-1, None, None]
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    disc = scene.rng.uniform(0.02, 0.04) * scene.side
    scene.hidden |= (distance < disc) | ((along > 0) & (np.abs(across) < disc / 2))
    scene.image[scene.hidden] = 2.0


def _gradient(scene: Scene) -> None:
    scene.image += 30 * np.linspace(0, 1, scene.side)[:, None]
    scene.image *= np.linspace(0.8, 1.2, scene.side)


def _hot_pixels(scene: Scene) -> None:
    rows, columns = scene.rng.integers(0, scene.side, (2, 60))
    scene.image[rows, columns] += scene.rng.uniform(200, 20_000, 60)


def _blooming(scene: Scene) -> None:
    scene.image *= 8
    scene.level *= 8
    full = scene.image > 60_000
    for column in np.flatnonzero(full.any(axis=0)):
        spilt = np.clip(scene.image[:, column] - 60_000, 0, None).sum() / 60_000
        middle = int(np.flatnonzero(full[:, column]).mean())
        reach = int(min(spilt / 2 + 2, 60))
        scene.image[max(0, middle - reach) : middle + reach, column] = 60_001


def _discs(scene: Scene) -> None:
    scene.image[:] = 0
    scene.radius = 6.0
    scene.draw(scene.q, scene.level)
    scene.draw(np.zeros((1, 2)), np.array([30_000.0]))
    scene.image += 20


def _carbon(scene: Scene) -> None:
    q = scene.compute_distance() * scene.pixel_size
    for middle, width, height in ((0.28, 0.05, 20.0), (0.48, 0.06, 60.0), (0.86, 0.09, 30.0)):
        scene.image += height * np.exp(-((q - middle) ** 2) / (2 * width**2))


def _gold(scene: Scene) -> None:
    q = scene.compute_distance() * scene.pixel_size
    for squared, height in ((3, 40.0), (4, 20.0), (8, 15.0), (11, 15.0), (12, 6.0)):
        scene.image += height * np.exp(-((q - np.sqrt(squared) / 4.078) ** 2) / (2 * 0.006**2))


def _second_flake(scene: Scene) -> None:
    turn = scene.rng.uniform(0.15, 0.4)
    turned = scene.q @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    scene.draw(turned, 0.2 * scene.level)
    scene.q, scene.level = np.concatenate([scene.q, turned]), np.concatenate([scene.level, 0.2 * scene.level])


def _tiff(counts: NDArray[np.uint16]) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, counts)
    return buffer.getvalue()


def _clipped(counts: NDArray[np.uint16]) -> NDArray[np.uint8]:
    clipped: NDArray[np.uint8] = np.clip(counts / np.percentile(counts, 99.9) * 255, 0, 255).astype(np.uint8)
    return clipped


def _picture(kind: str, **options: int) -> Encoding:
    def encode(counts: NDArray[np.uint16]) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(_clipped(counts)).save(buffer, format=kind, **options)
        return buffer.getvalue()

    return encode


@dataclass(frozen=True)
class Kind:
    """A kind of frame: what is done to the scene, how the file is written, where the center lies.

    Attributes:
        defects: each done in turn.
        encode: writes the file.
        off_center: how far from the frame's middle the direct beam lies at most, in frame widths.
        ellipticity: of the camera.
        off_frame: between which distances outside of the frame the direct beam lies, in frame widths; None inside.
        zoom: by which the camera length is longer.
    """

    defects: tuple[Defect, ...] = ()
    encode: Encoding = _tiff
    off_center: float = 0.01
    ellipticity: float = 0.003
    off_frame: tuple[float, float] | None = None
    zoom: float = 1.0

    def center(self, side: int, rng: np.random.Generator) -> Array:
        """(2,) x, y of the direct beam."""
        if self.off_frame is None:
            return np.asarray(side / 2 + rng.uniform(-self.off_center, self.off_center, 2) * side)
        along, beyond, edge = rng.uniform(), 0.5 + rng.uniform(*self.off_frame), int(rng.integers(4))
        place = np.array([along - 0.5, beyond if edge % 2 else -beyond])
        return np.asarray(side / 2 + side * (place if edge < 2 else place[::-1]))


KINDS = {
    "plain": Kind(),
    "beam stop": Kind((_beam_stop,)),
    "5 % off center": Kind(off_center=0.05),
    "gradients": Kind((_gradient,)),
    "hot pixels": Kind((_hot_pixels,)),
    "saturation and blooming": Kind((_blooming,)),
    "8 bits, clipped (PNG)": Kind(encode=_picture("PNG")),
    "JPEG": Kind(encode=_picture("JPEG", quality=85)),
    "discs": Kind((_discs,)),
    "2 % elliptic": Kind(ellipticity=0.01),
    "carbon film": Kind((_carbon,)),
    "gold rings": Kind((_gold,)),
    "second flake": Kind((_second_flake,)),
    "beam off the frame": Kind(off_frame=(0.0, 0.5), zoom=2.0),
    "beam off the frame, carbon film": Kind((_carbon,), off_frame=(0.0, 0.5), zoom=2.0),
}


@dataclass(frozen=True)
class RenderedFrame:
    """A frame with its truth.

    Attributes:
        data: content of the file.
        pixel_size: pixel size in the request, 1/angstrom.
        center: (2,) x, y.
        expected: (N, 2) pixels of the spots that should be found.
        likely: (M, 2) pixels of the spots that may be found.
        width: standard deviation of a spot, pixels.
    """

    data: bytes
    pixel_size: float
    center: Array
    expected: Array
    likely: Array
    width: float


def render_frame(truth: Entry, kind: Kind, seed: int, side: int = SIDE) -> RenderedFrame:
    """Render a frame of a crystal, `side` pixels wide."""
    scene, pixel_size = _draw_scene(truth, kind, seed, side)
    for defect in kind.defects:
        defect(scene)
    noisy = scene.rng.poisson(np.clip(scene.image, 0, 1e6)) + scene.rng.normal(20, 2, scene.image.shape)
    data = kind.encode(np.clip(noisy, 0, 60_000).astype(np.uint16))
    return RenderedFrame(data, pixel_size, scene.center, *_find_visible(scene), scene.width)


def _draw_scene(truth: Entry, kind: Kind, seed: int, side: int) -> tuple[Scene, float]:
    """Return the scene and the pixel size in the request, 1/angstrom."""
    rng = np.random.default_rng(seed)
    perfect = Instrument(
        intensity_noise=(0.1, 0.1),
        scale_sigma=0.013,
        ellipticity_sigma=0.0,
        position_noise=0.0,
        q_max=(Q_MAX, Q_MAX),
        range_decades=(4.0, 4.0),
        lost=0.0,
        false_spots=0,
    )
    spots = simulate_spots(truth.crystal, perfect, rng)
    assert spots.intensity is not None
    pixel_size = 2 * Q_MAX / side / kind.zoom
    stretch = np.array([1 + kind.ellipticity, 1 - kind.ellipticity])
    center = kind.center(side, rng)
    level = spots.intensity / spots.intensity.max() * 10 ** rng.uniform(3.3, 4.3)
    q = spots.q_inv_angstrom / pixel_size * stretch
    blank = np.zeros((side, side), dtype=bool)
    scene = Scene(
        np.full((side, side), 3.0),
        q,
        level,
        center,
        rng.uniform(1.6, 3.2) * side / SIDE,
        rng,
        blank,
        pixel_size,
    )
    scene.draw(q, level)
    distance = scene.compute_distance()
    scene.image += rng.uniform(40, 200) / (1 + (distance / (rng.uniform(30, 90) * side / SIDE)) ** 2) ** 1.3
    scene.image += 3e5 * np.exp(-(distance**2) / (2 * (1.4 * scene.width) ** 2))
    scene.image += 300 / (1 + (distance / scene.width / 3) ** 2) ** 1.5
    return scene, pixel_size


def _find_visible(scene: Scene) -> tuple[Array, Array]:
    """Return the pixels of the spots five and two sigma above the background noise, without those under a beam stop."""
    at = scene.center + scene.q
    inside = ((at > 3) & (at < scene.side - 4)).all(axis=1)
    at, level = at[inside], scene.level[inside]
    columns, rows = np.rint(at).astype(int).T
    hidden = scipy.ndimage.binary_dilation(scene.hidden, iterations=int(3 * scene.width))[rows, columns]
    noise = np.sqrt(np.maximum(scene.image[rows, columns] - level, 1.0) + 4.0)
    area = pi * max(scene.radius, scene.width) ** 2
    strength = level * np.sqrt(area) / noise
    apart = np.hypot(*scene.q[inside].T) > 12 * scene.width
    usable = ~hidden & apart
    return at[usable & (strength > CERTAIN)], at[strength > DETECTED]
