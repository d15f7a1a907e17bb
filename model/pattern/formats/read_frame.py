"""Camera frames from files of any software, recognised by their content."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from PIL import UnidentifiedImageError

from model.errors import DomainError, TooLargeError, UnknownFormatError, UnreadableError
from model.pattern.formats.blo import is_blo, read_blo
from model.pattern.formats.digital_micrograph import is_dm, read_dm
from model.pattern.formats.hdf5 import is_hdf5, read_hdf5
from model.pattern.formats.mib import is_mib, read_mib
from model.pattern.formats.mrc import is_mrc, read_mrc
from model.pattern.formats.npy import is_npy, is_npz, read_npy, read_npz
from model.pattern.formats.pictures import is_bmp, is_jpeg, is_png, read_bmp, read_jpeg, read_png
from model.pattern.formats.recorded_image import Recorded
from model.pattern.formats.ser import is_emi, is_ser, read_emi, read_ser
from model.pattern.formats.tiff import is_tiff, read_tiff
from model.pattern.frame import Frame
from model.pattern.options import Choice

Made = TypeVar("Made")


@dataclass(frozen=True)
class _Format:
    """A kind of file.

    Attributes:
        name: for people.
        recognises: told by the content.
        read: makes an image of it.
    """

    name: str
    recognises: Callable[[bytes], bool]
    read: Callable[[bytes, Choice], Recorded]


_FORMATS = (
    _Format("PNG", is_png, read_png),
    _Format("TIFF", is_tiff, read_tiff),
    _Format("DigitalMicrograph (DM3, DM4)", is_dm, read_dm),
    _Format("HDF5 (Velox EMD, HSPY)", is_hdf5, read_hdf5),
    _Format("TIA SER", is_ser, read_ser),
    _Format("TIA EMI", is_emi, read_emi),
    _Format("Merlin MIB", is_mib, read_mib),
    _Format("Blockfile BLO", is_blo, read_blo),
    _Format("NumPy NPY", is_npy, read_npy),
    _Format("NumPy NPZ", is_npz, read_npz),
    _Format("JPEG", is_jpeg, read_jpeg),
    _Format("BMP", is_bmp, read_bmp),
    _Format("MRC", is_mrc, read_mrc),
)


def is_frame(data: bytes) -> bool:
    """Whether the content is an image that `read_frame` reads, or a part of one."""
    return _format_of(data) is not None


@dataclass(frozen=True)
class FrameSeries:
    """Some images of a file.

    Attributes:
        frames: in their order.
        total: how many the file holds.
    """

    frames: tuple[Frame, ...]
    total: int


def read_frames(data: bytes, numbers: range) -> FrameSeries:
    """Read some images of a file, as many of these numbers as there are; see `read_frame`.

    Args:
        data: the file.
        numbers: from 0; step 1.

    Raises:
        OptionError: there is none of these numbers; otherwise as `read_frame`.
    """
    recorded, frames = _read(data, numbers, lambda recorded: tuple(recorded.frames()))
    return FrameSeries(frames, recorded.images or 1)


def read_frame(data: bytes, choice: Choice = None) -> Frame:
    """Read a camera frame, with what its file says of scale and voltage; colour is reduced to its signal.

    Args:
        data: the file.
        choice: which of several images; None reads the first and says so.

    Raises:
        UnknownFormatError: content of no known kind.
        NoSpotsError: a file that describes images and holds none.
        UnreadableError: a damaged file, or a pixel type that holds no counts.
        TooLargeError: more than 64 megapixels, told before decoding.
        OptionError: there is no such image.
    """
    return _read(data, choice, Recorded.frame)[1]


def _read(data: bytes, choice: Choice, made: Callable[[Recorded], Made]) -> tuple[Recorded, Made]:
    """What the file's reader finds, and what is made of it."""
    kind = _format_of(data)
    if kind is None:
        names = ", ".join(each.name for each in _FORMATS)
        raise UnknownFormatError(f"the file is none of {names}; export the frame as 16-bit TIFF")
    try:
        recorded = kind.read(data, choice)
        return recorded, made(recorded)
    except DomainError:
        raise
    except MemoryError as error:
        raise TooLargeError("the image does not fit into memory; bin it") from error
    except UnidentifiedImageError as error:
        raise UnreadableError(
            f"the {kind.name} file is damaged or of a kind that is not read; export the frame as 16-bit TIFF"
        ) from error
    # Decoders meet hostile bytes with errors of any class; whichever it is, the file cannot be read.
    except Exception as error:
        raise UnreadableError(
            f"the {kind.name} file is damaged or of an unusual kind ({str(error)[:200]}); copy it again, or export the "
            "frame as 16-bit TIFF"
        ) from error


def _format_of(data: bytes) -> _Format | None:
    return next((each for each in _FORMATS if each.recognises(data)), None)
