"""Camera frames from files of any software: the registry of formats, and the conversion of a file to a frame."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.errors import DomainError, TooLargeError, UnknownFormatError, UnreadableError
from model.pattern.formats.blo import read_blo
from model.pattern.formats.digital_micrograph import read_dm
from model.pattern.formats.hdf5 import read_hdf5
from model.pattern.formats.mib import read_mib
from model.pattern.formats.mrc import is_mrc, read_mrc
from model.pattern.formats.npy import is_npz, read_npy, read_npz
from model.pattern.formats.png_jpeg_bmp import is_bmp, read_bmp, read_jpeg, read_png
from model.pattern.formats.recorded_image import RecordedImage
from model.pattern.formats.ser import read_emi, read_ser
from model.pattern.formats.tiff import read_tiff
from model.pattern.frame import Frame, find_saturation_level
from model.pattern.options import FrameSelection
from model.pattern.pictures.color_maps import extract_signal
from model.pattern.pictures.scale_bar import remove_scale_bar

T = TypeVar("T")


@dataclass(frozen=True)
class FileFormat:
    """A format of camera files.

    Attributes:
        name: its name in messages.
        signature: the bytes that its files begin with, several alternatives, or a predicate of the content.
        read: reads the selected image of a file.
    """

    name: str
    signature: tuple[bytes, ...] | Callable[[bytes], bool]
    read: Callable[[bytes, FrameSelection], RecordedImage]


# To add a format, write its reader in a module of its own and list it here.
FORMATS = (
    FileFormat("TIFF", (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), read_tiff),
    FileFormat("PNG", (b"\x89PNG\r\n\x1a\n",), read_png),
    FileFormat("DigitalMicrograph (DM3, DM4)", (b"\0\0\0\3", b"\0\0\0\4"), read_dm),
    FileFormat("HDF5 (Velox EMD, HSPY)", (b"\x89HDF\r\n\x1a\n",), read_hdf5),
    FileFormat("TIA SER", (b"II\x97\x01",), read_ser),
    FileFormat("TIA EMI", (b"JK\x00\x02", b"JK\x02\x00"), read_emi),
    FileFormat("Merlin MIB", (b"MQ1,",), read_mib),
    FileFormat("Blockfile BLO", (b"IMGBLO",), read_blo),
    FileFormat("NumPy NPY", (b"\x93NUMPY",), read_npy),
    FileFormat("NumPy NPZ", is_npz, read_npz),
    FileFormat("JPEG", (b"\xff\xd8\xff",), read_jpeg),
    FileFormat("BMP", is_bmp, read_bmp),
    FileFormat("MRC", is_mrc, read_mrc),
)


@dataclass(frozen=True)
class FrameSeries:
    """Several images of a file.

    Attributes:
        frames: the images, in their order.
        total: number of images in the file.
    """

    frames: tuple[Frame, ...]
    total: int


def is_frame(data: bytes) -> bool:
    """Return whether the content is a file that `read_frame` reads, whole or damaged."""
    return _find_format(data) is not None


def read_frame(data: bytes, selection: FrameSelection = None) -> Frame:
    """Read a camera frame, with the scale and voltage that its file states. Color is reduced to the signal.

    Args:
        data: content of the file.
        selection: which of several images; None reads the first, with a warning.

    Raises:
        UnknownFormatError: The content is of no known format.
        NoSpotsError: The file describes images but contains none.
        UnreadableError: The file is damaged, or its pixels are not counts.
        TooLargeError: The frame has more than 64 megapixels; this is checked before decoding.
        OptionError: The file has no such image.
    """
    return _read(data, selection, lambda recorded: _make_frame(recorded, recorded.counts))


def read_frames(data: bytes, numbers: range) -> FrameSeries:
    """Read several images of a file; see `read_frame`.

    Args:
        data: content of the file.
        numbers: numbers of the images, from 0 in steps of 1. Those beyond the last image are left out.

    Raises:
        OptionError: None of the images exists. Otherwise as `read_frame`.
    """

    def make_series(recorded: RecordedImage) -> FrameSeries:
        images = recorded.counts if recorded.image_count is not None else recorded.counts[None]
        frames = tuple(_make_frame(recorded, counts) for counts in images)
        return FrameSeries(frames, recorded.image_count or 1)

    return _read(data, numbers, make_series)


def _find_format(data: bytes) -> FileFormat | None:
    for file_format in FORMATS:
        signature = file_format.signature
        if data.startswith(signature) if isinstance(signature, tuple) else signature(data):
            return file_format
    return None


def _read(data: bytes, selection: FrameSelection, convert: Callable[[RecordedImage], T]) -> T:
    """Read a file and convert its image; any failure becomes a domain error."""
    file_format = _find_format(data)
    if file_format is None:
        names = ", ".join(each.name for each in FORMATS)
        raise UnknownFormatError(
            f"The file is in none of the supported formats ({names}); export the frame as 16-bit TIFF."
        )
    try:
        return convert(file_format.read(data, selection))
    except DomainError:
        raise
    except MemoryError as error:
        raise TooLargeError("The image does not fit in memory; bin it.") from error
    # Decoders raise errors of any class on hostile bytes; whichever it is, the file cannot be read.
    except Exception as error:
        raise UnreadableError(
            f"The {file_format.name} file is damaged or in an unusual format ({str(error)[:200]}); copy it again, or "
            "export the frame as 16-bit TIFF."
        ) from error


def _make_frame(recorded: RecordedImage, counts: NDArray[Any]) -> Frame:
    """Make a frame of an image (H, W) or (H, W, channels).

    Raises:
        UnreadableError: The pixels are not counts.
    """
    if counts.dtype.kind not in "uifb":
        raise UnreadableError(
            f"Pixels of type {counts.dtype} are not counts; export the frame as 16-bit TIFF."
        )
    bit_depth = None if counts.dtype.kind == "f" else counts.dtype.itemsize * 8
    pixel_size, warnings = recorded.pixel_size_inv_angstrom, recorded.warnings
    if counts.ndim == 3:
        counts, signal_warnings = extract_signal(counts)
        warnings = (*warnings, *signal_warnings)
    if counts.dtype == np.uint8:
        counts, bar_pixel_size, bar_warnings = remove_scale_bar(counts)
        pixel_size, warnings = pixel_size or bar_pixel_size, (*warnings, *bar_warnings)
    with np.errstate(over="ignore"):  # Frame replaces what is not finite
        counts = counts.astype(np.float32, copy=False)
    return Frame(
        counts,
        saturation_level=find_saturation_level(counts),
        bit_depth=bit_depth,
        pixel_size_inv_angstrom=pixel_size,
        voltage_kv=recorded.voltage_kv,
        source_format=recorded.source_format,
        warnings=warnings,
        min_spot_height=recorded.min_spot_height,
        ripple_height=recorded.ripple_height,
    )
