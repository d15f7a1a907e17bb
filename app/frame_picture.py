"""A camera frame as people like to see it, with what was found drawn over it: SVG or PNG."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model.matching.indexing import PlaneLattice
from model.pattern import Frame, Spots

LARGEST_SIDE = 1024
# Of the ground's noise the darkest is cut off, of all pixels the brightest: the direct beam tells nothing.
_DARKEST, _BRIGHTEST = 0.02, 0.9995
_SPOT, _SATURATED, _CENTRE, _LATTICE = "#ff8c1a", "#ff3b30", "#34c759", "#34c759"


@dataclass(frozen=True)
class _Shape:
    """A circle (x, y, radius), or a line (x1, y1, x2, y2), in pixels of the picture."""

    kind: str
    numbers: tuple[float, ...]
    colour: str


@dataclass(frozen=True)
class FramePicture:
    """The frame in 8 bits, and what is drawn over it.

    Attributes:
        grey: (H, W) logarithm of the counts.
        shapes: in its pixels.
        title: for screen readers.
    """

    grey: NDArray[np.uint8]
    shapes: Sequence[_Shape]
    title: str

    def png(self) -> bytes:
        """As PNG."""
        image = Image.fromarray(self.grey).convert("RGB")
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
        height, width = self.grey.shape
        inside = base64.b64encode(_encoded(Image.fromarray(self.grey))).decode()
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


def frame_picture(frame: Frame, spots: Spots, lattice: PlaneLattice | None) -> FramePicture:
    """The frame with its spots ringed (saturated ones in red), its centre and the vectors of its lattice.

    Args:
        frame: as it was read.
        spots: found in it.
        lattice: theirs, if they have one.
    """
    assert spots.pixels is not None
    assert spots.center_px is not None
    step = -(-max(frame.shape) // LARGEST_SIDE)
    grey = _grey(frame, step)
    width = spots.exposure.spot_sigma_px if spots.exposure is not None else 2.0
    clipped = spots.exposure.saturated if spots.exposure is not None else np.zeros(len(spots), dtype=bool)
    radius = max(4 * width / step, 5.0)
    # The middle of the first pixel of the frame lies at half of one of the picture's.
    points = ((spots.pixels + 0.5) / step - 0.5).tolist()
    x, y = ((np.array(spots.center_px) + 0.5) / step - 0.5).tolist()
    shapes = [
        _Shape("circle", (px, py, radius), _SATURATED if full else _SPOT)
        for (px, py), full in zip(points, clipped.tolist(), strict=True)
    ]
    arm = 2 * radius
    shapes += [
        _Shape("line", (x - arm, y, x + arm, y), _CENTRE),
        _Shape("line", (x, y - arm, x, y + arm), _CENTRE),
    ]
    if lattice is not None and spots.pixel_size_inv_angstrom is not None:
        for qx, qy in (lattice.basis / spots.pixel_size_inv_angstrom / step).tolist():
            shapes.append(_Shape("line", (x, y, x + qx, y + qy), _LATTICE))
            shapes += _head(x + qx, y + qy, qx, qy)
    title = f"Camera frame of {frame.shape[1]} by {frame.shape[0]} pixels with {len(spots)} spots"
    return FramePicture(grey, shapes, title)


def _head(x: float, y: float, along: float, across: float) -> list[_Shape]:
    """The head of an arrow."""
    length = hypot(along, across) or 1.0
    ux, uy = 9 * along / length, 9 * across / length
    return [
        _Shape("line", (x, y, x - ux - side * uy / 2, y - uy + side * ux / 2), _LATTICE)
        for side in (-1.0, 1.0)
    ]


def _grey(frame: Frame, step: int) -> NDArray[np.uint8]:
    """(H, W) the logarithm of the counts, from the ground's noise to just below the direct beam."""
    height, width = (size // step * step for size in frame.shape)
    counts = (
        frame.counts[:height, :width].reshape(height // step, step, width // step, step).mean(axis=(1, 3))
    )
    dark, middle, bright = np.quantile(counts[::2, ::2], [_DARKEST, 0.5, _BRIGHTEST]).tolist()
    noise = max(middle - dark, 1e-3 * (bright - dark), 1e-30)
    level = np.log1p(np.clip(counts - dark, 0, None) / noise)
    top = max(float(np.log1p((bright - dark) / noise)), 1e-6)
    grey: NDArray[np.uint8] = (np.clip(level / top, 0, 1) * 255).astype(np.uint8)
    return grey


def _element(shape: _Shape) -> str:
    style = f'fill="none" stroke="{shape.colour}" stroke-width="1.5"'
    numbers = [f"{number:.1f}" for number in shape.numbers]
    if shape.kind == "circle":
        return f'<circle cx="{numbers[0]}" cy="{numbers[1]}" r="{numbers[2]}" {style}/>'
    return f'<path d="M{numbers[0]} {numbers[1]}L{numbers[2]} {numbers[3]}" {style}/>'


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
