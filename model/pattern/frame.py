"""A camera frame: the counts of one exposure, with the metadata of its file."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError, TooLargeError, UnreadableError

MAX_PIXELS, MAX_COLOR_PIXELS = 64 * 2**20, 16 * 2**20
MIN_SIDE = 32
MAX_ASPECT_RATIO = 64
_MIN_TOUCHING = 2


@dataclass(frozen=True, eq=False)
class Frame:
    """The counts of one exposure.

    Attributes:
        counts: (H, W) float32, row 0 at the top. The array is not copied, so its owner must not change it.
        saturation_level: counts of a saturated pixel; None if no pixel is saturated.
        bit_depth: bits of an integer in the file; None for floating point.
        pixel_size_inv_angstrom: 1/angstrom per pixel as the file states it; None if it does not.
        voltage_kv: accelerating voltage as the file states it; None if it does not.
        source_format: format of the file, such as "TIFF".
        warnings: sentences for the user about what the reader assumed.
        min_spot_height: height above the background below which peaks are artifacts of rounding or compression.
        ripple_height: height below which compression makes false peaks beside strong spots. Such a weak peak is a spot
            only if it has a Friedel mate or lies on the lattice of the strong spots.

    Raises:
        OptionError: The counts are not a two-dimensional array.
        TooLargeError: The frame has more than 64 megapixels.
        UnreadableError: A side has fewer than 32 pixels, or no pixel is finite.
    """

    counts: NDArray[np.float32]
    saturation_level: float | None = None
    bit_depth: int | None = None
    pixel_size_inv_angstrom: float | None = None
    voltage_kv: float | None = None
    source_format: str = "array"
    warnings: tuple[str, ...] = ()
    min_spot_height: float = 0.0
    ripple_height: float = 0.0

    def __post_init__(self) -> None:
        if self.counts.ndim != 2:
            raise OptionError(
                f"A frame must be a two-dimensional array; this one has shape {self.counts.shape}."
            )
        check_frame_size(*self.counts.shape)
        counts = np.asarray(self.counts, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            total = counts.sum()
        counts = counts.view()  # read-only here, and still writable for its owner
        finite = np.True_ if np.isfinite(total) else np.isfinite(counts)
        if not finite.all():
            if not finite.any():
                raise UnreadableError("The frame has no finite pixel; export its counts again.")
            median = np.median(counts[finite], overwrite_input=True)
            counts = np.where(finite, counts, median)
            warning = f"{int((~finite).sum())} of {counts.size} pixels are not finite and were replaced by the median."
            object.__setattr__(self, "warnings", (*self.warnings, warning))
        counts.setflags(write=False)
        object.__setattr__(self, "counts", counts)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.counts.shape
        return height, width


def check_frame_size(height: int, width: int, channels: int = 1) -> None:
    """Reject a frame of an impossible size; readers call this before decoding.

    Raises:
        TooLargeError: The frame has more than 64 megapixels, or 16 with more than one channel.
        UnreadableError: A side has fewer than 32 pixels, or one side is more than 64 times the other.
    """
    limit, kind = (MAX_PIXELS, "a frame") if channels == 1 else (MAX_COLOR_PIXELS, "a color picture")
    if height * width > limit:
        raise TooLargeError(
            f"The frame has {width} x {height} pixels; the limit of {kind} is {limit // 2**20} megapixels. Bin it."
        )
    if min(height, width) < MIN_SIDE:
        raise UnreadableError(
            f"An image of {width} x {height} pixels is too small for a diffraction pattern; each side needs at least "
            f"{MIN_SIDE} pixels."
        )
    if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        raise UnreadableError(
            f"An image of {width} x {height} pixels is too narrow for a diffraction pattern; upload the whole frame."
        )


def find_saturation_level(counts: NDArray[np.float32]) -> float | None:
    """Return the counts of a saturated pixel: the maximum of the frame, if neighboring pixels share it.

    A camera of 12 or 14 bits saturates below the full scale of a 16-bit file, so the data decide, not the data type.

    Args:
        counts: (H, W).

    Returns:
        The level, or None if no pixel is saturated.
    """
    largest = counts.max()
    is_largest = counts == largest
    touching = int(np.count_nonzero(is_largest[:, 1:] & is_largest[:, :-1]))
    return float(largest) if touching >= _MIN_TOUCHING and largest > counts.min() else None
