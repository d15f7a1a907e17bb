"""PNG, JPEG and BMP pictures, read with Pillow, which never expands a file beyond the size that it states."""

import io
import struct
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import TooLargeError, UnreadableError
from model.pattern.formats.recorded_image import Recorded
from model.pattern.frame import check_pixels
from model.pattern.options import Choice

_PNG, _JPEG, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"
# Of 255 levels: spots below are what rounding makes; up to the second the blocks of the compression have ripples beside
# a strong spot, nine in ten of what is seen there.
JPEG_FAINTEST, JPEG_RIPPLE = 1.0, 2.0
_MOST_SCANS = 100
# What Pillow calls modes whose pixels are no brightness yet.
_PLAIN = {"P": "RGB", "PA": "RGB", "1": "L", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}


def is_png(data: bytes) -> bool:
    """Whether the content is a PNG."""
    return data.startswith(_PNG)


def is_jpeg(data: bytes) -> bool:
    """Whether the content is a JPEG."""
    return data.startswith(_JPEG)


def is_bmp(data: bytes) -> bool:
    """Whether the content is a BMP: its letters, and a header of a known size where it belongs."""
    return data.startswith(_BMP) and data[14:18] in [
        struct.pack("<I", size) for size in (12, 40, 52, 56, 108, 124)
    ]


def read_png(data: bytes, choice: Choice = None) -> Recorded:
    """The picture; see `decoded` for errors."""
    del choice
    # The size is read before Pillow opens the file, which warns about large ones instead of refusing them.
    width, height = struct.unpack(">II", data[16:24])
    check_pixels(height, width)
    return Recorded(decoded(data, "PNG"), "PNG")


def read_jpeg(data: bytes, choice: Choice = None) -> Recorded:
    """The picture; see `decoded` for errors."""
    del choice
    # Each scan goes over the whole picture; a progressive one has ten or so.
    if data.count(b"\xff\xda") > _MOST_SCANS:
        raise UnreadableError("the JPEG has too many scans to be a picture; export the frame as 16-bit TIFF")
    told = "JPEG compression loses weak spots and bends intensities; better upload the raw frame."
    counts = decoded(data, "JPEG")
    return Recorded(counts, "JPEG", warnings=(told,), faintest=JPEG_FAINTEST, ripple=JPEG_RIPPLE)


def read_bmp(data: bytes, choice: Choice = None) -> Recorded:
    """The picture; see `decoded` for errors."""
    del choice
    return Recorded(decoded(data, "BMP"), "BMP")


def decoded(data: bytes, name: str) -> NDArray[Any]:
    """The pixels of a picture of Pillow's format `name`, (H, W) or (H, W, colours).

    Raises:
        TooLargeError: more pixels than are read, told before decoding.
        UnreadableError: of an impossible size.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=(name,)) as image:
                check_pixels(image.height, image.width)
                plain = _PLAIN.get(image.mode)
                return np.asarray(image.convert(plain) if plain else image)
        except Image.DecompressionBombError as error:
            raise TooLargeError("the picture has too many pixels; bin it") from error
