"""What a reader found: an image of counts and what the file says about it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import UnreadableError
from model.pattern.frame import Frame, saturation_of
from model.pattern.readers.colour import signal_of


@dataclass(frozen=True)
class Recorded:
    """One image of a file.

    Attributes:
        counts: (H, W), or (H, W, colours).
        source_format: such as "DM4".
        pixel_size_inv_angstrom: stated, or None.
        voltage_kv: stated, or None.
        warnings: what was assumed or ignored.
    """

    counts: NDArray[Any]
    source_format: str
    pixel_size_inv_angstrom: float | None = None
    voltage_kv: float | None = None
    warnings: tuple[str, ...] = ()

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
        with np.errstate(over="ignore"):  # Frame reports what is not finite
            counts = array.astype(np.float32)
        return Frame(
            counts,
            saturation_level=saturation_of(counts),
            bit_depth=depth,
            pixel_size_inv_angstrom=self.pixel_size_inv_angstrom,
            voltage_kv=self.voltage_kv,
            source_format=self.source_format,
            warnings=warnings,
        )
