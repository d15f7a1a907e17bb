"""Scale bars that software burns into exported pictures: found, their label read, and taken out of the picture."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.pattern.points.columns import parse_units

BoolImage = NDArray[np.bool_]
FloatImage = NDArray[np.float32]

# Of the frame's width and height: a bar is long, thin and filled.
_SHORTEST, _LONGEST = 0.04, 0.7
_SLIMMEST = 4.0
_FILLED = 0.93
_MOST_MARKED = 0.06
_MOST_PARTS = 400
# Glyphs are compared on a grid of this many rows and columns.
_GLYPH = (20, 16)
_LIKELY = 0.45
_CHARACTERS = "0123456789/nmÅA"
_FONT_SIZE = 48
_LABEL = re.compile(r"(\d+(?:\.\d+)?)(1/(?:nm|A|Å)|(?:nm|A|Å)\^?-?1|nm|A|Å|)")


@dataclass(frozen=True, eq=False)
class ScaleBar:
    """A bar and its label.

    Attributes:
        length_px: of the bar.
        label: as it was read, such as "2 nm^-1"; empty where nothing could be read.
        size: in units, of the whole bar; None where the label has no number.
        unit: as `parse_units` takes it; empty where there is none.
        mask: (H, W) pixels of bar and label.
    """

    length_px: float
    label: str
    size: float | None
    unit: str
    mask: BoolImage

    @property
    def inv_angstrom_per_pixel(self) -> float | None:
        """The scale, where the label is one of reciprocal space."""
        units = parse_units(self.unit) if self.unit else None
        if self.size is None or units not in {"1/nm", "1/angstrom"}:
            return None
        return self.size / self.length_px * (0.1 if units == "1/nm" else 1.0)


def find_scale_bar(counts: NDArray[Any]) -> ScaleBar | None:
    """The scale bar of a picture (H, W) of 8 bits, white or black; None where there is none."""
    for level in (counts.max(), counts.min()):
        marked = counts == level
        if not 0 < marked.mean() <= _MOST_MARKED:
            continue
        labels, count = scipy.ndimage.label(marked, structure=np.ones((3, 3)))
        if count > 10 * _MOST_PARTS:
            continue
        boxes = scipy.ndimage.find_objects(labels)
        bar = _bar(labels, boxes, counts.shape)
        if bar is not None:
            return _with_label(counts, float(level), bar)
    return None


@dataclass(frozen=True)
class _Box:
    """Connected parts of the picture; pixels from `left` to before `right` and so on."""

    numbers: tuple[int, ...]
    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def of(self, labels: NDArray[Any]) -> BoolImage:
        """Its pixels in its own rectangle."""
        return np.isin(labels[self.top : self.bottom, self.left : self.right], self.numbers)

    def belongs_to(self, other: "_Box") -> bool:
        """Whether it is over, under or in the other, as the ring is over its A and a dot in a zero."""
        common = min(self.right, other.right) - max(self.left, other.left)
        apart = self.bottom <= other.top + 1 or other.bottom <= self.top + 1
        within = other.left <= self.left and self.right <= other.right and other.top <= self.top
        return (apart or within) and common > 0.6 * min(self.width, other.width)

    def with_(self, other: "_Box") -> "_Box":
        """Both as one."""
        return _Box(
            self.numbers + other.numbers,
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )


def _boxes(boxes: list[tuple[slice, slice]]) -> list[_Box]:
    return [
        _Box((number,), rows.start, rows.stop, columns.start, columns.stop)
        for number, (rows, columns) in enumerate(boxes, start=1)
    ]


def _bar(labels: NDArray[Any], boxes: list[tuple[slice, slice]], shape: tuple[int, ...]) -> _Box | None:
    """The widest part that is a bar in the lower or upper fifth of the picture."""
    height, width = shape
    best: _Box | None = None
    for box in _boxes(boxes):
        if not _SHORTEST * width <= box.width <= _LONGEST * width or box.width < _SLIMMEST * box.height:
            continue
        if height / 4 < box.top < 3 * height / 4 or box.height < 2:
            continue
        if box.of(labels).mean() >= _FILLED and (best is None or box.width > best.width):
            best = box
    return best


def _with_label(counts: NDArray[Any], level: float, bar: _Box) -> ScaleBar:
    """The bar with the glyphs beside it: under or over it, or at its ends."""
    reach_y, reach_x = max(6 * bar.height, bar.width // 2), bar.width
    top, left = max(bar.top - reach_y, 0), max(bar.left - reach_x, 0)
    around = counts[top : bar.bottom + reach_y, left : bar.right + reach_x].astype(np.float64)
    # Edges of glyphs are smoothed: what is nearer to their level than to the ground belongs to them.
    ground = float(np.median(around))
    labels, count = scipy.ndimage.label(
        (around - ground) * np.sign(level - ground) > abs(level - ground) / 2, np.ones((3, 3))
    )
    if count > _MOST_PARTS:
        mask = np.zeros(counts.shape, dtype=bool)
        mask[bar.top : bar.bottom, bar.left : bar.right] = True
        return ScaleBar(float(bar.width), "", None, "", scipy.ndimage.binary_dilation(mask, iterations=2))
    boxes = _boxes(scipy.ndimage.find_objects(labels))
    own = labels[bar.top - top, bar.left - left + bar.width // 2]
    line = _line([box for box in boxes if own not in box.numbers], bar)
    text = _read(labels, line)
    size, unit = _parsed(text)
    mask = np.zeros(counts.shape, dtype=bool)
    mask[top : top + around.shape[0], left : left + around.shape[1]] = np.isin(
        labels, [own, *(number for box in line for number in box.numbers)]
    )
    return ScaleBar(float(bar.width), text, size, unit, scipy.ndimage.binary_dilation(mask, iterations=2))


def _line(near: list[_Box], bar: _Box) -> list[_Box]:
    """Glyphs of one line of text, from left to right: those about as high as the highest and beside it."""
    tall = [box for box in near if box.height >= 6 and box.width <= bar.width / 2][:_MOST_PARTS]
    if not tall:
        return []
    highest = max(tall, key=lambda box: box.height)
    top, bottom = highest.top - 0.4 * highest.height, highest.bottom + 0.4 * highest.height
    line = [
        box for box in near if top <= box.top and box.bottom <= bottom and box.width <= 2.5 * highest.height
    ]
    whole: list[_Box] = []
    for box in sorted(line, key=lambda box: box.left)[:40]:
        if whole and box.belongs_to(whole[-1]):
            whole[-1] = whole[-1].with_(box)
        else:
            whole.append(box)
    return whole


def _read(labels: NDArray[Any], line: list[_Box]) -> str:
    """The text of a line without its spaces; it begins with a digit, and what stands high is the exponent."""
    if not line:
        return ""
    height, base, text = line[0].height, line[0].bottom, ""
    for box in line:
        if box.bottom < base - 0.25 * height:
            text += ("" if "^" in text else "^") + ("-" if box.width > 1.3 * box.height else "1")
        else:
            text += _character(box.of(labels), box, height)
    return text


def _character(glyph: BoolImage, box: _Box, height: int) -> str:
    """The likeliest character of a glyph on the line; an empty text where none is likely."""
    if box.height < 0.35 * height:
        return "-" if box.width > 1.3 * box.height else "."
    own, shape = _normalised(glyph), np.log(box.width / box.height)
    lower = box.height < 0.85 * height
    best, likeness = "", _LIKELY
    for character, template, aspect, is_lower in _templates():
        match = float((own * template).sum()) - 0.35 * abs(shape - aspect)
        if is_lower == lower and match > likeness:
            best, likeness = character, match
    return best


def _normalised(glyph: BoolImage) -> FloatImage:
    """A glyph on the grid, its mean taken off, of unit length."""
    image = Image.fromarray(glyph.astype(np.uint8) * 255).resize(_GLYPH[::-1], Image.Resampling.BOX)
    # Blurred, as strokes of different fonts do not lie quite alike.
    grid = scipy.ndimage.gaussian_filter(np.asarray(image, dtype=np.float32), 0.9)
    grid = grid - grid.mean()
    normal: FloatImage = grid / max(float(np.linalg.norm(grid)), 1e-6)
    return normal


@cache
def _templates() -> list[tuple[str, FloatImage, float, bool]]:
    """Characters, their pictures, ln of width over height, and whether each is a low letter."""
    font = ImageFont.load_default(_FONT_SIZE)
    drawn = [(character, _drawn(character, font)) for character in _CHARACTERS]
    tall = drawn[1][1].shape[0]
    return [
        (
            character,
            _normalised(glyph),
            float(np.log(glyph.shape[1] / glyph.shape[0])),
            glyph.shape[0] < 0.85 * tall,
        )
        for character, glyph in [*drawn, ("1", _one_with_a_foot())]
    ]


def _one_with_a_foot() -> BoolImage:
    """The digit as many fonts draw it."""
    image = Image.new("L", (26, 40))
    draw = ImageDraw.Draw(image)
    draw.rectangle([10, 0, 15, 39], fill=255)
    draw.rectangle([0, 35, 25, 39], fill=255)
    draw.line([1, 5, 12, 2], fill=255, width=4)
    return np.asarray(image) > 127


def _drawn(character: str, font: Any) -> BoolImage:
    image = Image.new("L", (2 * _FONT_SIZE, 2 * _FONT_SIZE))
    ImageDraw.Draw(image).text((_FONT_SIZE // 2, _FONT_SIZE // 4), character, fill=255, font=font)
    pixels = np.asarray(image) > 127
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _parsed(text: str) -> tuple[float | None, str]:
    """Number and unit of a label such as "2nm^-1", "51/nm" (five per nanometre) or "200nm"."""
    match = _LABEL.fullmatch(text)
    return (float(match[1]), match[2].replace("^1", "^-1")) if match else (None, "")
