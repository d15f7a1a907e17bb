"""DM3 and DM4 files of Gatan DigitalMicrograph: a tree of tags with images among them.

The layout is known from the descriptions that P. Cueva and others published of DM3, and of the longer lengths in DM4.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from model.errors import UnreadableError
from model.pattern.formats.bytes_reader import BytesReader, array_at
from model.pattern.formats.metadata import camera_length_hint, stated_scale, stated_voltage
from model.pattern.formats.recorded_image import Recorded
from model.pattern.formats.stack import chosen
from model.pattern.frame import check_pixels
from model.pattern.options import Choice

MOST_TAGS = 200_000
DEEPEST = 64
LONGEST_TEXT = 1024
_GROUP, _VALUE = 20, 21
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_KINDS = {
    2: "i2", 3: "i4", 4: "u2", 5: "u4", 6: "f4", 7: "f8", 8: "u1", 9: "i1", 10: "u1", 11: "i8", 12: "u8"
}  # fmt: skip
# Of an image's pixels; complex and colour ones are not among them.
_PIXELS = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 14: "u1"}

Tags = dict[str, Any]


@dataclass(frozen=True)
class _Numbers:
    """Many numbers of a tag, left in the file."""

    offset: int
    kind: str
    count: int


def is_dm(data: bytes) -> bool:
    """Whether the content is a DM3 or DM4 file."""
    return data[:3] == b"\0\0\0" and data[3:4] in (b"\3", b"\4")


def read_dm(data: bytes, choice: Choice = None) -> Recorded:
    """The image of a DM3 or DM4 file, thumbnails left out.

    Args:
        data: the file.
        choice: of an image stack.

    Raises:
        UnreadableError: a damaged file, or one without an image of counts.
        TooLargeError: more pixels than are read.
        OptionError: no such image.
    """
    tree = _Parser(data)
    tags = tree.parsed()
    image = _main_image(tags)
    content = image["ImageData"]
    width, height, *others = (int(size) for size in _listed(content["Dimensions"]))
    check_pixels(height, width)
    count = int(np.prod(others, dtype=object)) if others else 1
    kind = np.dtype(tree.order + _PIXELS[int(content["DataType"])])
    first = content["Data"].offset

    def image_at(number: int) -> np.ndarray[Any, Any]:
        return array_at(data, first + number * height * width * kind.itemsize, kind, (height, width))

    found = chosen(image_at, count, choice)
    microscope = _first(image, "Microscope Info") or {}
    volts = microscope.get("Voltage")
    voltage = stated_voltage(volts / 1000 if isinstance(volts, int | float) else None)
    scale = _scale(content, voltage)
    hint = () if scale.inv_angstrom or scale.warnings else _hint(image, microscope, voltage)
    return Recorded(
        found.counts,
        f"DM{data[3]}",
        scale.inv_angstrom,
        voltage,
        (*found.warnings, *scale.warnings, *hint),
        images=found.images,
    )


def _main_image(tags: Tags) -> Tags:
    """The entry with the most pixels of counts; a thumbnail is in colour."""
    best: tuple[int, Tags] | None = None
    for entry in _listed(tags.get("ImageList", {})):
        content = entry.get("ImageData") if isinstance(entry, dict) else None
        if not isinstance(content, dict) or content.get("DataType") not in _PIXELS:
            continue
        sizes = _listed(content.get("Dimensions", {}))
        whole = all(isinstance(size, int) and size > 0 for size in sizes)
        if len(sizes) < 2 or not whole or not isinstance(content.get("Data"), _Numbers):
            continue
        if best is None or content["Data"].count > best[0]:
            best = content["Data"].count, entry
    if best is None:
        raise UnreadableError("the DM file holds no image of counts; save the diffraction pattern itself")
    return best[1]


def _scale(content: Tags, voltage_kv: float | None) -> Any:
    calibrations = content.get("Calibrations", {})
    dimensions = _listed(calibrations.get("Dimension", {}) if isinstance(calibrations, dict) else {})[:2]
    sizes = [each.get("Scale") for each in dimensions if isinstance(each, dict)]
    units = [each.get("Units") for each in dimensions if isinstance(each, dict)]
    if len(sizes) < 2 or not all(isinstance(size, int | float) for size in sizes):
        return stated_scale((), "")
    unit = units[0] if isinstance(units[0], str) else ""
    return stated_scale([float(size) for size in sizes if size is not None], unit, voltage_kv)


def _hint(image: Tags, microscope: Tags, voltage_kv: float | None) -> tuple[str, ...]:
    """In diffraction what is stated as a magnification is the camera length in millimetres."""
    scanning = microscope.get("STEM Camera Length")
    length = scanning if isinstance(scanning, int | float) and scanning > 0 else None
    if length is None and microscope.get("Imaging Mode") == "DIFFRACTION":
        length = microscope.get("Indicated Magnification")
    camera = _first(image, "Frame")
    ccd = camera.get("CCD") if isinstance(camera, dict) else None
    pixel = ccd.get("Pixel Size (um)") if isinstance(ccd, dict) else None
    micrometres = pixel[0] if isinstance(pixel, tuple) and pixel else None
    known = isinstance(length, int | float) and isinstance(micrometres, int | float)
    return camera_length_hint(length, micrometres / 1000, voltage_kv) if known else ()  # type: ignore[operator]


def _listed(tags: Any) -> list[Any]:
    """A group of unnamed tags, in order."""
    return list(tags.values()) if isinstance(tags, dict) else []


def _first(tags: Tags, name: str) -> Any:
    """The first tag of a name, breadth first."""
    level = [tags]
    while level:
        for group in level:
            if name in group:
                return group[name]
        level = [each for group in level for each in group.values() if isinstance(each, dict)]
    return None


class _Parser:
    """Reads the tree; arrays stay in the file."""

    def __init__(self, data: bytes) -> None:
        self._reader = BytesReader(data)
        self._wide = data[3] == 4
        self._size = ">Q" if self._wide else ">I"
        self._tags = 0
        self.order = "<"

    def parsed(self) -> Tags:
        self._reader.numbers(">I" + self._size[1])
        self.order = "<" if self._reader.number(">I") == 1 else ">"
        return self._group(0)

    def _group(self, depth: int) -> Tags:
        if depth > DEEPEST:
            raise UnreadableError("the DM file's tags are nested without end; it is damaged, copy it again")
        self._reader.skip(2)
        tags: Tags = {}
        for number in range(self._reader.number(self._size)):
            self._tags += 1
            if self._tags > MOST_TAGS:
                raise UnreadableError("the DM file has too many tags; it is damaged, copy it again")
            kind, length = self._reader.numbers(">BH")
            name = self._reader.text(length) or str(number)
            if self._wide:
                self._reader.skip(8)
            if kind == _GROUP:
                tags[name] = self._group(depth + 1)
            elif kind == _VALUE:
                tags[name] = self._value(is_text=name != "Data")
            else:
                raise UnreadableError("the DM file's tags make no sense; it is damaged, copy it again")
        return tags

    def _value(self, *, is_text: bool) -> Any:
        if self._reader.text(4) != "%%%%":
            raise UnreadableError("the DM file's tags make no sense; it is damaged, copy it again")
        layout = self._layout(self._reader.number(self._size))
        if layout[:1] == (_STRUCT,):
            return self._struct(layout)
        if layout[:1] == (_STRING,):
            return self._reader.text(min(self._reader.checked(2 * layout[1]), LONGEST_TEXT))
        if layout[:1] == (_ARRAY,):
            return self._array(layout, is_text)
        return self._number(layout[0])

    def _layout(self, count: int) -> tuple[int, ...]:
        if not 1 <= count <= MOST_TAGS:
            raise UnreadableError("the DM file's tags make no sense; it is damaged, copy it again")
        self._reader.checked(count * (8 if self._wide else 4))
        return self._reader.numbers(f">{count}{self._size[1]}")

    def _kind(self, code: int) -> np.dtype[Any]:
        if code not in _KINDS:
            raise UnreadableError(f"the DM file has numbers of an unknown type ({code}); it is damaged")
        return np.dtype(self.order + _KINDS[code])

    def _number(self, code: int) -> Any:
        kind = self._kind(code)
        value = array_at(self._reader.data, self._reader.at, kind, (1,))[0].item()
        self._reader.skip(kind.itemsize)
        return value

    def _struct(self, layout: tuple[int, ...]) -> tuple[Any, ...]:
        return tuple(self._number(code) for code in layout[4::2])

    def _array(self, layout: tuple[int, ...], is_text: bool) -> Any:
        """Numbers, a text if they may be one and are few 16-bit ones, or structures, which are skipped."""
        count = layout[-1]
        if layout[1] == _STRUCT:
            size = sum(self._kind(code).itemsize for code in layout[5:-1:2])
            self._reader.skip(self._reader.checked(size * count))
            return None
        kind = self._kind(layout[1])
        offset = self._reader.at
        self._reader.skip(self._reader.checked(kind.itemsize * count))
        if is_text and kind.str[1:] == "u2" and count <= LONGEST_TEXT:
            return self._reader.data[offset : self._reader.at].decode(
                "utf-16-le" if self.order == "<" else "utf-16-be", "replace"
            )
        return _Numbers(offset, kind.str, count)
