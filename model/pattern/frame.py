"""One camera frame as recorded, with what its file says about it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError, TooLargeError, UnreadableError

MAX_PIXELS = 64 * 2**20
MINIMUM_SIDE = 32
LARGEST_ASPECT = 64
_FEWEST_TOUCHING = 2


@dataclass(frozen=True, eq=False)
class Frame:
    """Counts of one exposure.

    Attributes:
        counts: (H, W) float32, row 0 at the top; not copied, so its owner leaves it alone.
        saturation_level: counts at which pixels are clipped, or None where none is.
        bit_depth: of the file's integers, or None for floating point.
        pixel_size_inv_angstrom: 1/angstrom per pixel stated by the file, or None.
        voltage_kv: stated by the file, or None.
        source_format: of the file, such as "TIFF".
        warnings: what was assumed in reading.
        faintest: height over its ground that a spot needs to be one: rounding and compression make lower ones.
        ripple: height up to which compression makes spots beside strong ones: those need a mate, or a lattice.

    Raises:
        OptionError: counts that are not a two-dimensional array.
        TooLargeError: more than 64 megapixels.
        UnreadableError: fewer than 32 pixels along a side, or no finite pixel.
    """

    counts: NDArray[np.float32]
    saturation_level: float | None = None
    bit_depth: int | None = None
    pixel_size_inv_angstrom: float | None = None
    voltage_kv: float | None = None
    source_format: str = "array"
    warnings: tuple[str, ...] = ()
    faintest: float = 0.0
    ripple: float = 0.0

    def __post_init__(self) -> None:
        if self.counts.ndim != 2:
            raise OptionError(f"a frame is two-dimensional, not of shape {self.counts.shape}")
        check_pixels(*self.counts.shape)
        counts = np.asarray(self.counts, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            total = counts.sum()
        counts = counts.view()  # frozen here, and not for its owner
        finite = np.True_ if np.isfinite(total) else np.isfinite(counts)
        if not finite.all():
            counts = counts.copy()
            if not finite.any():
                raise UnreadableError("the frame holds no finite number; export the counts anew")
            counts[~finite] = np.median(counts[finite])
            note = f"{int((~finite).sum())} pixels that hold no finite number were replaced by the median."
            object.__setattr__(self, "warnings", (*self.warnings, note))
        counts.setflags(write=False)
        object.__setattr__(self, "counts", counts)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        height, width = self.counts.shape
        return height, width


def check_pixels(height: int, width: int) -> None:
    """Refuse a frame of impossible size before it is decoded.

    Raises:
        TooLargeError: more than 64 megapixels.
        UnreadableError: fewer than 32 pixels along a side, or a strip.
    """
    if height * width > MAX_PIXELS:
        raise TooLargeError(
            f"a frame of {width} x {height} pixels; at most {MAX_PIXELS // 2**20} megapixels are read, bin it"
        )
    if min(height, width) < MINIMUM_SIDE:
        raise UnreadableError(
            f"an image of {width} x {height} pixels is too small for a diffraction pattern; at least "
            f"{MINIMUM_SIDE} pixels a side are needed"
        )
    if max(height, width) > LARGEST_ASPECT * min(height, width):
        raise UnreadableError(
            f"an image of {width} x {height} pixels is too narrow for a diffraction pattern; give the whole frame"
        )


def find_saturation_level(counts: NDArray[np.float32]) -> float | None:
    """The level at which pixels are clipped: the maximum, where neighbouring pixels share it.

    A camera of 12 or 14 bits in a 16-bit file clips below the file's full scale, so the level is looked for in
    the data.
    """
    top = counts.max()
    clipped = np.flatnonzero(counts == top)
    after = clipped[1:][np.diff(clipped) == 1]
    touching = int(
        (after % counts.shape[1] != 0).sum()
    )  # the first of a row lies beside none of the row above
    return float(top) if touching >= _FEWEST_TOUCHING and top > counts.min() else None
