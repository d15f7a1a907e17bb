"""What a reader returns: the selected image of a file, and what the file states about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError
from model.pattern.formats.scale_and_voltage import NO_SCALE, StatedScale
from model.pattern.options import FrameSelection

MAX_SUMMED = 4096
MAX_SUMMED_PIXELS = 2**29


@dataclass(frozen=True)
class RecordedImage:
    """One image of a file, or several.

    Attributes:
        counts: (H, W), or (H, W, channels) of a color picture; for several images, one more axis in front.
        source_format: format of the file, such as "DM4".
        pixel_size_inv_angstrom: stated by the file, or None.
        voltage_kv: stated by the file, or None.
        warnings: sentences for the user about what was assumed or ignored.
        min_spot_height: height above the background below which compression makes false peaks, in counts.
        ripple_height: height below which compression makes false peaks beside strong spots, in counts.
        image_count: number of images in the file; None for a format that holds a single image.
    """

    counts: NDArray[Any]
    source_format: str
    pixel_size_inv_angstrom: float | None = None
    voltage_kv: float | None = None
    warnings: tuple[str, ...] = ()
    min_spot_height: float = 0.0
    ripple_height: float = 0.0
    image_count: int | None = None


def record_images(
    read_image: Callable[[int], NDArray[Any]],
    count: int,
    selection: FrameSelection,
    source_format: str,
    *,
    scale: StatedScale = NO_SCALE,
    voltage_kv: float | None = None,
    warnings: tuple[str, ...] = (),
) -> RecordedImage:
    """Read the selected images of a file that can contain several.

    Args:
        read_image: returns the image of a number, from 0.
        count: number of images in the file.
        selection: which of them to read; of a range, those that exist.
        source_format: format of the file.
        scale: scale that the file states.
        voltage_kv: voltage that the file states.
        warnings: further sentences for the user.

    Raises:
        OptionError: The file has no such image, or too many to sum.
    """
    unselected = (
        ("The file contains several images; the first was read. Give frame=1, ... or frame=sum for others.",)
        if count > 1 and selection is None
        else ()
    )
    return RecordedImage(
        _select_images(read_image, count, selection),
        source_format,
        scale.pixel_size_inv_angstrom,
        voltage_kv,
        (*unselected, *scale.warnings, *warnings),
        image_count=count,
    )


def _select_images(
    read_image: Callable[[int], NDArray[Any]], count: int, selection: FrameSelection
) -> NDArray[Any]:
    if isinstance(selection, range):
        numbers = selection[: max(count - selection.start, 0)]
        if not numbers:
            raise _make_missing_image_error(selection.start, count)
        return np.stack([read_image(number) for number in numbers])
    if selection == "sum":
        return _sum_images(read_image, count)
    if selection is not None and not 0 <= selection < count:
        raise _make_missing_image_error(selection, count)
    return read_image(selection or 0)


def _make_missing_image_error(number: int, count: int) -> OptionError:
    numbers = "0" if count == 1 else f"0 to {count - 1}"
    return OptionError(f"The file has no image {number}; choose frame={numbers}.")


def _sum_images(read_image: Callable[[int], NDArray[Any]], count: int) -> NDArray[np.float32]:
    if count > MAX_SUMMED:
        raise OptionError(
            f"The file has {count} images, but at most {MAX_SUMMED} can be summed; choose frame=0 to {count - 1}."
        )
    total = read_image(0).astype(np.float32)
    if count * total.size > MAX_SUMMED_PIXELS:
        raise OptionError(
            f"{count} images of this size are too many to sum; choose one with frame=0 to {count - 1}."
        )
    for number in range(1, count):
        total += read_image(number)
    return total
