"""NPY and NPZ files of NumPy, never with pickled objects."""

import io
import zipfile
from typing import Any

import numpy as np

from model.errors import TooLargeError, UnreadableError
from model.pattern.formats.bytes_reader import read_array
from model.pattern.formats.recorded_image import RecordedImage, record_images
from model.pattern.frame import MAX_PIXELS, check_frame_size
from model.pattern.options import FrameSelection
from model.zip_limits import ZipLimits

# The largest frame in single precision.
_MAX_BYTES = 4 * MAX_PIXELS
_LIMITS = ZipLimits(members=1000, member_bytes=_MAX_BYTES, total_bytes=_MAX_BYTES, small_bytes=64 * 2**20)
_CHANNELS = (3, 4)
_DIRECTORY_ENTRY = b"PK\x01\x02"
_INVALID_HEADER = "The header of the NumPy file is invalid; the file is damaged. Save it again."
_NO_IMAGE = "The {} file contains no image; save a two-dimensional array."


def is_npz(data: bytes) -> bool:
    """Return whether the content is a zip archive whose first member is an NPY file."""
    return data[:4] == b"PK\x03\x04" and b".npy" in data[:512]


def read_npy(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read an image of an array (..., H, W), or a color image (H, W, 3).

    Raises:
        UnreadableError: The file is damaged, or contains pickled objects or no image.
        TooLargeError: The image has more pixels than the limit.
        OptionError: The file has no such image.
    """
    return _read_array_file(data, "NPY", selection)


def read_npz(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read an image of the first array of an archive that contains images.

    Raises:
        As `read_npy`.
    """
    if data.count(_DIRECTORY_ENTRY) > _LIMITS.members:
        raise TooLargeError("The NPZ file has too many members; save the pattern on its own.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in (each for each in archive.infolist() if each.filename.endswith(".npy")):
                if member.compress_type not in _LIMITS.methods:
                    raise UnreadableError(
                        "The NPZ file uses an unusual compression; save it again with NumPy."
                    )
                with archive.open(member) as file:
                    shape = _read_header(io.BytesIO(file.read(1024)))[0]
                if len(shape) < 2:
                    continue
                check_frame_size(*_choose_image_shape(shape))
                _LIMITS.check_member(member)
                with archive.open(member) as file:
                    return _read_array_file(file.read(_MAX_BYTES), "NPZ", selection)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise UnreadableError("The NPZ file is damaged; copy it again.") from error
    raise UnreadableError(_NO_IMAGE.format("NPZ"))


def _read_array_file(data: bytes, source_format: str, selection: FrameSelection) -> RecordedImage:
    file = io.BytesIO(data)
    shape, is_fortran, dtype = _read_header(file)
    if dtype.hasobject:
        raise UnreadableError(
            "The NumPy file contains pickled objects, which are never opened; save a plain array."
        )
    if dtype.kind not in "uifb":
        raise UnreadableError(f"Numbers of type {dtype} are not counts; save real numbers.")
    if len(shape) < 2:
        raise UnreadableError(_NO_IMAGE.format("NumPy"))
    image_shape = _choose_image_shape(shape)
    check_frame_size(*image_shape)
    if is_fortran:
        array = read_array(data, file.tell(), dtype, shape[::-1]).T
        images = array.reshape(-1, *image_shape) if len(shape) > len(image_shape) else array[None]
        return record_images(lambda number: images[number], len(images), selection, source_format)
    count = 1 if image_shape == shape else int(np.prod(shape[:-2], dtype=object))
    size = int(np.prod(image_shape, dtype=object)) * dtype.itemsize

    def read_image(number: int) -> np.ndarray[Any, Any]:
        return read_array(data, file.tell() + number * size, dtype, tuple(image_shape))

    return record_images(read_image, count, selection, source_format)


def _choose_image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one image of an array: (H, W), or (H, W, channels)."""
    is_color = len(shape) == 3 and shape[2] in _CHANNELS and min(shape[:2]) > max(_CHANNELS)
    return shape if is_color else shape[-2:]


def _read_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the order is Fortran's, and type; leave the file at the first number."""
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read(file)
    except (ValueError, EOFError, SyntaxError, TypeError, UnicodeDecodeError) as error:
        raise UnreadableError(_INVALID_HEADER) from error
    if any(size < 0 for size in shape):
        raise UnreadableError(_INVALID_HEADER)
    return shape, is_fortran, dtype
