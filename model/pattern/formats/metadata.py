"""What files state beside their counts, and which of it can be believed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from model.electrons import electron_wavelength_angstrom
from model.pattern.points.columns import parse_units

PIXEL_SIZES_INV_ANGSTROM = (1e-5, 0.1)
VOLTAGES_KV = (10.0, 1500.0)
_SAME_BOTH_WAYS = 0.1
REAL_SPACE = {"m", "mm", "um", "µm", "μm", "nm", "å", "a", "angstrom", "pm"}
# What programs write where there is no unit.
_NO_UNITS = {"px", "pixel", "pixels", "<undefined>", "undefined", "none", "inch", "in", "cm", "micron"}
_ANGLES = {"rad": 1.0, "mrad": 1e-3}


@dataclass(frozen=True)
class Scale:
    """A file's scale, as far as it can be believed.

    Attributes:
        inv_angstrom: 1/angstrom per pixel, or None.
        warnings: what was ignored, and why.
    """

    inv_angstrom: float | None = None
    warnings: tuple[str, ...] = ()


def stated_scale(sizes: Sequence[float], unit: str, voltage_kv: float | None = None) -> Scale:
    """What a size of a pixel and its unit amount to.

    Args:
        sizes: along both axes, in the unit.
        unit: as the file spells it; empty where it has none.
        voltage_kv: stated by the file; angles need it.
    """
    spelled = re.sub(r"[$\s{}]|\\mathrm|\\AA", lambda found: "Å" if "AA" in found[0] else "", unit)
    if not sizes or not all(isfinite(size) and size > 0 for size in sizes) or not spelled:
        return Scale()
    if max(sizes) > (1 + _SAME_BOTH_WAYS) * min(sizes):
        told = f"The file's pixels are not square ({sizes[0]:g} and {sizes[-1]:g} {unit}), which was ignored."
        return Scale(None, (told,))
    size, units = sum(sizes) / len(sizes), parse_units(spelled)
    if units == "1/nm":
        return _believed(size / 10, f"{size:g} {unit}")
    if units == "1/angstrom":
        return _believed(size, f"{size:g} {unit}")
    if spelled.lower() in _ANGLES:
        if voltage_kv is None:
            return Scale(
                None, (f"The file states {size:g} {unit} per pixel and no voltage to convert it by.",)
            )
        return _believed(
            _ANGLES[spelled.lower()] * size / electron_wavelength_angstrom(voltage_kv),
            f"{size:g} {unit} per pixel",
        )
    if spelled.lower() in REAL_SPACE:
        told = f"The file's scale ({size:g} {unit} per pixel) is one of real space and was ignored."
        return Scale(None, (told,))
    if spelled.lower() in _NO_UNITS:
        return Scale()
    return Scale(None, (f"The file's scale has an unknown unit ({unit.strip()[:20]!r}); give pixel_size.",))


def _believed(size: float, told: str) -> Scale:
    smallest, largest = PIXEL_SIZES_INV_ANGSTROM
    if smallest < size < largest:
        return Scale(size)
    return Scale(None, (f"The file's scale ({told}) is impossible and was ignored; give pixel_size.",))


def stated_number(value: Any) -> float | None:
    """A number that a file spells in any way; None where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def stated_voltage(kv: float | None) -> float | None:
    """A voltage in kilovolts if it can be one: files of idle microscopes say 0."""
    if kv is None or not isfinite(kv) or not VOLTAGES_KV[0] <= kv <= VOLTAGES_KV[1]:
        return None
    return float(kv)


def camera_length_hint(
    camera_length_mm: float | None, pixel_mm: float | None, voltage_kv: float | None
) -> tuple[str, ...]:
    """What a camera length says of the scale where a file states nothing better: roughly, as it is seldom exact."""
    stated = (camera_length_mm, pixel_mm, voltage_kv)
    if not all(value is not None and isfinite(value) and value > 0 for value in stated):
        return ()
    assert camera_length_mm is not None
    assert pixel_mm is not None
    assert voltage_kv is not None
    size = pixel_mm / (camera_length_mm * electron_wavelength_angstrom(voltage_kv))
    if not PIXEL_SIZES_INV_ANGSTROM[0] < size < PIXEL_SIZES_INV_ANGSTROM[1]:
        return ()
    return (
        f"The file states no scale but a camera length of {camera_length_mm:g} mm, by which a pixel would be about "
        f"{size:.4g} 1/angstrom; calibrate it with a known crystal and give pixel_size.",
    )
