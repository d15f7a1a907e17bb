"""MIB files of the Quantum Detectors Merlin (Medipix3): frames one after another, each with a text header.

The layout is that of the Merlin user manual: "MQ1,sequence,header length,chips,width,height,type,...".
"""

from typing import Any

import numpy as np

from model.errors import UnreadableError
from model.pattern.formats.bytes_reader import read_array
from model.pattern.formats.recorded_image import RecordedImage, record_images
from model.pattern.frame import check_frame_size
from model.pattern.options import FrameSelection

MAX_HEADER_BYTES = 64 * 1024
_DTYPES = {"U08": ">u1", "U8": ">u1", "U16": ">u2", "U32": ">u4", "U64": ">u8"}
_INVALID_HEADER = "The header of the MIB file is invalid; the file is damaged. Copy it again."


def read_mib(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read a frame of a MIB file.

    Args:
        data: content of the file.
        selection: which frame of a scan.

    Raises:
        UnreadableError: The file is damaged, or of the raw type that only the detector's software can decode.
        TooLargeError: The frame has more pixels than the limit.
        OptionError: The file has no such frame.
    """
    fields = data[:MAX_HEADER_BYTES].split(b",", 8)[:8]
    try:
        header, width, height = int(fields[2]), int(fields[4]), int(fields[5])
        pixel_type = fields[6].decode("ascii").strip()
    except (IndexError, ValueError) as error:
        raise UnreadableError(_INVALID_HEADER) from error
    if pixel_type not in _DTYPES:
        raise UnreadableError(
            f"MIB frames of type {pixel_type[:8]!r} contain raw detector data; record or export them as U16."
        )
    check_frame_size(height, width)
    if not 0 < header <= MAX_HEADER_BYTES:
        raise UnreadableError(_INVALID_HEADER)
    dtype = np.dtype(_DTYPES[pixel_type])
    step = header + height * width * dtype.itemsize
    count = max(len(data) // step, 1)

    def read_image(number: int) -> np.ndarray[Any, Any]:
        return read_array(data, number * step + header, dtype, (height, width))

    return record_images(read_image, count, selection, "MIB")
