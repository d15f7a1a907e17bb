"""DM3 and DM4 files of Gatan DigitalMicrograph: a tree of tags that includes images.

The layout of DM3 follows the descriptions by P. Cueva and others; DM4 has longer lengths.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from model.errors import UnreadableError
from model.pattern.formats.bytes_reader import BytesReader, read_array
from model.pattern.formats.recorded_image import RecordedImage, record_images
from model.pattern.formats.scale_and_voltage import (
    NO_SCALE,
    StatedScale,
    accept_voltage,
    interpret_scale,
    warn_of_camera_length,
)
from model.pattern.frame import check_frame_size
from model.pattern.options import FrameSelection

MAX_TAGS = 200_000
MAX_DEPTH = 64
MAX_TEXT_LENGTH = 1024
_GROUP, _VALUE = 20, 21
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_NUMBER_DTYPES = {
    2: "i2", 3: "i4", 4: "u2", 5: "u4", 6: "f4", 7: "f8", 8: "u1", 9: "i1", 10: "u1", 11: "i8", 12: "u8"
}  # fmt: skip
# Of images; complex and color ones are left out.
_PIXEL_DTYPES = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 14: "u1"}
_INVALID_TAGS = "The tags of the DM file are invalid; the file is damaged. Copy it again."

Tags = dict[str, Any]


@dataclass(frozen=True)
class _NumberArray:
    """The place of a tag's array in the file, which is not read."""

    offset: int
    dtype: str
    count: int


def read_dm(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read the image of a DM3 or DM4 file; thumbnails are ignored.

    Args:
        data: content of the file.
        selection: which image of a stack.

    Raises:
        UnreadableError: The file is damaged, or contains no image of counts.
        TooLargeError: The image has more pixels than the limit.
        OptionError: The file has no such image.
    """
    parser = _TagParser(data)
    image = _find_main_image(parser.parse())
    content = image["ImageData"]
    width, height, *others = (int(size) for size in _list_values(content["Dimensions"]))
    check_frame_size(height, width)
    count = int(np.prod(others, dtype=object)) if others else 1
    dtype = np.dtype(parser.byte_order + _PIXEL_DTYPES[int(content["DataType"])])
    first = content["Data"].offset

    def read_image(number: int) -> np.ndarray[Any, Any]:
        return read_array(data, first + number * height * width * dtype.itemsize, dtype, (height, width))

    microscope = _find_first(image, "Microscope Info") or {}
    volts = microscope.get("Voltage")
    voltage = accept_voltage(volts / 1000 if isinstance(volts, int | float) else None)
    scale = _read_scale(content, voltage)
    warnings = () if scale != NO_SCALE else _warn_of_camera_length(image, microscope, voltage)
    return record_images(
        read_image, count, selection, f"DM{data[3]}", scale=scale, voltage_kv=voltage, warnings=warnings
    )


def _find_main_image(tags: Tags) -> Tags:
    """Return the entry with the most pixels of counts; thumbnails are in color."""
    best: tuple[int, Tags] | None = None
    for entry in _list_values(tags.get("ImageList", {})):
        content = entry.get("ImageData") if isinstance(entry, dict) else None
        if not isinstance(content, dict) or content.get("DataType") not in _PIXEL_DTYPES:
            continue
        sizes = _list_values(content.get("Dimensions", {}))
        are_valid = all(isinstance(size, int) and size > 0 for size in sizes)
        if len(sizes) < 2 or not are_valid or not isinstance(content.get("Data"), _NumberArray):
            continue
        if best is None or content["Data"].count > best[0]:
            best = content["Data"].count, entry
    if best is None:
        raise UnreadableError("The DM file contains no image of counts; save the diffraction pattern itself.")
    return best[1]


def _read_scale(content: Tags, voltage_kv: float | None) -> StatedScale:
    calibrations = content.get("Calibrations", {})
    dimensions = _list_values(calibrations.get("Dimension", {}) if isinstance(calibrations, dict) else {})[:2]
    sizes = [each.get("Scale") for each in dimensions if isinstance(each, dict)]
    units = [each.get("Units") for each in dimensions if isinstance(each, dict)]
    if len(sizes) < 2 or not all(isinstance(size, int | float) for size in sizes):
        return NO_SCALE
    unit = units[0] if isinstance(units[0], str) else ""
    return interpret_scale([float(size) for size in sizes if size is not None], unit, voltage_kv)


def _warn_of_camera_length(image: Tags, microscope: Tags, voltage_kv: float | None) -> tuple[str, ...]:
    """Find the camera length; in diffraction mode the stated magnification is the camera length in millimeters."""
    scanning = microscope.get("STEM Camera Length")
    length = scanning if isinstance(scanning, int | float) and scanning > 0 else None
    if length is None and microscope.get("Imaging Mode") == "DIFFRACTION":
        length = microscope.get("Indicated Magnification")
    camera = _find_first(image, "Frame")
    ccd = camera.get("CCD") if isinstance(camera, dict) else None
    pixel = ccd.get("Pixel Size (um)") if isinstance(ccd, dict) else None
    micrometers = pixel[0] if isinstance(pixel, tuple) and pixel else None
    if not isinstance(length, int | float) or not isinstance(micrometers, int | float):
        return ()
    return warn_of_camera_length(length, micrometers / 1000, voltage_kv)


def _list_values(tags: Any) -> list[Any]:
    """Return the values of a group of unnamed tags, in order."""
    return list(tags.values()) if isinstance(tags, dict) else []


def _find_first(tags: Tags, name: str) -> Any:
    """Return the value of the first tag of a name, breadth first."""
    level = [tags]
    while level:
        for group in level:
            if name in group:
                return group[name]
        level = [each for group in level for each in group.values() if isinstance(each, dict)]
    return None


class _TagParser:
    """Parses the tree of tags; long arrays stay in the file."""

    def __init__(self, data: bytes) -> None:
        self._reader = BytesReader(data)
        self._is_dm4 = data[3] == 4
        self._size = ">Q" if self._is_dm4 else ">I"
        self._tag_count = 0
        self.byte_order = "<"

    def parse(self) -> Tags:
        self._reader.read_numbers(">I" + self._size[1])
        self.byte_order = "<" if self._reader.read_number(">I") == 1 else ">"
        return self._parse_group(0)

    def _parse_group(self, depth: int) -> Tags:
        if depth > MAX_DEPTH:
            raise UnreadableError(
                "The tags of the DM file are nested too deeply; it is damaged. Copy it again."
            )
        self._reader.skip(2)
        tags: Tags = {}
        for number in range(self._reader.read_number(self._size)):
            self._tag_count += 1
            if self._tag_count > MAX_TAGS:
                raise UnreadableError("The DM file has too many tags; it is damaged. Copy it again.")
            tag_type, length = self._reader.read_numbers(">BH")
            name = self._reader.read_text(length) or str(number)
            if self._is_dm4:
                self._reader.skip(8)
            if tag_type == _GROUP:
                tags[name] = self._parse_group(depth + 1)
            elif tag_type == _VALUE:
                tags[name] = self._parse_value(may_be_text=name != "Data")
            else:
                raise UnreadableError(_INVALID_TAGS)
        return tags

    def _parse_value(self, *, may_be_text: bool) -> Any:
        if self._reader.read_text(4) != "%%%%":
            raise UnreadableError(_INVALID_TAGS)
        layout = self._read_layout(self._reader.read_number(self._size))
        if layout[:1] == (_STRUCT,):
            return tuple(self._read_number(code) for code in layout[4::2])
        if layout[:1] == (_STRING,):
            return self._reader.read_text(min(self._reader.check_length(2 * layout[1]), MAX_TEXT_LENGTH))
        if layout[:1] == (_ARRAY,):
            return self._parse_array(layout, may_be_text)
        return self._read_number(layout[0])

    def _read_layout(self, count: int) -> tuple[int, ...]:
        if not 1 <= count <= MAX_TAGS:
            raise UnreadableError(_INVALID_TAGS)
        self._reader.check_length(count * (8 if self._is_dm4 else 4))
        return self._reader.read_numbers(f">{count}{self._size[1]}")

    def _find_dtype(self, code: int) -> np.dtype[Any]:
        if code not in _NUMBER_DTYPES:
            raise UnreadableError(
                f"The DM file has numbers of an unknown type ({code}); it is damaged. Copy it again."
            )
        return np.dtype(self.byte_order + _NUMBER_DTYPES[code])

    def _read_number(self, code: int) -> Any:
        dtype = self._find_dtype(code)
        value = read_array(self._reader.data, self._reader.position, dtype, (1,))[0].item()
        self._reader.skip(dtype.itemsize)
        return value

    def _parse_array(self, layout: tuple[int, ...], may_be_text: bool) -> Any:
        """Return the place of an array, its text if it can be one (few 16-bit numbers), or None for structures."""
        count = layout[-1]
        if layout[1] == _STRUCT:
            size = sum(self._find_dtype(code).itemsize for code in layout[5:-1:2])
            self._reader.skip(self._reader.check_length(size * count))
            return None
        dtype = self._find_dtype(layout[1])
        offset = self._reader.position
        self._reader.skip(self._reader.check_length(dtype.itemsize * count))
        if may_be_text and dtype.str[1:] == "u2" and count <= MAX_TEXT_LENGTH:
            return self._reader.data[offset : self._reader.position].decode(
                "utf-16-le" if self.byte_order == "<" else "utf-16-be", "replace"
            )
        return _NumberArray(offset, dtype.str, count)
