"""A camera frame as people like to see it, with what was found drawn over it: SVG or PNG."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model.indexing.pattern_lattice import PatternLattice
from model.matching.match import Match
from model.pattern.frame import Frame
from model.pattern.spots import Spots

LARGEST_SIDE = 1024
# Of the ground's noise the darkest is cut off, of all pixels the brightest: the direct beam tells nothing.
_DARKEST, _BRIGHTEST = 0.02, 0.9995
# Where the logarithm turns straight, over the whole range: of 256 levels one alone would be a step of an eighth.
_LEVELS_BITS = 8
# A frame with few bright pixels keeps a dark ground.
_DARK_GROUND = 10.0
_LEAST_OF_COUNTS, _LEAST_OF_LEVELS = 1e-3, 0.03
_SPOT, _SATURATED, _CENTRE, _LATTICE = "#ff8c1a", "#ff3b30", "#34c759", "#34c759"
_BEAM, _MISSING, _EXTRA = "#4da3ff", "#ff3b30", "#ffd60a"


@dataclass(frozen=True)
class Shape:
    """A circle (x, y, radius), or a line (x1, y1, x2, y2), in pixels of the picture."""

    kind: str
    numbers: tuple[float, ...]
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class FramePicture:
    """The frame in 8 bits, and what is drawn over it.

    Attributes:
        grey: logarithm of the counts, as PNG.
        size: its width and height.
        shapes: in its pixels.
        title: for screen readers.
    """

    grey: bytes
    size: tuple[int, int]
    shapes: Sequence[Shape]
    title: str

    def png(self) -> bytes:
        """As PNG."""
        image = Image.open(io.BytesIO(self.grey)).convert("RGB")
        draw = ImageDraw.Draw(image)
        for shape in self.shapes:
            if shape.kind == "circle":
                x, y, radius = shape.numbers
                draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=shape.colour)
            else:
                draw.line(list(shape.numbers), fill=shape.colour, width=2)
        return _encoded(image)

    def svg(self) -> str:
        """As SVG with the frame inside, without any script."""
        width, height = self.size
        inside = base64.b64encode(self.grey).decode()
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                f'height="{height}" role="img">',
                f"<title>{self.title}</title>",
                f'<image width="{width}" height="{height}" href="data:image/png;base64,{inside}"/>',
                *(_element(shape) for shape in self.shapes),
                "</svg>",
            ]
        )


def frame_picture(frame: Frame, spots: Spots, lattice: PatternLattice | None) -> FramePicture:
    """The frame with its spots ringed (saturated ones in red), its centre and the vectors of its lattice.

    Args:
        frame: as it was read.
        spots: found in it.
        lattice: theirs, if they have one.
    """
    view = _View.of(spots, frame.shape)
    shapes = _seen(spots, view)
    if lattice is not None:
        x, y = view.centre.tolist()
        for qx, qy in (view.places(lattice.basis) - view.centre).tolist():
            shapes.append(Shape("line", (x, y, x + qx, y + qy), _LATTICE))
            shapes += _head(x + qx, y + qy, qx, qy)
    title = f"Camera frame of {frame.shape[1]} by {frame.shape[0]} pixels with {len(spots)} spots"
    grey = Image.fromarray(_grey(frame, view.step))
    return FramePicture(_encoded(grey), grey.size, shapes, title)


def beams_over(spots: Spots, match: Match, shape: tuple[int, int]) -> list[Shape]:
    """What is drawn over a frame of this shape for a candidate, in place of the lattice.

    Its reflections are ringed in blue, those that should have been seen and were not in dashed red; spots without a
    reflection are crossed.
    """
    view = _View.of(spots, shape)
    return _seen(spots, view) + _beams(match, view)


@dataclass(frozen=True)
class _View:
    """From the frame to its picture.

    Attributes:
        step: pixels of the frame in one of the picture's.
        spots: the pattern.
        radius: of the rings around spots.
    """

    step: int
    spots: Spots
    radius: float

    @classmethod
    def of(cls, spots: Spots, shape: tuple[int, int]) -> Self:
        assert spots.center_px is not None
        step = -(-max(shape) // LARGEST_SIDE)
        width = spots.exposure.spot_sigma_px if spots.exposure is not None else 2.0
        return cls(step, spots, max(4 * width / step, 5.0))

    @property
    def centre(self) -> NDArray[np.float64]:
        """(2,) the direct beam, in pixels of the picture."""
        return self.pixels(np.array(self.spots.center_px))

    def pixels(self, of_frame: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 2) of the picture, of those of the frame."""
        # The middle of the first pixel of the frame lies at half of one of the picture's.
        return np.asarray((of_frame + 0.5) / self.step - 0.5)

    def places(self, q_inv_angstrom: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) pixels of the picture where scattering vectors (N, 2) lie."""
        return self.pixels(self.spots.project_to_pixels(q_inv_angstrom))


def _seen(spots: Spots, view: _View) -> list[Shape]:
    """Spots and centre."""
    (x, y), arm = view.centre.tolist(), 2 * view.radius
    return [
        *_rings(spots, view),
        Shape("line", (x - arm, y, x + arm, y), _CENTRE),
        Shape("line", (x, y - arm, x, y + arm), _CENTRE),
    ]


def _rings(spots: Spots, view: _View) -> list[Shape]:
    assert spots.pixels is not None
    clipped = spots.exposure.saturated if spots.exposure is not None else np.zeros(len(spots), dtype=bool)
    points = view.pixels(spots.pixels).tolist()
    return [
        Shape("circle", (x, y, view.radius), _SATURATED if full else _SPOT)
        for (x, y), full in zip(points, clipped.tolist(), strict=True)
    ]


def _beams(match: Match, view: _View) -> list[Shape]:
    """A candidate's reflections and what does not fit them."""
    shapes: list[Shape] = []
    reflections, radius = match.reflections, view.radius
    for row, status in enumerate(reflections.status):
        place = reflections.q_measured[row] if status == "extra" else reflections.q_computed[row]
        x, y = view.places(place[None])[0].tolist()
        if status == "extra":
            shapes += [
                Shape("line", (x - radius, y - radius, x + radius, y + radius), _EXTRA),
                Shape("line", (x - radius, y + radius, x + radius, y - radius), _EXTRA),
            ]
        else:
            colour = _MISSING if status == "missing" else _BEAM
            shapes.append(Shape("circle", (x, y, 0.6 * radius), colour, dashed=status == "missing"))
    return shapes


def _head(x: float, y: float, along: float, across: float) -> list[Shape]:
    """The head of an arrow."""
    length = hypot(along, across) or 1.0
    ux, uy = 9 * along / length, 9 * across / length
    return [
        Shape("line", (x, y, x - ux - side * uy / 2, y - uy + side * ux / 2), _LATTICE)
        for side in (-1.0, 1.0)
    ]


def _grey(frame: Frame, step: int) -> NDArray[np.uint8]:
    """(H, W) the logarithm of the counts, from the ground's noise to just below the direct beam."""
    height, width = (size // step * step for size in frame.shape)
    counts = (
        frame.counts[:height, :width].reshape(height // step, step, width // step, step).mean(axis=(1, 3))
    )
    dark, middle, bright = np.quantile(counts[::2, ::2], [_DARKEST, 0.5, _BRIGHTEST]).tolist()
    bright = max(bright, middle + _DARK_GROUND * (middle - dark))
    least = _LEAST_OF_LEVELS if frame.bit_depth == _LEVELS_BITS else _LEAST_OF_COUNTS
    noise = max(middle - dark, least * (bright - dark), 1e-30)
    level = np.log1p(np.clip(counts - dark, 0, None) / noise)
    top = max(float(np.log1p((bright - dark) / noise)), 1e-6)
    grey: NDArray[np.uint8] = (np.clip(level / top, 0, 1) * 255).astype(np.uint8)
    return grey


def _element(shape: Shape) -> str:
    style = f'fill="none" stroke="{shape.colour}" stroke-width="1.5"' + (
        ' stroke-dasharray="4 3"' if shape.dashed else ""
    )
    numbers = [f"{number:.1f}" for number in shape.numbers]
    if shape.kind == "circle":
        return f'<circle cx="{numbers[0]}" cy="{numbers[1]}" r="{numbers[2]}" {style}/>'
    return f'<path d="M{numbers[0]} {numbers[1]}L{numbers[2]} {numbers[3]}" {style}/>'


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
