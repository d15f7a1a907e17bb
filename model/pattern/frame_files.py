"""Camera frames from files, recognised by their first bytes."""

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from model.errors import DomainError, TooLargeError, UnknownFormatError, UnreadableError
from model.pattern.columns import parse_units
from model.pattern.frame import Frame, check_pixels, saturation_of

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_PIXEL_SIZES_INV_ANGSTROM = (1e-5, 0.1)
_UNCOMPRESSED = 1
_WHOLE_BYTES = (8, 16, 32, 64)


def is_frame(data: bytes) -> bool:
    """Whether the content is an image that `read_frame` reads."""
    return _reader(data) is not None


def read_frame(data: bytes) -> Frame:
    """Read a PNG or TIFF of 8, 16 or 32 bits or floating point; colour is reduced to its mean.

    Of a file with several pages the first is read. The pixel size is taken from ImageJ's calibration where its
    unit is reciprocal; resolutions for print (72 dpi and the like) say nothing and are ignored.

    Raises:
        UnknownFormatError: no PNG and no TIFF.
        UnreadableError: a damaged file, or a pixel type that holds no counts.
        TooLargeError: more than 64 megapixels, told before decoding.
    """
    reader = _reader(data)
    if reader is None:
        raise UnknownFormatError("the image is neither PNG nor TIFF; export the frame as 16-bit TIFF")
    try:
        return reader(data)
    except DomainError:
        raise
    except MemoryError as error:
        raise TooLargeError("the image does not fit into memory; bin it") from error
    except UnidentifiedImageError as error:
        raise UnreadableError(
            "the image is damaged or of a kind that is not read; export the frame as uncompressed 16-bit TIFF"
        ) from error
    # Decoders meet hostile bytes with errors of any class; whichever it is, the file cannot be read.
    except Exception as error:
        raise UnreadableError(f"the image is damaged or of an unusual kind: {error}") from error


def _reader(data: bytes) -> Callable[[bytes], Frame] | None:
    if data.startswith(_PNG):
        return _read_png
    return _read_tiff if data.startswith(_TIFF) else None


def _read_png(data: bytes) -> Frame:
    # The size is read before Pillow opens the file, which warns about large ones instead of refusing them.
    width, height = struct.unpack(">II", data[16:24])
    check_pixels(height, width)
    return _frame(_decoded(data, "PNG"), "PNG")


def _decoded(data: bytes, name: str) -> NDArray[Any]:
    """The pixels as Pillow reads them, which never expands a file beyond the size that it states."""
    with Image.open(io.BytesIO(data), formats=(name,)) as image:
        check_pixels(image.height, image.width)
        plain = {"P": "RGB", "PA": "RGB", "1": "L"}.get(image.mode)
        return np.asarray(image.convert(plain) if plain else image)


def _read_tiff(data: bytes) -> Frame:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        check_pixels(page.imagelength, page.imagewidth)
        if page.imagedepth * page.samplesperpixel > 4:
            raise UnreadableError("the TIFF's page is no plain image; export one frame as 16-bit TIFF")
        # tifffile's own decompression has no limit: some kilobytes may become gigabytes.
        whole = page.compression == _UNCOMPRESSED and page.bitspersample in _WHOLE_BYTES
        array = _stored(page) if whole else _decoded(data, "TIFF")
        return _frame(array, "TIFF", _imagej_pixel_size(file, page), several=_has_second_page(file))


def _stored(page: Any) -> NDArray[Any]:
    array = np.asarray(page.asarray())
    return np.moveaxis(array, 0, -1) if page.samplesperpixel > 1 and page.planarconfig == 2 else array


def _has_second_page(file: tifffile.TiffFile) -> bool:
    """Without counting the pages, of which a hostile file may have millions."""
    try:
        file.pages[1]
    except IndexError:
        return False
    return True


def _frame(array: NDArray[Any], name: str, pixel_size: float | None = None, several: bool = False) -> Frame:
    if array.dtype.kind not in "uifb":
        raise UnreadableError(f"pixels of type {array.dtype} hold no counts; export the frame as 16-bit TIFF")
    warnings = ["The file holds several images; the first was read."] if several else []
    if array.ndim == 3:
        colours = array[..., :3] if array.shape[2] >= 3 else array[..., :1]
        if colours.shape[2] == 3 and bool((np.ptp(colours, axis=2) > 0).any()):
            warnings.append(
                "The image is in colour; its mean brightness was used. Better upload the raw frame."
            )
        array = colours.mean(axis=2, dtype=np.float32) if colours.shape[2] == 3 else colours[..., 0]
    with np.errstate(over="ignore"):  # Frame reports what is not finite
        counts = array.astype(np.float32)
    return Frame(
        counts,
        saturation_level=saturation_of(counts),
        bit_depth=None if array.dtype.kind == "f" else array.dtype.itemsize * 8,
        pixel_size_inv_angstrom=pixel_size,
        source_format=name,
        warnings=tuple(warnings),
    )


def _imagej_pixel_size(file: tifffile.TiffFile, page: Any) -> float | None:
    """The calibration ImageJ writes: a unit such as `nm⁻¹`, and pixels a unit as the resolution."""
    units = parse_units(str((file.imagej_metadata or {}).get("unit", "")))
    tags = [page.tags.get(name) for name in ("XResolution", "YResolution")]
    if units not in {"1/nm", "1/angstrom"} or tags[0] is None or tags[1] is None:
        return None
    (across, a), (down, d) = tags[0].value, tags[1].value
    if not (across and a and down and d) or abs(across / a / (down / d) - 1) > 0.1:
        return None
    size = float(a / across) * (0.1 if units == "1/nm" else 1.0)
    smallest, largest = _PIXEL_SIZES_INV_ANGSTROM
    return size if smallest < size < largest else None
