"""Draw a camera frame on a logarithmic gray scale, with spots, lattice and reflections over it, as SVG or PNG."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from app.presentation.svg import cross_segments, write_circle, write_document, write_element, write_lines
from model.indexing.pattern_lattice import PatternLattice
from model.matching.match import Match
from model.pattern.frame import Frame
from model.pattern.spots import Spots

MAX_SIDE = 1024
# Gray levels run from this quantile of the counts, in the noise of the background, to this one, below the direct beam.
_DARK_QUANTILE, _BRIGHT_QUANTILE = 0.02, 0.9995
# The range of gray levels is at least so many times the noise, which keeps frames with few bright pixels dark.
_MIN_RANGE_OVER_NOISE = 10.0
# The noise is at least this fraction of the range; one of the 256 levels of an 8-bit frame would be too conspicuous.
_MIN_NOISE, _MIN_NOISE_OF_8_BITS = 1e-3, 0.03
_SPOT_COLOR, _SATURATED_COLOR, _CENTER_COLOR, _LATTICE_COLOR = "#ff8c1a", "#ff3b30", "#34c759", "#34c759"
_REFLECTION_COLOR, _MISSING_COLOR, _EXTRA_COLOR = "#4da3ff", "#ff3b30", "#ffd60a"
_DEFAULT_SPOT_SIGMA_PX, _MIN_RING_RADIUS, _ARROW_HEAD = 2.0, 5.0, 9.0


@dataclass(frozen=True)
class Marker:
    """A circle (x, y, radius) or a line (x1, y1, x2, y2), in pixels of the picture."""

    shape: Literal["circle", "line"]
    coordinates: tuple[float, ...]
    color: str
    dashed: bool = False

    def write_svg(self) -> str:
        """Return the SVG element."""
        style: dict[str, str] = {"fill": "none", "stroke": self.color, "stroke_width": "1.5"}
        if self.dashed:
            style["stroke_dasharray"] = "4 3"
        if self.shape == "circle":
            x, y, radius = self.coordinates
            return write_circle(x, y, radius, **style)
        x1, y1, x2, y2 = self.coordinates
        return write_lines([(x1, y1, x2, y2)], **style)

    def draw(self, image: ImageDraw.ImageDraw) -> None:
        """Draw into an image."""
        if self.shape == "circle":
            x, y, radius = self.coordinates
            image.ellipse([x - radius, y - radius, x + radius, y + radius], outline=self.color)
        else:
            image.line(list(self.coordinates), fill=self.color, width=2)


@dataclass(frozen=True)
class FramePicture:
    """A frame in 8 bits with markers over it.

    Attributes:
        gray: PNG of the frame on a logarithmic scale.
        size: width and height in pixels.
        markers: drawn over the frame.
        title: for screen readers.
    """

    gray: bytes
    size: tuple[int, int]
    markers: Sequence[Marker]
    title: str

    def with_markers(self, markers: Sequence[Marker]) -> Self:
        """Return the same frame with other markers."""
        return replace(self, markers=markers)

    def write_png(self) -> bytes:
        """Return the picture as PNG."""
        image = Image.open(io.BytesIO(self.gray)).convert("RGB")
        draw = ImageDraw.Draw(image)
        for marker in self.markers:
            marker.draw(draw)
        return _encode_png(image)

    def write_svg(self) -> str:
        """Return the picture as SVG, with the frame embedded."""
        width, height = self.size
        embedded = f"data:image/png;base64,{base64.b64encode(self.gray).decode()}"
        image = write_element("image", width=width, height=height, href=embedded)
        markers = [marker.write_svg() for marker in self.markers]
        return write_document(width, height, self.title, [image, *markers])


def draw_frame(frame: Frame, spots: Spots, lattice: PatternLattice | None) -> FramePicture:
    """Draw a frame with rings around its spots, red for saturated ones, its center and its lattice vectors.

    Args:
        frame: the frame.
        spots: found in it.
        lattice: of the spots, if they have one.
    """
    projection = _FrameProjection.fit_to(spots, frame.shape)
    markers = _mark_spots(spots, projection)
    if lattice is not None:
        x, y = projection.center.tolist()
        for dx, dy in (projection.project(lattice.basis) - projection.center).tolist():
            markers.append(Marker("line", (x, y, x + dx, y + dy), _LATTICE_COLOR))
            markers += _mark_arrow_head(x + dx, y + dy, dx, dy)
    title = f"Camera frame of {frame.shape[1]} by {frame.shape[0]} pixels with {len(spots)} spots"
    gray = Image.fromarray(_gray_levels(frame, projection.frame_pixels))
    return FramePicture(_encode_png(gray), gray.size, markers, title)


def mark_match(spots: Spots, match: Match, frame_shape: tuple[int, int]) -> list[Marker]:
    """Mark a candidate's reflections over a frame of this shape, instead of the lattice.

    Reflections are ringed in blue, missing ones in dashed red. Spots without a reflection have a yellow cross.
    """
    projection = _FrameProjection.fit_to(spots, frame_shape)
    return _mark_spots(spots, projection) + _mark_reflections(match, projection)


@dataclass(frozen=True)
class _FrameProjection:
    """Maps positions on the camera to pixels of the picture.

    Attributes:
        frame_pixels: pixels of the frame in one pixel of the picture, along each axis.
        spots: the pattern.
        ring_radius: of the rings around spots.
    """

    frame_pixels: int
    spots: Spots
    ring_radius: float

    @classmethod
    def fit_to(cls, spots: Spots, frame_shape: tuple[int, int]) -> Self:
        """Choose the scale at which the picture has at most `MAX_SIDE` pixels along each axis."""
        frame_pixels = -(-max(frame_shape) // MAX_SIDE)
        sigma_px = spots.exposure.spot_sigma_px if spots.exposure is not None else _DEFAULT_SPOT_SIGMA_PX
        return cls(frame_pixels, spots, max(4 * sigma_px / frame_pixels, _MIN_RING_RADIUS))

    @property
    def center(self) -> NDArray[np.float64]:
        """(2,) the direct beam."""
        assert self.spots.center_px is not None
        return self.scale(np.array(self.spots.center_px))

    def scale(self, frame_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert pixels (..., 2) of the frame."""
        # Integer coordinates are the middles of pixels, in the frame and in the picture.
        return np.asarray((frame_px + 0.5) / self.frame_pixels - 0.5)

    def project(self, q_inv_angstrom: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert scattering vectors (N, 2)."""
        return self.scale(self.spots.project_to_pixels(q_inv_angstrom))


def _mark_spots(spots: Spots, projection: _FrameProjection) -> list[Marker]:
    """Ring the spots and mark the center with a cross."""
    assert spots.pixels is not None
    exposure, radius = spots.exposure, projection.ring_radius
    saturated = np.zeros(len(spots), dtype=bool) if exposure is None else exposure.saturated
    (x, y), arm = projection.center.tolist(), 2 * radius
    positions = projection.scale(spots.pixels).tolist()
    return [
        *(
            Marker("circle", (*position, radius), _SATURATED_COLOR if is_saturated else _SPOT_COLOR)
            for position, is_saturated in zip(positions, saturated.tolist(), strict=True)
        ),
        Marker("line", (x - arm, y, x + arm, y), _CENTER_COLOR),
        Marker("line", (x, y - arm, x, y + arm), _CENTER_COLOR),
    ]


def _mark_reflections(match: Match, projection: _FrameProjection) -> list[Marker]:
    markers: list[Marker] = []
    table, radius = match.reflections, projection.ring_radius
    for row, status in enumerate(table.status):
        q = table.q_measured[row] if status == "extra" else table.q_computed[row]
        x, y = projection.project(q[None])[0].tolist()
        if status == "extra":
            markers += [Marker("line", segment, _EXTRA_COLOR) for segment in cross_segments(x, y, radius)]
        else:
            is_missing = status == "missing"
            color = _MISSING_COLOR if is_missing else _REFLECTION_COLOR
            markers.append(Marker("circle", (x, y, 0.6 * radius), color, dashed=is_missing))
    return markers


def _mark_arrow_head(x: float, y: float, dx: float, dy: float) -> list[Marker]:
    """Mark the head of an arrow of direction (dx, dy) that ends at (x, y)."""
    length = hypot(dx, dy) or 1.0
    ux, uy = _ARROW_HEAD * dx / length, _ARROW_HEAD * dy / length
    return [
        Marker("line", (x, y, x - ux - side * uy / 2, y - uy + side * ux / 2), _LATTICE_COLOR)
        for side in (-1.0, 1.0)
    ]


def _gray_levels(frame: Frame, frame_pixels: int) -> NDArray[np.uint8]:
    """Return (H, W) levels proportional to the logarithm of the counts."""
    step = frame_pixels
    height, width = (size // step * step for size in frame.shape)
    counts = (
        frame.counts[:height, :width].reshape(height // step, step, width // step, step).mean(axis=(1, 3))
    )
    dark, median, bright = np.quantile(counts[::2, ::2], [_DARK_QUANTILE, 0.5, _BRIGHT_QUANTILE]).tolist()
    bright = max(bright, median + _MIN_RANGE_OVER_NOISE * (median - dark))
    min_noise = _MIN_NOISE_OF_8_BITS if frame.bit_depth == 8 else _MIN_NOISE
    noise = max(median - dark, min_noise * (bright - dark), 1e-30)
    level = np.log1p(np.clip(counts - dark, 0, None) / noise)
    top = max(float(np.log1p((bright - dark) / noise)), 1e-6)
    levels: NDArray[np.uint8] = (np.clip(level / top, 0, 1) * 255).astype(np.uint8)
    return levels


def _encode_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
