"""Points as given in a file, before units and center are known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError, TooLargeError, UnreadableError
from model.pattern.scale import Units

FloatArray = NDArray[np.float64]

MAX_POINTS = 100_000
MAX_INTENSITY = 1e30


@dataclass(frozen=True, eq=False)
class PointTable:
    """Positions and intensities, with what the file states about them.

    Attributes:
        positions: (N, 2) in `units`.
        intensity: (N,) non-negative; None if a point has none.
        units: stated by the file, or None.
        pixel_size_inv_angstrom: stated by the file, or None.
        pixel_size_assumed: whether the pixel size is implied by the form of the file and stated nowhere.
        center_px: stated by the file, or None.
        voltage_kv: stated by the file, or None.
        warnings: sentences for the user about what was assumed.

    Raises:
        NoSpotsError: There are no points.
        TooLargeError: There are more than 100,000 points.
        UnreadableError: A value is not finite, or an intensity is negative or larger than any count.
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
        check_point_count(len(self.positions))
        if self.positions.ndim != 2 or self.positions.shape[1] != 2:
            raise UnreadableError(
                f"Each point needs two coordinates; the positions have shape {self.positions.shape}."
            )
        _require_finite(self.positions, "a position")
        if self.intensity is None:
            return
        _require_finite(self.intensity, "an intensity")
        strongest = int(np.argmax(self.intensity))
        if self.intensity[strongest] > MAX_INTENSITY:
            raise UnreadableError(
                f"The intensity of point {strongest + 1} is {self.intensity[strongest]:.3g}, which is not a count; "
                "give counts or relative intensities."
            )
        if (self.intensity < 0).any():
            raise UnreadableError(
                f"The intensity of point {int(np.argmax(self.intensity < 0)) + 1} is negative; give counts, or name "
                "the column log_intensity if it contains logarithms."
            )


def check_point_count(count: int) -> None:
    """Reject an empty list of points (NoSpotsError), and one of more than 100,000 points (TooLargeError)."""
    if count == 0:
        raise NoSpotsError("There are no points; give at least three spots besides the direct beam.")
    if count > MAX_POINTS:
        raise TooLargeError(
            f"There are {count} points, and the limit is {MAX_POINTS}; give the spots instead of all pixels."
        )


def check_bracket_count(count: int, limit: int = MAX_POINTS) -> None:
    """Reject JSON with too many brackets before it is decoded, because each point has one.

    A million points would fill 200 MB as lists before `check_point_count` sees them.

    Args:
        count: number of opening brackets and braces.
        limit: allowed number of points, or of other lists and objects.

    Raises:
        TooLargeError: The count exceeds the limit by more than a tenth, which is left for other brackets.
    """
    if count > limit + limit // 10:
        raise TooLargeError(
            f"The JSON contains more than {limit} points or other lists, the maximum; give the "
            "spots instead of all pixels."
        )


def make_point_table(
    rows: Any,
    *,
    units: Units | None = None,
    pixel_size_inv_angstrom: float | None = None,
    center_px: tuple[float, float] | None = None,
    voltage_kv: float | None = None,
) -> PointTable:
    """Make a table from rows [x, y] or [x, y, intensity], given as an array or nested lists.

    Where only some rows have an intensity, all intensities are left out, with a warning.

    Raises:
        UnreadableError: Rows have another shape, or entries are not numbers.
    """
    check_point_count(len(rows))
    lengths = {len(row) if isinstance(row, list | tuple | np.ndarray) else 0 for row in rows}
    if not lengths <= {2, 3}:
        raise UnreadableError("Each point needs x, y and optionally an intensity: [[x, y, intensity], ...].")
    lacks_intensity = 2 in lengths or any(row[2] is None for row in rows)
    try:
        values = np.array([row[:2] if lacks_intensity else row for row in rows], dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableError(f"A point contains something that is not a number: {error!s:.80}.") from error
    warnings: tuple[str, ...] = ()
    if lacks_intensity and 3 in lengths:
        warnings = (
            "Some points have no intensity, so all intensities were ignored; give one for every point.",
        )
    return PointTable(
        positions=values[:, :2],
        intensity=None if lacks_intensity else values[:, 2],
        units=units,
        pixel_size_inv_angstrom=pixel_size_inv_angstrom,
        center_px=center_px,
        voltage_kv=voltage_kv,
        warnings=warnings,
    )


def exponentiate_intensity(logarithm: FloatArray, base: float) -> FloatArray:
    """Return intensities relative to the strongest from their logarithms; -inf stands for zero.

    Raises:
        UnreadableError: A logarithm is neither finite nor -inf.
    """
    if np.isnan(logarithm).any() or np.isposinf(logarithm).any():
        raise UnreadableError(
            "A logarithm of an intensity is not a finite number; correct it or remove the point."
        )
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
            f"Point {int(np.argmax(bad)) + 1} has {what} that is not a finite number; correct it, or leave the "
            "point out."
        )
