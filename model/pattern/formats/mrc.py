"""MRC files of the 2014 standard: a header of 1024 bytes, which mrcfile reads, and a stack of images."""

import io
import warnings
from typing import Any

import numpy as np

from model.errors import UnreadableError
from model.pattern.formats.bytes_reader import read_array
from model.pattern.formats.recorded_image import RecordedImage, record_images
from model.pattern.formats.scale_and_voltage import accept_voltage
from model.pattern.frame import check_frame_size
from model.pattern.options import FrameSelection

_HEADER_BYTES = 1024
_EXTENDED_LENGTH = slice(92, 96)
_INVALID_HEADER = "The header of the MRC file is invalid; the file is damaged. Copy it again."


def is_mrc(data: bytes) -> bool:
    """Return whether the content is an MRC file of the 2014 standard."""
    return len(data) >= _HEADER_BYTES and data[208:212] in (b"MAP ", b"MAP\0")


def read_mrc(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read an image of an MRC file. Its pixel size is ignored because it is a real-space scale.

    Args:
        data: content of the file.
        selection: which image of a stack.

    Raises:
        UnreadableError: The file is damaged, or its pixels are not counts.
        TooLargeError: The image has more pixels than the limit.
        OptionError: The file has no such image.
    """
    import mrcfile.mrcinterpreter  # loaded with the first MRC file
    import mrcfile.utils

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # The first header alone: mrcfile reads as much of the others as the file states that there is.
            first = bytearray(data[:_HEADER_BYTES])
            first[_EXTENDED_LENGTH] = bytes(4)
            header = mrcfile.mrcinterpreter.MrcInterpreter(
                io.BytesIO(first), permissive=True, header_only=True
            ).header
            width, height, count = int(header.nx), int(header.ny), int(header.nz)
            extended_bytes = int(np.frombuffer(data[_EXTENDED_LENGTH], header.nsymbt.dtype)[0])
        except (ValueError, AttributeError) as error:
            raise UnreadableError(_INVALID_HEADER) from error
    try:
        dtype = mrcfile.utils.dtype_from_mode(header.mode).newbyteorder(header.mode.dtype.byteorder)
    except ValueError:
        raise UnreadableError(
            f"The pixels of the MRC file are in mode {int(header.mode)}, which is not supported; save the frame as "
            "16-bit integers or 32-bit floats (mode 1, 2 or 6)."
        ) from None
    if dtype.kind not in "uif":
        raise UnreadableError("The pixels of the MRC file are not counts; save the pattern, not a transform.")
    check_frame_size(height, width)
    if count < 1 or extended_bytes < 0:
        raise UnreadableError(_INVALID_HEADER)
    size = height * width * dtype.itemsize

    def read_image(number: int) -> np.ndarray[Any, Any]:
        offset = _HEADER_BYTES + extended_bytes + number * size
        return read_array(data, offset, dtype, (height, width))

    voltage = _read_voltage(data, extended_bytes, header)
    return record_images(read_image, count, selection, "MRC", voltage_kv=voltage)


def _read_voltage(data: bytes, extended_bytes: int, header: Any) -> float | None:
    """Return the voltage from the extended header of FEI's software, which holds it in volts."""
    import mrcfile.dtypes

    layout = mrcfile.dtypes.get_ext_header_dtype(header.exttyp, header.mode.dtype.byteorder)
    if layout is None or not layout.itemsize <= min(extended_bytes, len(data) - _HEADER_BYTES):
        return None
    extended = read_array(data, _HEADER_BYTES, layout, (1,))[0]
    return (
        accept_voltage(float(extended["HT"]) / 1000) if extended["Metadata size"] == layout.itemsize else None
    )
