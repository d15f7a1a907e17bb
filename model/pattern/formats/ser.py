"""SER files of FEI's TIA: series of images; what the microscope did stands in the EMI file beside it.

The layout is the one FEI published with TIA ("SER file format").
"""

import re
from typing import Any

import numpy as np

from model.errors import NoSpotsError, UnreadableError
from model.pattern.formats.bytes_reader import BytesReader, array_at
from model.pattern.formats.metadata import Scale, stated_scale
from model.pattern.formats.recorded_image import Recorded
from model.pattern.formats.stack import chosen
from model.pattern.frame import check_pixels
from model.pattern.options import Choice

_IMAGES = 0x4122
_WIDE_OFFSETS = 0x0220
MOST_IMAGES = 1_000_000
_PIXELS = {1: "<u1", 2: "<u2", 3: "<u4", 4: "<i1", 5: "<i2", 6: "<i4", 7: "<f4", 8: "<f8"}


def is_ser(data: bytes) -> bool:
    """Whether the content is a SER file."""
    return data[:4] == b"II\x97\x01"


def is_emi(data: bytes) -> bool:
    """Whether the content is an EMI file."""
    return data[:4] == b"JK\x00\x02" or data[:4] == b"JK\x02\x00"


def read_emi(data: bytes, choice: Choice = None) -> Recorded:
    """Refuse an EMI file, which describes images and holds none.

    Raises:
        NoSpotsError: always.
    """
    del choice
    volts = re.search(rb"High tension|<HighTension>|Accelerating", data)
    told = ", and voltage_kv from it" if volts else ""
    raise NoSpotsError(
        f"an EMI file only describes images; upload the .ser file beside it, which holds them{told}"
    )


def read_ser(data: bytes, choice: Choice = None) -> Recorded:
    """An image of a SER file.

    Args:
        data: the file.
        choice: of a series.

    Raises:
        UnreadableError: damaged, or spectra.
        TooLargeError: more pixels than are read.
        OptionError: no such image.
    """
    reader = BytesReader(data, 4)
    version, kind, _, total, valid = reader.numbers("<HIIII")
    wide = version >= _WIDE_OFFSETS
    if kind != _IMAGES:
        raise UnreadableError("the SER file holds no images but spectra; upload the diffraction pattern")
    if not 0 < valid <= min(total, MOST_IMAGES):
        raise UnreadableError("the SER file holds no image; was the acquisition aborted?")
    reader = BytesReader(data, reader.number("<Q" if wide else "<I"))
    reader.checked(valid * (8 if wide else 4))
    offsets = reader.numbers(f"<{valid}{'Q' if wide else 'I'}")
    scale = _header(data, offsets[0])[0]

    def image_at(number: int) -> np.ndarray[Any, Any]:
        _, offset, pixels, shape = _header(data, offsets[number])
        return array_at(data, offset, pixels, shape)[::-1]  # the first row is the lowest

    found = chosen(image_at, valid, choice)
    return Recorded(
        found.counts, "SER", scale.inv_angstrom, None, (*found.warnings, *scale.warnings), images=found.images
    )


def _header(data: bytes, offset: int) -> tuple[Scale, int, np.dtype[Any], tuple[int, int]]:
    """Scale of an image, where its pixels begin, their type and (H, W)."""
    reader = BytesReader(data, offset)
    _, across, _, _, down, _, code, width, height = reader.numbers("<ddiddiHII")
    if code not in _PIXELS:
        raise UnreadableError("the SER file's pixels hold no counts; export the frame as 16-bit TIFF")
    check_pixels(height, width)
    # The file states metres or reciprocal metres, and not which; a pixel of more than a metre is none.
    reciprocal = across > 1 and down > 1
    scale = stated_scale((across * 1e-9, down * 1e-9), "1/nm") if reciprocal else Scale()
    return scale, reader.at, np.dtype(_PIXELS[code]), (height, width)
