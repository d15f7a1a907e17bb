"""MIB files of Quantum Detectors' Merlin (Medipix3): frames one after another, each with a header of text.

The layout is that of the Merlin user manual: "MQ1,sequence,header length,chips,width,height,type,...".
"""

from typing import Any

import numpy as np

from model.errors import UnreadableError
from model.pattern.formats.bytes_reader import array_at
from model.pattern.formats.recorded_image import Recorded
from model.pattern.formats.stack import chosen
from model.pattern.frame import check_pixels
from model.pattern.options import Choice

LONGEST_HEADER = 64 * 1024
_PIXELS = {"U08": ">u1", "U8": ">u1", "U16": ">u2", "U32": ">u4", "U64": ">u8"}


def is_mib(data: bytes) -> bool:
    """Whether the content is a MIB file."""
    return data[:4] == b"MQ1,"


def read_mib(data: bytes, choice: Choice = None) -> Recorded:
    """A frame of a MIB file.

    Args:
        data: the file.
        choice: of a scan.

    Raises:
        UnreadableError: damaged, or of the raw kind that only the detector's software can unscramble.
        TooLargeError: more pixels than are read.
        OptionError: no such frame.
    """
    fields = data[:LONGEST_HEADER].split(b",", 8)[:8]
    try:
        header, width, height = int(fields[2]), int(fields[4]), int(fields[5])
        kind = fields[6].decode("ascii").strip()
    except (IndexError, ValueError) as error:
        raise UnreadableError("the MIB file's header makes no sense; it is damaged, copy it again") from error
    if kind not in _PIXELS:
        raise UnreadableError(
            f"MIB frames of type {kind[:8]!r} are the detector's raw ones; record or export them as U16"
        )
    check_pixels(height, width)
    if not 0 < header <= LONGEST_HEADER:
        raise UnreadableError("the MIB file's header makes no sense; it is damaged, copy it again")
    pixels = np.dtype(_PIXELS[kind])
    step = header + height * width * pixels.itemsize
    count = max(len(data) // step, 1)

    def image_at(number: int) -> np.ndarray[Any, Any]:
        return array_at(data, number * step + header, pixels, (height, width))

    found = chosen(image_at, count, choice)
    return Recorded(found.counts, "MIB", warnings=found.warnings, images=found.images)
