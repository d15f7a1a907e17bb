"""BLO files of NanoMEGAS' ASTAR: a scan of small 8-bit patterns.

The header's fields in order (as the public readers of the format give them): magic, offset of the image, offset of the
patterns, flags, pixels of a pattern's side, its rotation, columns and rows of the scan, its rotation, its steps (nm),
volts, hundred times the pixels of a centimetre on the screen, ten times the camera length in millimetres.
"""

from typing import Any

import numpy as np

from model.errors import UnreadableError
from model.pattern.formats.bytes_reader import BytesReader, array_at
from model.pattern.formats.metadata import camera_length_hint, stated_voltage
from model.pattern.formats.recorded_image import Recorded
from model.pattern.formats.stack import chosen
from model.pattern.frame import check_pixels
from model.pattern.options import Choice

_HEAD_OF_A_PATTERN = 6


def is_blo(data: bytes) -> bool:
    """Whether the content is a BLO file."""
    return data[:6] == b"IMGBLO"


def read_blo(data: bytes, choice: Choice = None) -> Recorded:
    """A pattern of a BLO file.

    Args:
        data: the file.
        choice: of the scan, row by row.

    Raises:
        UnreadableError: damaged.
        TooLargeError: more pixels than are read.
        OptionError: no such pattern.
    """
    numbers = BytesReader(data, 6).numbers("<HIIIHHHHHddIHI")
    _, _, first, _, side, _, columns, rows, _, _, _, volts, per_centimetre, camera_length = numbers
    check_pixels(side, side)
    size = _HEAD_OF_A_PATTERN + side * side
    count = min(columns * rows, max(len(data) - first, 0) // size)
    if count < 1:
        raise UnreadableError("the BLO file holds no pattern; it is truncated or damaged, copy it again")

    def image_at(number: int) -> np.ndarray[Any, Any]:
        offset = first + number * size + _HEAD_OF_A_PATTERN
        return array_at(data, offset, np.dtype("u1"), (side, side))

    found = chosen(image_at, count, choice)
    voltage = stated_voltage(volts / 1000)
    millimetres = 1000 / per_centimetre if per_centimetre else None
    hint = camera_length_hint(camera_length / 10, millimetres, voltage)
    return Recorded(found.counts, "BLO", None, voltage, (*found.warnings, *hint), images=found.images)
