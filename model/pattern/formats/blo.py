"""BLO files of NanoMEGAS ASTAR: a scan of small 8-bit patterns.

Fields of the header in order, as the public readers of the format give them: magic, offset of the image, offset of the
patterns, flags, pixels of a pattern's side, its rotation, columns and rows of the scan, its rotation, its steps (nm),
volts, pixels per centimeter of the screen times 100, camera length in millimeters times 10.
"""

from typing import Any

import numpy as np

from model.errors import UnreadableError
from model.pattern.formats.bytes_reader import BytesReader, read_array
from model.pattern.formats.recorded_image import RecordedImage, record_images
from model.pattern.formats.scale_and_voltage import accept_voltage, warn_of_camera_length
from model.pattern.frame import check_frame_size
from model.pattern.options import FrameSelection

_PATTERN_HEADER_BYTES = 6


def read_blo(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read a pattern of a BLO file.

    Args:
        data: content of the file.
        selection: which pattern of the scan, counted row by row.

    Raises:
        UnreadableError: The file is damaged.
        TooLargeError: A pattern has more pixels than the limit.
        OptionError: The file has no such pattern.
    """
    header = BytesReader(data, 6).read_numbers("<HIIIHHHHHddIHI")
    _, _, first, _, side, _, columns, rows, _, _, _, volts, per_centimeter, camera_length = header
    check_frame_size(side, side)
    size = _PATTERN_HEADER_BYTES + side * side
    count = min(columns * rows, max(len(data) - first, 0) // size)
    if count < 1:
        raise UnreadableError("The BLO file contains no pattern; it is truncated or damaged. Copy it again.")

    def read_image(number: int) -> np.ndarray[Any, Any]:
        offset = first + number * size + _PATTERN_HEADER_BYTES
        return read_array(data, offset, np.dtype("u1"), (side, side))

    voltage = accept_voltage(volts / 1000)
    pixel_mm = 1000 / per_centimeter if per_centimeter else None
    warnings = warn_of_camera_length(camera_length / 10, pixel_mm, voltage)
    return record_images(read_image, count, selection, "BLO", voltage_kv=voltage, warnings=warnings)
