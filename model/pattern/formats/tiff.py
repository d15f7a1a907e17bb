"""TIFF files, read with tifffile: plain ones, ImageJ's, JEOL's and those that DigitalMicrograph exports."""

import io
import re
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from model.electrons import electron_wavelength_angstrom
from model.errors import OptionError, UnreadableError
from model.pattern.formats.metadata import Scale, stated_number, stated_scale, stated_voltage
from model.pattern.formats.pictures import decoded
from model.pattern.formats.recorded_image import Recorded
from model.pattern.formats.stack import MOST_SUMMED, chosen
from model.pattern.frame import check_pixels
from model.pattern.options import Choice

_BEGINNINGS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_UNCOMPRESSED = 1
_WHOLE_BYTES = (8, 16, 32, 64)
_MILLIMETRES = {2: 25.4, 3: 10.0}
# Private tags of DigitalMicrograph: units and sizes along both axes.
_DM_UNITS, _DM_SIZES = (65003, 65004), (65009, 65010)


def is_tiff(data: bytes) -> bool:
    """Whether the content is a TIFF or BigTIFF file."""
    return data.startswith(_BEGINNINGS)


def read_tiff(data: bytes, choice: Choice = None) -> Recorded:
    """A page of a TIFF of 8, 16, 32 or 64 bits or floating point.

    The scale is taken from ImageJ's, JEOL's or DigitalMicrograph's metadata where its unit is reciprocal; resolutions
    for print (72 dpi and the like) say nothing and are ignored.

    Args:
        data: the file.
        choice: of its pages; a page of another size than the first cannot be summed.

    Raises:
        UnreadableError: damaged, or pixels that hold no counts.
        TooLargeError: more than 64 megapixels, told before decoding.
        OptionError: no such page.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        count = _count(file, choice)
        first = file.pages.first
        found = chosen(lambda number: _page(data, file, number), count, choice)
        voltage, scale = _stated(file, first)
        return Recorded(
            found.counts,
            "TIFF",
            scale.inv_angstrom,
            voltage,
            (*found.warnings, *scale.warnings),
            images=found.images,
        )


def _count(file: tifffile.TiffFile, choice: Choice) -> int:
    """Pages, counted no further than needed: a hostile file may have millions."""
    several = 2 if choice is None else MOST_SUMMED + 1
    needed = choice + 1 if isinstance(choice, int) else several
    if needed > MOST_SUMMED + 1:
        raise OptionError(f"frame: pages beyond {MOST_SUMMED} are not read; save the pattern on its own")
    count = 0
    while count < needed:  # of several images all are counted, so that it is known how many there are
        try:
            file.pages[count]
        except IndexError:
            break
        count += 1
    if isinstance(choice, range) and count > MOST_SUMMED:
        raise OptionError(
            f"frame: the TIFF has more than {MOST_SUMMED} pages, the most that are read; split it, or save it as NPY"
        )
    return max(count, 1)


def _page(data: bytes, file: tifffile.TiffFile, number: int) -> NDArray[Any]:
    page = file.pages.first if number == 0 else file.pages[number].aspage()
    check_pixels(page.imagelength, page.imagewidth)
    if page.imagedepth * page.samplesperpixel > 4:
        raise UnreadableError("the TIFF's page is no plain image; export one frame as 16-bit TIFF")
    stated = page.imagelength * page.imagewidth * page.samplesperpixel * max(page.bitspersample, 8) // 8
    if page.compression == _UNCOMPRESSED and stated > 2 * len(data):
        raise UnreadableError(
            "the TIFF states more pixels than it holds; it is truncated or damaged, copy it again"
        )
    # tifffile's own decompression has no limit: some kilobytes may become gigabytes.
    if page.compression == _UNCOMPRESSED and page.bitspersample in _WHOLE_BYTES:
        array = np.asarray(page.asarray())
        planes = page.samplesperpixel > 1 and page.planarconfig == 2
        return np.moveaxis(array, 0, -1) if planes else array
    if number > 0:
        raise OptionError("frame: pages of a compressed TIFF are not read; save the page on its own")
    return decoded(data, "TIFF")


def _stated(file: tifffile.TiffFile, page: Any) -> tuple[float | None, Scale]:
    """Voltage and scale."""
    description = page.tags.get("ImageDescription")
    text = str(description.value)[:200_000] if description is not None else ""
    if "<TemReporter" in text:
        return _jeol(text, page)
    units = [page.tags.get(code) for code in _DM_UNITS]
    sizes = [page.tags.get(code) for code in _DM_SIZES]
    if all(tag is not None for tag in (*units, *sizes)):
        numbers = [stated_number(tag.value) for tag in sizes if tag is not None]
        known = [number for number in numbers if number is not None]
        return None, stated_scale(known if len(known) == 2 else (), str(units[0].value if units[0] else ""))
    unit = str((file.imagej_metadata or {}).get("unit", ""))
    return None, stated_scale(_pixels_across(page), unit)


def _pixels_across(page: Any) -> tuple[float, ...]:
    """How many units a pixel has along both axes, of a resolution in pixels a unit."""
    tags = [page.tags.get(name) for name in ("XResolution", "YResolution")]
    if tags[0] is None or tags[1] is None:
        return ()
    (across, a), (down, d) = tags[0].value, tags[1].value
    return (a / across, d / down) if across and a and down and d else ()


def _jeol(text: str, page: Any) -> tuple[float | None, Scale]:
    """The camera length in use and the size of a pixel on the screen make the scale."""
    found = {
        name: match[1]
        for name in ("AccelerationVoltage", "ModeString", "SelectorValue")
        if (match := re.search(rf"<{name}>\s*([^<]{{1,40}}?)\s*</{name}>", text))
    }
    volts = stated_number(found.get("AccelerationVoltage"))
    voltage = stated_voltage(None if volts is None else volts / 1000)
    length, unit = stated_number(found.get("SelectorValue")), page.tags.get("ResolutionUnit")
    across = _pixels_across(page)
    millimetres = _MILLIMETRES.get(int(unit.value)) if unit is not None else None
    if found.get("ModeString") != "DIFF" or not (length and voltage and across and millimetres):
        return voltage, Scale()
    factor = millimetres / (length * electron_wavelength_angstrom(voltage))
    return voltage, stated_scale([size * factor for size in across], "1/angstrom")
