"""Scale and voltage as files state them, and whether they are plausible."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from model.electrons import electron_wavelength_angstrom
from model.pattern.scale import REAL_SPACE_UNITS, is_plausible_pixel_size, parse_units

VOLTAGE_RANGE_KV = (10.0, 1500.0)
_SQUARE_TOLERANCE = 0.1
# What programs write where there is no unit.
_PLACEHOLDER_UNITS = {
    "px",
    "pixel",
    "pixels",
    "<undefined>",
    "undefined",
    "none",
    "inch",
    "in",
    "cm",
    "micron",
}
_RADIANS = {"rad": 1.0, "mrad": 1e-3}
# Longer texts are no units.
_MAX_UNIT_LENGTH = 100


@dataclass(frozen=True)
class StatedScale:
    """The scale that a file states.

    Attributes:
        pixel_size_inv_angstrom: 1/angstrom per pixel; None if the file states none, or an implausible one.
        warnings: what was ignored, and why.
    """

    pixel_size_inv_angstrom: float | None = None
    warnings: tuple[str, ...] = ()


NO_SCALE = StatedScale()


def interpret_scale(sizes: Sequence[float], unit: str, voltage_kv: float | None = None) -> StatedScale:
    """Interpret a stated pixel size and its unit.

    Args:
        sizes: size of a pixel along both axes, in the unit; empty where the file states none.
        unit: the unit as the file spells it; empty where it has none.
        voltage_kv: voltage that the file states, which angles need.
    """
    unit = unit[:_MAX_UNIT_LENGTH]
    spelled = re.sub(r"[$\s{}]|\\mathrm|\\AA", lambda match: "Å" if "AA" in match[0] else "", unit)
    if not sizes or not all(isfinite(size) and size > 0 for size in sizes) or not spelled:
        return NO_SCALE
    if max(sizes) > (1 + _SQUARE_TOLERANCE) * min(sizes):
        return _ignore(
            f"The file's scale was ignored because its pixels are not square ({sizes[0]:g} and {sizes[-1]:g} {unit})."
        )
    size, units = sum(sizes) / len(sizes), parse_units(spelled)
    if units == "1/nm":
        return _accept(size / 10, f"{size:g} {unit}")
    if units == "1/angstrom":
        return _accept(size, f"{size:g} {unit}")
    if spelled.lower() in _RADIANS:
        if voltage_kv is None:
            return _ignore(
                f"The file's scale ({size:g} {unit} per pixel) was ignored because the file states no voltage to "
                "convert it; give pixel_size."
            )
        return _accept(
            _RADIANS[spelled.lower()] * size / electron_wavelength_angstrom(voltage_kv),
            f"{size:g} {unit} per pixel",
        )
    if spelled.lower() in REAL_SPACE_UNITS:
        return _ignore(f"The file's scale ({size:g} {unit} per pixel) is a real-space scale and was ignored.")
    if spelled.lower() in _PLACEHOLDER_UNITS:
        return NO_SCALE
    return _ignore(f"The file's scale has an unknown unit ({unit.strip()[:20]!r}); give pixel_size.")


def _accept(pixel_size_inv_angstrom: float, stated: str) -> StatedScale:
    if is_plausible_pixel_size(pixel_size_inv_angstrom):
        return StatedScale(pixel_size_inv_angstrom)
    return _ignore(f"The file's scale ({stated}) is impossible and was ignored; give pixel_size.")


def _ignore(warning: str) -> StatedScale:
    return StatedScale(None, (warning,))


def parse_number(value: Any) -> float | None:
    """Return a number from any spelling in a file, or None."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def accept_voltage(kv: float | None) -> float | None:
    """Return a voltage in kilovolts if it is plausible, otherwise None: files of idle microscopes state 0."""
    if kv is None or not isfinite(kv) or not VOLTAGE_RANGE_KV[0] <= kv <= VOLTAGE_RANGE_KV[1]:
        return None
    return float(kv)


def warn_of_camera_length(
    camera_length_mm: float | None, pixel_mm: float | None, voltage_kv: float | None
) -> tuple[str, ...]:
    """Return a warning with the scale that a camera length implies; empty if a value is missing.

    The scale itself is not used, because nominal camera lengths are seldom exact.
    """
    values = (camera_length_mm, pixel_mm, voltage_kv)
    if not all(value is not None and isfinite(value) and value > 0 for value in values):
        return ()
    assert camera_length_mm is not None
    assert pixel_mm is not None
    assert voltage_kv is not None
    size = pixel_mm / (camera_length_mm * electron_wavelength_angstrom(voltage_kv))
    if not is_plausible_pixel_size(size):
        return ()
    return (
        f"The file states a camera length of {camera_length_mm:g} mm but no scale. This implies a pixel size of about "
        f"{size:.4g} 1/angstrom; calibrate the camera with a known crystal and give pixel_size.",
    )
