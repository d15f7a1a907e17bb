"""NPY and NPZ files of NumPy, never with pickled objects."""

import io
import zipfile
from typing import Any

import numpy as np

from model.errors import TooLargeError, UnreadableError
from model.pattern.formats.bytes_reader import array_at
from model.pattern.formats.recorded_image import Recorded
from model.pattern.formats.stack import chosen
from model.pattern.frame import MAX_PIXELS, check_pixels
from model.pattern.options import Choice

_MOST_MEMBERS = 1000
_MOST_BYTES = 8 * MAX_PIXELS
# Deflate reaches 1000. Counts of single electrons shrink as much honestly: 80 times at one in a hundred pixels, 420 at
# one in a thousand (uint16).
_MOST_EXPANSION, _HARMLESS_BYTES = 200, 64 * 2**20
_COLOURS = (3, 4)
# Begins each entry of an archive's directory.
_ENTRY = b"PK\x01\x02"


def is_npy(data: bytes) -> bool:
    """Whether the content is an NPY file."""
    return data[:6] == b"\x93NUMPY"


def is_npz(data: bytes) -> bool:
    """Whether the content is a zip archive with an NPY file as its first."""
    return data[:4] == b"PK\x03\x04" and b".npy" in data[:512]


def read_npy(data: bytes, choice: Choice = None) -> Recorded:
    """An image of an array (..., H, W), or one of colours (H, W, 3).

    Raises:
        UnreadableError: damaged, pickled objects, or no image.
        TooLargeError: more pixels than are read.
        OptionError: no such image.
    """
    return _recorded(data, "NPY", choice)


def read_npz(data: bytes, choice: Choice = None) -> Recorded:
    """As `read_npy`, of the first array of an archive that is an image.

    Raises:
        As `read_npy`.
    """
    if data.count(_ENTRY) > _MOST_MEMBERS:
        raise TooLargeError("the NPZ file has too many members; save one pattern of it")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in (each for each in archive.infolist() if each.filename.endswith(".npy")):
                if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                    raise UnreadableError(
                        "the NPZ file is packed in an unusual way; save it again with NumPy"
                    )
                with archive.open(member) as file:
                    shape = _header(io.BytesIO(file.read(1024)))[0]
                if len(shape) < 2:
                    continue
                check_pixels(*_frame(shape)[:2])
                most = min(_MOST_BYTES, max(_HARMLESS_BYTES, _MOST_EXPANSION * member.compress_size))
                if member.file_size > most:
                    raise TooLargeError(
                        "the array in the NPZ file is too large; save one pattern of it as NPY"
                    )
                with archive.open(member) as file:
                    return _recorded(file.read(_MOST_BYTES), "NPZ", choice)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise UnreadableError("the NPZ file is damaged; copy it again") from error
    raise UnreadableError("the NPZ file holds no image; save an array of two dimensions")


def _recorded(data: bytes, name: str, choice: Choice) -> Recorded:
    file = io.BytesIO(data)
    shape, in_columns, kind = _header(file)
    if kind.hasobject:
        raise UnreadableError(
            "the NumPy file holds pickled objects, which are never opened; save a plain array"
        )
    if kind.kind not in "uifb":
        raise UnreadableError(f"numbers of type {kind} hold no counts; save real ones")
    if len(shape) < 2:
        raise UnreadableError("the NumPy file holds no image; save an array of two dimensions")
    frame = _frame(shape)
    check_pixels(*frame[:2])
    if in_columns:
        whole = array_at(data, file.tell(), kind, shape[::-1]).T
        images = whole.reshape(-1, *frame) if len(shape) > len(frame) else whole[None]
        found = chosen(lambda number: images[number], len(images), choice)
    else:
        count = 1 if frame == shape else int(np.prod(shape[:-2], dtype=object))
        size = int(np.prod(frame, dtype=object)) * kind.itemsize

        def image_at(number: int) -> np.ndarray[Any, Any]:
            return array_at(data, file.tell() + number * size, kind, tuple(frame))

        found = chosen(image_at, count, choice)
    return Recorded(found.counts, name, warnings=found.warnings, images=found.images)


def _frame(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of an array of images the shape of one: (H, W), or (H, W, colours)."""
    colour = len(shape) == 3 and shape[2] in _COLOURS and min(shape[:2]) > max(_COLOURS)
    return shape if colour else shape[-2:]


def _header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type; the file is left where the numbers begin."""
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, in_columns, kind = read(file)
    except (ValueError, EOFError, SyntaxError, TypeError, UnicodeDecodeError) as error:
        raise UnreadableError(
            "the NumPy file's header makes no sense; it is damaged, save it again"
        ) from error
    if any(size < 0 for size in shape):
        raise UnreadableError("the NumPy file's header makes no sense; it is damaged, save it again")
    return shape, in_columns, kind
