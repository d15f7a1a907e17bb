"""A point cloud as a file states it, before units and centre are settled."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError, TooLargeError, UnreadableError
from model.pattern.options import Units

FloatArray = NDArray[np.float64]

MAX_POINTS = 100_000
LARGEST_INTENSITY = 1e30


@dataclass(frozen=True, eq=False)
class PointTable:
    """Positions and intensities with what the file says about them.

    Attributes:
        positions: (N, 2) in `units`.
        intensity: (N,) non-negative, or None where a point has none.
        units: stated by the file, or None.
        pixel_size_inv_angstrom: stated by the file, or None.
        pixel_size_assumed: the file's form implies the pixel size; nothing states it.
        center_px: stated by the file, or None.
        voltage_kv: stated by the file, or None.
        warnings: what was assumed in reading.

    Raises:
        NoSpotsError: no points at all.
        TooLargeError: more than 100,000 points.
        UnreadableError: values that are not finite, or intensities that are negative or beyond any count.
    """

    positions: FloatArray
    intensity: FloatArray | None = None
    units: Units | None = None
    pixel_size_inv_angstrom: float | None = None
    center_px: tuple[float, float] | None = None
    voltage_kv: float | None = None
    warnings: tuple[str, ...] = ()
    pixel_size_assumed: bool = False

    def __post_init__(self) -> None:
        check_count(len(self.positions))
        if self.positions.ndim != 2 or self.positions.shape[1] != 2:
            raise UnreadableError(f"points need two positions each, not an array of {self.positions.shape}")
        _require_finite(self.positions, "a position")
        if self.intensity is None:
            return
        _require_finite(self.intensity, "an intensity")
        strongest = int(np.argmax(self.intensity))
        if self.intensity[strongest] > LARGEST_INTENSITY:
            raise UnreadableError(
                f"point {strongest + 1} has an intensity of {self.intensity[strongest]:.3g}, which is no count; "
                "give counts or relative intensities"
            )
        if (self.intensity < 0).any():
            raise UnreadableError(
                f"point {int(np.argmax(self.intensity < 0)) + 1} has a negative intensity; give counts, or "
                "name the column log_intensity if these are logarithms"
            )


def check_count(count: int) -> None:
    """Refuse an empty cloud (NoSpotsError) and one of more than 100,000 points (TooLargeError)."""
    if count == 0:
        raise NoSpotsError("there are no points; give at least three spots besides the direct beam")
    if count > MAX_POINTS:
        raise TooLargeError(
            f"{count} points; at most {MAX_POINTS} are read, give the spots rather than all pixels"
        )


def check_bracket_count(count: int, most: int = MAX_POINTS) -> None:
    """Refuse JSON by its brackets, of which each point takes one, before it is decoded.

    A million points would be 200 MB of lists before `check_count` saw them.

    Args:
        count: opening brackets and braces.
        most: points, or other lists and objects.

    Raises:
        TooLargeError: there are more, with some to spare for what stands beside them.
    """
    if count > most + most // 10:
        raise TooLargeError(
            f"more than {most} points or other lists, the most that are read; give the spots rather than all pixels"
        )


def table_from_rows(
    rows: Any,
    *,
    units: Units | None = None,
    pixel_size_inv_angstrom: float | None = None,
    center_px: tuple[float, float] | None = None,
    voltage_kv: float | None = None,
) -> PointTable:
    """Points given as rows [x, y] or [x, y, intensity], an array or nested lists.

    Where some rows have an intensity and others none, none is kept, with a warning.

    Raises:
        UnreadableError: rows of another shape, or entries that are not numbers.
    """
    check_count(len(rows))
    lengths = {len(row) if isinstance(row, list | tuple | np.ndarray) else 0 for row in rows}
    if not lengths <= {2, 3}:
        raise UnreadableError("each point needs x, y and optionally an intensity: [[x, y, intensity], ...]")
    missing = 2 in lengths or any(row[2] is None for row in rows)
    try:
        values = np.array([row[:2] if missing else row for row in rows], dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableError(f"a point holds something that is not a number: {error}") from error
    warnings: tuple[str, ...] = ()
    if missing and 3 in lengths:
        warnings = ("Some points have no intensity, so intensities were left out; give one for every point.",)
    return PointTable(
        positions=values[:, :2],
        intensity=None if missing else values[:, 2],
        units=units,
        pixel_size_inv_angstrom=pixel_size_inv_angstrom,
        center_px=center_px,
        voltage_kv=voltage_kv,
        warnings=warnings,
    )


def intensity_from_logarithm(logarithm: FloatArray, base: float) -> FloatArray:
    """Intensities relative to the strongest from their logarithms; -inf stands for zero."""
    if np.isnan(logarithm).any() or np.isposinf(logarithm).any():
        raise UnreadableError("a log intensity is not a finite number; give a number, or leave the point out")
    scaled = logarithm * np.log(base)
    finite = scaled[np.isfinite(scaled)]
    relative: FloatArray = (
        np.exp(scaled - finite.max(initial=-np.inf)) if len(finite) else np.zeros_like(scaled)
    )
    return relative


def _require_finite(values: FloatArray, what: str) -> None:
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if bad.any():
        raise UnreadableError(
            f"point {int(np.argmax(bad)) + 1} has {what} that is not a finite number; mend it or leave the "
            "point out"
        )
