"""SER files of FEI TIA: series of images, described by an accompanying EMI file.

The layout is the one that FEI published with TIA ("SER file format").
"""

import re
from typing import Any

import numpy as np

from model.errors import NoSpotsError, UnreadableError
from model.pattern.formats.bytes_reader import BytesReader, read_array
from model.pattern.formats.recorded_image import RecordedImage, record_images
from model.pattern.formats.scale_and_voltage import NO_SCALE, StatedScale, interpret_scale
from model.pattern.frame import check_frame_size
from model.pattern.options import FrameSelection

MAX_IMAGES = 1_000_000
_IMAGES = 0x4122
_FIRST_VERSION_WITH_WIDE_OFFSETS = 0x0220
_DTYPES = {1: "<u1", 2: "<u2", 3: "<u4", 4: "<i1", 5: "<i2", 6: "<i4", 7: "<f4", 8: "<f8"}


def read_emi(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Reject an EMI file, which describes images but contains none.

    Raises:
        NoSpotsError: Always.
    """
    del selection
    has_voltage = re.search(rb"High tension|<HighTension>|Accelerating", data)
    advice = ", and give the voltage_kv that this file states" if has_voltage else ""
    raise NoSpotsError(
        f"An EMI file describes images but contains none; upload the .ser file next to it{advice}."
    )


def read_ser(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read an image of a SER file.

    Args:
        data: content of the file.
        selection: which image of a series.

    Raises:
        UnreadableError: The file is damaged, or contains spectra.
        TooLargeError: The image has more pixels than the limit.
        OptionError: The file has no such image.
    """
    reader = BytesReader(data, 4)
    version, content, _, total, valid = reader.read_numbers("<HIIII")
    has_wide_offsets = version >= _FIRST_VERSION_WITH_WIDE_OFFSETS
    if content != _IMAGES:
        raise UnreadableError(
            "The SER file contains spectra instead of images; upload the diffraction pattern."
        )
    if not 0 < valid <= min(total, MAX_IMAGES):
        raise UnreadableError(
            "The SER file contains no image; the acquisition may have been aborted. Record it again."
        )
    reader = BytesReader(data, reader.read_number("<Q" if has_wide_offsets else "<I"))
    reader.check_length(valid * (8 if has_wide_offsets else 4))
    offsets = reader.read_numbers(f"<{valid}{'Q' if has_wide_offsets else 'I'}")

    def read_image(number: int) -> np.ndarray[Any, Any]:
        _, offset, dtype, shape = _read_image_header(data, offsets[number])
        return read_array(data, offset, dtype, shape)[::-1]  # the first row of the file is the lowest

    scale = _read_image_header(data, offsets[0])[0]
    return record_images(read_image, valid, selection, "SER", scale=scale)


def _read_image_header(data: bytes, offset: int) -> tuple[StatedScale, int, np.dtype[Any], tuple[int, int]]:
    """Return the scale of an image, the offset of its pixels, their type, and (H, W)."""
    reader = BytesReader(data, offset)
    _, size_x, _, _, size_y, _, code, width, height = reader.read_numbers("<ddiddiHII")
    if code not in _DTYPES:
        raise UnreadableError("The pixels of the SER file are not counts; export the frame as 16-bit TIFF.")
    check_frame_size(height, width)
    # The file states meters or reciprocal meters, and not which; no pixel is larger than a meter.
    is_reciprocal = size_x > 1 and size_y > 1
    scale = interpret_scale((size_x * 1e-9, size_y * 1e-9), "1/nm") if is_reciprocal else NO_SCALE
    return scale, reader.position, np.dtype(_DTYPES[code]), (height, width)
