"""MRC files: stacks with a header of 1024 bytes, read with mrcfile."""

import io
import warnings
from typing import Any

import mrcfile.mrcinterpreter
import mrcfile.utils
import numpy as np

from model.errors import UnreadableError
from model.pattern.formats.bytes_reader import array_at
from model.pattern.formats.metadata import stated_voltage
from model.pattern.formats.recorded_image import Recorded
from model.pattern.formats.stack import chosen
from model.pattern.frame import check_pixels
from model.pattern.options import Choice

_HEADER = 1024


def is_mrc(data: bytes) -> bool:
    """Whether the content is an MRC file of the 2014 form."""
    return len(data) >= _HEADER and data[208:212] in (b"MAP ", b"MAP\0")


def read_mrc(data: bytes, choice: Choice = None) -> Recorded:
    """An image of an MRC file; its size of a pixel, one of real space, is ignored.

    Args:
        data: the file.
        choice: of a stack.

    Raises:
        UnreadableError: damaged, or pixels that hold no counts.
        TooLargeError: more pixels than are read.
        OptionError: no such image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # The header alone: mrcfile would read as many pixels as it states.
            file = mrcfile.mrcinterpreter.MrcInterpreter(io.BytesIO(data), permissive=True, header_only=True)
            header = file.header
            width, height, count = int(header.nx), int(header.ny), int(header.nz)
            kind = mrcfile.utils.dtype_from_mode(header.mode).newbyteorder(header.mode.dtype.byteorder)
            extended = int(header.nsymbt)
        except (ValueError, AttributeError) as error:
            raise UnreadableError(
                "the MRC file's header makes no sense; it is damaged, copy it again"
            ) from error
    if kind.kind not in "uif":
        raise UnreadableError(
            "the MRC file's pixels hold no counts; save the pattern itself, not a transform"
        )
    check_pixels(height, width)
    if count < 1 or extended < 0:
        raise UnreadableError("the MRC file's header makes no sense; it is damaged, copy it again")
    first, size = _HEADER + extended, height * width * kind.itemsize

    def image_at(number: int) -> np.ndarray[Any, Any]:
        return array_at(data, first + number * size, kind, (height, width))

    found = chosen(image_at, count, choice)
    return Recorded(found.counts, "MRC", None, _voltage(file), found.warnings, images=found.images)


def _voltage(file: Any) -> float | None:
    """Of the extended header that FEI's software writes, in volts there."""
    try:
        return stated_voltage(float(file.indexed_extended_header[0]["HT"]) / 1000)
    except (AttributeError, TypeError, ValueError, IndexError, KeyError):
        return None
