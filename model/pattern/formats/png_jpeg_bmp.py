"""PNG, JPEG and BMP pictures, read with Pillow, which never expands a file beyond the size that it states."""

import io
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.errors import TooLargeError, UnreadableError
from model.pattern.formats.recorded_image import RecordedImage
from model.pattern.frame import check_frame_size
from model.pattern.options import FrameSelection

if TYPE_CHECKING:
    from PIL import Image

_BMP_HEADER_SIZES = (12, 40, 52, 56, 108, 124)
# Of 255 levels. Rounding makes peaks below the first. Up to the second, nine in ten of the peaks beside a strong spot
# are ripples of the compression blocks.
JPEG_MIN_SPOT_HEIGHT, JPEG_RIPPLE_HEIGHT = 1.0, 2.0
_PIXELS_AT_ONCE = 2**20
# Each scan covers the whole picture; a progressive JPEG has about ten.
_MAX_SCANS = 100
# Pillow joins the first with all before each time it meets one, and inflates the second up to 1 MiB each.
_MAX_EXIF_SEGMENTS, _MAX_COLOR_PROFILES = 100, 10
# Modes of Pillow whose pixels are not brightness, and the mode to convert them to.
_CONVERSIONS = {"P": "RGB", "PA": "RGB", "1": "L", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}


def is_bmp(data: bytes) -> bool:
    """Return whether the content is a BMP: the two magic bytes, and a header of a known size."""
    return data.startswith(b"BM") and data[14:18] in [struct.pack("<I", size) for size in _BMP_HEADER_SIZES]


def read_png(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read a PNG; see `decode_picture` for errors."""
    del selection
    # The size is checked before Pillow opens the file, because Pillow warns of large ones instead of refusing them.
    width, height = struct.unpack(">II", data[16:24])
    check_frame_size(height, width)
    if data.count(b"iCCP") > _MAX_COLOR_PROFILES:
        raise UnreadableError("The PNG has too many color profiles; export the frame as 16-bit TIFF.")
    return RecordedImage(decode_picture(data, "PNG"), "PNG")


def read_jpeg(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read a JPEG; see `decode_picture` for errors."""
    del selection
    if data.count(b"\xff\xda") > _MAX_SCANS or data.count(b"Exif\0\0") > _MAX_EXIF_SEGMENTS:
        raise UnreadableError(
            "The JPEG has too many scans or Exif segments to be decoded safely; export the frame as 16-bit TIFF."
        )
    warning = "JPEG compression loses weak spots and distorts intensities; upload the raw frame instead."
    return RecordedImage(
        decode_picture(data, "JPEG"),
        "JPEG",
        warnings=(warning,),
        min_spot_height=JPEG_MIN_SPOT_HEIGHT,
        ripple_height=JPEG_RIPPLE_HEIGHT,
    )


def read_bmp(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read a BMP; see `decode_picture` for errors."""
    del selection
    return RecordedImage(decode_picture(data, "BMP"), "BMP")


def decode_picture(data: bytes, pillow_format: str) -> NDArray[Any]:
    """Decode a picture with Pillow.

    Args:
        data: content of the file.
        pillow_format: Pillow's name of the only format to accept.

    Returns:
        (H, W), or (H, W, channels) of a color picture.

    Raises:
        TooLargeError: The picture has more pixels than the limit; this is checked before decoding.
        UnreadableError: The picture is damaged or of an impossible size.
    """
    from PIL import Image, UnidentifiedImageError  # loaded with the first picture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=(pillow_format,)) as image:
                mode = _CONVERSIONS.get(image.mode, image.mode)
                check_frame_size(image.height, image.width, Image.getmodebands(mode))
                return _copy_pixels(image, mode)
        except Image.DecompressionBombError as error:
            raise TooLargeError("The picture has too many pixels; bin it.") from error
        except UnidentifiedImageError as error:
            raise UnreadableError(
                f"The {pillow_format} file is damaged or of an unsupported kind; export the frame as 16-bit TIFF."
            ) from error


def _copy_pixels(image: "Image.Image", mode: str) -> NDArray[Any]:
    """Return the pixels in a mode, a few rows at a time: at once, Pillow holds three copies of them."""
    image.load()
    rows = max(_PIXELS_AT_ONCE // image.width, 1)
    parts = (
        np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))).convert(mode))
        for top in range(0, image.height, rows)
    )
    first = next(parts)
    pixels = np.empty((image.height, *first.shape[1:]), first.dtype)
    pixels[: len(first)] = first
    for number, part in enumerate(parts, start=1):
        pixels[number * rows : number * rows + len(part)] = part
    return pixels
