"""What a reader found: an image of counts and what the file says about it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import UnreadableError
from model.pattern.formats.color_maps import signal_of
from model.pattern.formats.drawings import filled
from model.pattern.formats.metadata import REAL_SPACE, stated_scale
from model.pattern.formats.scale_bar import find_scale_bar
from model.pattern.frame import Frame, find_saturation_level


@dataclass(frozen=True)
class Recorded:
    """One image of a file.

    Attributes:
        counts: (H, W), or (H, W, colours).
        source_format: such as "DM4".
        pixel_size_inv_angstrom: stated, or None.
        voltage_kv: stated, or None.
        warnings: what was assumed or ignored.
        images: that the file holds, if it is of a kind that holds several; of several that were asked for, `counts` has
            one upon the other along a first axis.
        faintest: height over its ground that a spot needs, in counts: compression makes lower ones.
        ripple: height of the spots that compression makes beside strong ones, in counts.
    """

    counts: NDArray[Any]
    source_format: str
    pixel_size_inv_angstrom: float | None = None
    voltage_kv: float | None = None
    warnings: tuple[str, ...] = ()
    faintest: float = 0.0
    ripple: float = 0.0
    images: int | None = None

    def frames(self) -> list[Frame]:
        """Those of a file that was asked for several images; its only one where it is of a kind that has one.

        Raises:
            UnreadableError: pixels that hold no counts.
        """
        several = self.counts[None] if self.images is None else self.counts
        return [replace(self, counts=counts).frame() for counts in several]

    def frame(self) -> Frame:
        """The frame, colour reduced to its signal.

        Raises:
            UnreadableError: pixels that hold no counts.
        """
        array, warnings = self.counts, self.warnings
        if array.dtype.kind not in "uifb":
            raise UnreadableError(
                f"pixels of type {array.dtype} hold no counts; export the frame as 16-bit TIFF"
            )
        depth = None if array.dtype.kind == "f" else array.dtype.itemsize * 8
        if array.ndim == 3:
            array, told = signal_of(array)
            warnings = (*warnings, *told)
        size = self.pixel_size_inv_angstrom
        if array.dtype == np.uint8:
            array, stated, told = _without_scale_bar(array)
            size, warnings = size or stated, (*warnings, *told)
        with np.errstate(over="ignore"):  # Frame reports what is not finite
            counts = array.astype(np.float32)
        return Frame(
            counts,
            saturation_level=find_saturation_level(counts),
            bit_depth=depth,
            pixel_size_inv_angstrom=size,
            voltage_kv=self.voltage_kv,
            source_format=self.source_format,
            warnings=warnings,
            faintest=self.faintest,
            ripple=self.ripple,
        )


def _without_scale_bar(array: NDArray[Any]) -> tuple[NDArray[Any], float | None, tuple[str, ...]]:
    """The picture without its scale bar, the scale that it tells, and what to tell of it."""
    bar = find_scale_bar(array)
    if bar is None:
        return array, None, ()
    scale = stated_scale(
        () if bar.inv_angstrom_per_pixel is None else (bar.inv_angstrom_per_pixel,) * 2, "1/angstrom"
    )
    read = f"The scale bar of {bar.length_px:g} pixels"
    if scale.inv_angstrom is not None:
        told = f"{read} was read as {bar.size:g} {bar.unit}; give pixel_size if that is wrong."
    elif bar.unit in REAL_SPACE:
        told = f"{read} was read as {bar.size:g} {bar.unit}, one of real space, and ignored."
    else:
        told = f"{read} has no label that could be read; give pixel_size."
    return filled(array, bar.mask), scale.inv_angstrom, (told,)
