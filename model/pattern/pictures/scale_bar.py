"""Scale bars in exported pictures: find the bar, read its label, and remove both from the picture."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from model.pattern.pictures.inpainting import inpaint
from model.pattern.scale import REAL_SPACE_UNITS, is_plausible_pixel_size, parse_units

BoolImage = NDArray[np.bool_]
FloatImage = NDArray[np.float32]

# A bar is long, thin and filled. Lengths are shares of the picture's width.
_MIN_LENGTH, _MAX_LENGTH = 0.04, 0.7
_MIN_ASPECT_RATIO = 4.0
_MIN_FILLED = 0.93
_MAX_MARKED_SHARE = 0.06
_MAX_COMPONENTS = 400
# Rows and columns of the grid on which glyphs are compared.
_GLYPH_SHAPE = (20, 16)
_MIN_LIKENESS = 0.45
_CHARACTERS = "0123456789/nmÅA"
_FONT_SIZE = 48
_LABEL = re.compile(r"(\d+(?:\.\d+)?)(1/(?:nm|A|Å)|(?:nm|A|Å)\^?-?1|nm|A|Å|)")


@dataclass(frozen=True, eq=False)
class ScaleBar:
    """A scale bar and its label.

    Attributes:
        length_px: length of the bar.
        size: length of the bar in the unit; None if the label has no number.
        unit: unit as `parse_units` reads it; empty where the label has none.
        mask: (H, W) pixels of bar and label.
    """

    length_px: float
    size: float | None
    unit: str
    mask: BoolImage

    @property
    def pixel_size_inv_angstrom(self) -> float | None:
        """1/angstrom per pixel, or None if the label is not in reciprocal units."""
        units = parse_units(self.unit) if self.unit else None
        if self.size is None or units not in {"1/nm", "1/angstrom"}:
            return None
        return self.size / self.length_px * (0.1 if units == "1/nm" else 1.0)


def remove_scale_bar(picture: NDArray[Any]) -> tuple[NDArray[Any], float | None, tuple[str, ...]]:
    """Remove the scale bar of an 8-bit picture, and read its scale.

    Args:
        picture: (H, W).

    Returns:
        (H, W) the picture without bar and label, 1/angstrom per pixel or None, and warnings for the user.
    """
    bar = find_scale_bar(picture)
    if bar is None:
        return picture, None, ()
    size, name = bar.pixel_size_inv_angstrom, f"The scale bar of {bar.length_px:g} pixels"
    if size is not None and not is_plausible_pixel_size(size):
        size = None
    if size is not None:
        warning = f"{name} was read as {bar.size:g} {bar.unit}; give pixel_size if that is wrong."
    elif bar.unit in REAL_SPACE_UNITS:
        warning = f"{name} was read as {bar.size:g} {bar.unit}, a real-space length, and ignored."
    else:
        warning = f"The label of the scale bar of {bar.length_px:g} pixels cannot be read; give pixel_size."
    return inpaint(picture, bar.mask), size, (warning,)


def find_scale_bar(picture: NDArray[Any]) -> ScaleBar | None:
    """Find the white or black scale bar of a 8-bit picture (H, W); None if there is none."""
    for level in (picture.max(), picture.min()):
        marked = picture == level
        if not 0 < marked.mean() <= _MAX_MARKED_SHARE:
            continue
        labels, count = scipy.ndimage.label(marked, structure=np.ones((3, 3)))
        if count > 10 * _MAX_COMPONENTS:
            continue
        bar = _find_bar(_count_pixels(labels, count), _make_boxes(labels), picture.shape)
        if bar is not None:
            return _read_label(picture, float(level), bar)
    return None


@dataclass(frozen=True)
class _Box:
    """Bounding box of connected components: from `top` to before `bottom`, and `left` to before `right`."""

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

    def cut_from(self, labels: NDArray[Any]) -> BoolImage:
        """Return the pixels of the components inside the box."""
        return np.isin(labels[self.top : self.bottom, self.left : self.right], self.numbers)

    def belongs_to(self, other: "_Box") -> bool:
        """Return whether both are one character: the ring of an Å above its A, or a dot inside a zero."""
        common = min(self.right, other.right) - max(self.left, other.left)
        is_apart = self.bottom <= other.top + 1 or other.bottom <= self.top + 1
        is_inside = other.left <= self.left and self.right <= other.right and other.top <= self.top
        return (is_apart or is_inside) and common > 0.6 * min(self.width, other.width)

    def merge(self, other: "_Box") -> "_Box":
        """Return the box of both."""
        return _Box(
            self.numbers + other.numbers,
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )


def _make_boxes(labels: NDArray[Any]) -> list[_Box]:
    return [
        _Box((number,), rows.start, rows.stop, columns.start, columns.stop)
        for number, (rows, columns) in enumerate(scipy.ndimage.find_objects(labels), start=1)
    ]


def _count_pixels(labels: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Return the number of pixels of each component, and of the background before them."""
    total = np.zeros(count + 1, dtype=np.intp)
    for row in labels:
        total += np.bincount(row, minlength=count + 1)
    return total


def _find_bar(pixels: NDArray[np.intp], boxes: list[_Box], shape: tuple[int, ...]) -> _Box | None:
    """Return the widest component that is a bar in the lower or upper quarter of the picture.

    Args:
        pixels: number of pixels of each component.
        boxes: their bounding boxes.
        shape: of the picture.
    """
    height, width = shape
    best: _Box | None = None
    for box in boxes:
        if (
            not _MIN_LENGTH * width <= box.width <= _MAX_LENGTH * width
            or box.width < _MIN_ASPECT_RATIO * box.height
        ):
            continue
        if height / 4 < box.top < 3 * height / 4 or box.height < 2:
            continue
        is_filled = pixels[box.numbers[0]] / (box.height * box.width) >= _MIN_FILLED
        if is_filled and (best is None or box.width > best.width):
            best = box
    return best


def _read_label(picture: NDArray[Any], level: float, bar: _Box) -> ScaleBar:
    """Read the label of a bar: the glyphs above or below it, or at its ends."""
    reach_y, reach_x = max(6 * bar.height, bar.width // 2), bar.width
    top, left = max(bar.top - reach_y, 0), max(bar.left - reach_x, 0)
    around = picture[top : bar.bottom + reach_y, left : bar.right + reach_x]
    # Edges of glyphs are smoothed: pixels nearer to their level than to the background belong to them.
    background = float(np.median(around))
    middle = (level + background) / 2
    is_glyph = around > middle if level > background else around < middle
    labels, count = scipy.ndimage.label(is_glyph & (level != background), np.ones((3, 3)))
    mask = np.zeros(picture.shape, dtype=bool)
    if count > _MAX_COMPONENTS:
        mask[bar.top : bar.bottom, bar.left : bar.right] = True
        return ScaleBar(float(bar.width), None, "", scipy.ndimage.binary_dilation(mask, iterations=2))
    own = labels[bar.top - top, bar.left - left + bar.width // 2]
    line = _find_line([box for box in _make_boxes(labels) if own not in box.numbers], bar)
    size, unit = _parse_label(_recognize_line(labels, line))
    mask[top : top + around.shape[0], left : left + around.shape[1]] = np.isin(
        labels, [own, *(number for box in line for number in box.numbers)]
    )
    return ScaleBar(float(bar.width), size, unit, scipy.ndimage.binary_dilation(mask, iterations=2))


def _find_line(boxes: list[_Box], bar: _Box) -> list[_Box]:
    """Return the glyphs of one line of text, from left to right: those beside the highest glyph."""
    tall = [box for box in boxes if box.height >= 6 and box.width <= bar.width / 2][:_MAX_COMPONENTS]
    if not tall:
        return []
    highest = max(tall, key=lambda box: box.height)
    top, bottom = highest.top - 0.4 * highest.height, highest.bottom + 0.4 * highest.height
    line = [
        box for box in boxes if top <= box.top and box.bottom <= bottom and box.width <= 2.5 * highest.height
    ]
    glyphs: list[_Box] = []
    for box in sorted(line, key=lambda box: box.left)[:40]:
        if glyphs and box.belongs_to(glyphs[-1]):
            glyphs[-1] = glyphs[-1].merge(box)
        else:
            glyphs.append(box)
    return glyphs


def _recognize_line(labels: NDArray[Any], line: list[_Box]) -> str:
    """Return the text of a line without its spaces. It begins with a digit; raised glyphs are the exponent."""
    if not line:
        return ""
    height, baseline, text = line[0].height, line[0].bottom, ""
    for box in line:
        if box.bottom < baseline - 0.25 * height:
            text += ("" if "^" in text else "^") + ("-" if box.width > 1.3 * box.height else "1")
        else:
            text += _recognize_character(box.cut_from(labels), box, height)
    return text


def _recognize_character(glyph: BoolImage, box: _Box, height: int) -> str:
    """Return the most similar character; an empty string if none is similar."""
    if box.height < 0.35 * height:
        return "-" if box.width > 1.3 * box.height else "."
    image, log_aspect = _normalize_glyph(glyph), np.log(box.width / box.height)
    is_low = box.height < 0.85 * height
    best, likeness = "", _MIN_LIKENESS
    for character, template, template_log_aspect, template_is_low in _render_templates():
        match = float((image * template).sum()) - 0.35 * abs(log_aspect - template_log_aspect)
        if template_is_low == is_low and match > likeness:
            best, likeness = character, match
    return best


def _normalize_glyph(glyph: BoolImage) -> FloatImage:
    """Return a glyph on the grid, with zero mean and unit norm."""
    from PIL import Image  # loaded with the first label

    image = Image.fromarray(glyph.astype(np.uint8) * 255).resize(_GLYPH_SHAPE[::-1], Image.Resampling.BOX)
    # Blurred, because the strokes of different fonts are displaced a little.
    grid = scipy.ndimage.gaussian_filter(np.asarray(image, dtype=np.float32), 0.9)
    grid = grid - grid.mean()
    normalized: FloatImage = grid / max(float(np.linalg.norm(grid)), 1e-6)
    return normalized


@cache
def _render_templates() -> list[tuple[str, FloatImage, float, bool]]:
    """Return characters, their normalized pictures, ln of width over height, and whether each is a low letter."""
    from PIL import ImageFont

    font = ImageFont.load_default(_FONT_SIZE)
    glyphs = [(character, _render_character(character, font)) for character in _CHARACTERS]
    tall = glyphs[1][1].shape[0]
    return [
        (
            character,
            _normalize_glyph(glyph),
            float(np.log(glyph.shape[1] / glyph.shape[0])),
            glyph.shape[0] < 0.85 * tall,
        )
        for character, glyph in [*glyphs, ("1", _render_one_with_foot())]
    ]


def _render_one_with_foot() -> BoolImage:
    """Return the digit 1 with the horizontal foot that many fonts have."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (26, 40))
    draw = ImageDraw.Draw(image)
    draw.rectangle([10, 0, 15, 39], fill=255)
    draw.rectangle([0, 35, 25, 39], fill=255)
    draw.line([1, 5, 12, 2], fill=255, width=4)
    return np.asarray(image) > 127


def _render_character(character: str, font: Any) -> BoolImage:
    from PIL import Image, ImageDraw

    image = Image.new("L", (2 * _FONT_SIZE, 2 * _FONT_SIZE))
    ImageDraw.Draw(image).text((_FONT_SIZE // 2, _FONT_SIZE // 4), character, fill=255, font=font)
    pixels = np.asarray(image) > 127
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _parse_label(text: str) -> tuple[float | None, str]:
    """Return number and unit of a label such as "2nm^-1", "51/nm" (five per nanometer) or "200nm"."""
    match = _LABEL.fullmatch(text)
    return (float(match[1]), match[2].replace("^1", "^-1")) if match else (None, "")
