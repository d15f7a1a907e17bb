"""TIFF files, read with tifffile: plain ones, and those of ImageJ, JEOL and DigitalMicrograph."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.electrons import electron_wavelength_angstrom
from model.errors import OptionError, TooLargeError, UnreadableError
from model.pattern.formats.png_jpeg_bmp import decode_picture
from model.pattern.formats.recorded_image import MAX_SUMMED, RecordedImage, record_images
from model.pattern.formats.scale_and_voltage import (
    NO_SCALE,
    StatedScale,
    accept_voltage,
    interpret_scale,
    parse_number,
)
from model.pattern.frame import check_frame_size
from model.pattern.options import FrameSelection

if TYPE_CHECKING:
    import tifffile

MAX_PAGES = MAX_SUMMED
MAX_TILE_PIXELS = 2**22
"""Tiles are decoded as a whole; those of a larger page may have as many pixels as the page."""
_UNCOMPRESSED = 1
_WHOLE_BYTES = (8, 16, 32, 64)
_MILLIMETERS_PER_UNIT = {2: 25.4, 3: 10.0}
# Private tags of DigitalMicrograph: units and pixel sizes along both axes.
_DM_UNITS, _DM_SIZES = (65003, 65004), (65009, 65010)


def read_tiff(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read a page of a TIFF of 8, 16, 32 or 64 bits or floating point.

    The scale comes from the metadata of ImageJ, JEOL or DigitalMicrograph where its unit is reciprocal. Resolutions for
    print (72 dpi) are ignored.

    Args:
        data: content of the file.
        selection: which page; pages of different sizes cannot be summed.

    Raises:
        UnreadableError: The file is damaged, or its pixels are not counts.
        TooLargeError: The page has more than 64 megapixels; this is checked before decoding.
        OptionError: The file has no such page.
    """
    import tifffile  # loaded with the first TIFF

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        count = _count_pages(file, selection)
        voltage, scale = _read_voltage_and_scale(file)
        return record_images(
            lambda number: _read_page(data, file, number),
            count,
            selection,
            "TIFF",
            scale=scale,
            voltage_kv=voltage,
        )


def _count_pages(file: "tifffile.TiffFile", selection: FrameSelection) -> int:
    """Count the pages no further than needed, because a hostile file can have millions."""
    pages_to_warn_or_sum = 2 if selection is None else MAX_PAGES + 1
    needed = selection + 1 if isinstance(selection, int) else pages_to_warn_or_sum
    if needed > MAX_PAGES + 1:
        raise OptionError(f"Pages beyond {MAX_PAGES} of a TIFF are not read; save the pattern on its own.")
    count = 0
    while count < needed:
        try:
            file.pages[count]
        except IndexError:
            break
        count += 1
    if isinstance(selection, range) and count > MAX_PAGES:
        raise OptionError(
            f"The TIFF has more than {MAX_PAGES} pages, the maximum; split it, or save it as NPY."
        )
    return max(count, 1)


def _read_page(data: bytes, file: "tifffile.TiffFile", number: int) -> NDArray[Any]:
    page = file.pages.first if number == 0 else file.pages[number].aspage()
    check_frame_size(page.imagelength, page.imagewidth, page.samplesperpixel)
    if page.imagedepth * page.samplesperpixel > 4:
        raise UnreadableError("The page of the TIFF is not a plain image; export one frame as 16-bit TIFF.")
    stated = page.imagelength * page.imagewidth * page.samplesperpixel * max(page.bitspersample, 8) // 8
    if page.compression == _UNCOMPRESSED and stated > 2 * len(data):
        raise UnreadableError(
            "The TIFF declares more pixels than it contains; it is truncated or damaged. Copy it again."
        )
    if page.is_tiled and page.tilelength * page.tilewidth > max(
        page.imagelength * page.imagewidth, MAX_TILE_PIXELS
    ):
        raise TooLargeError(
            "The tiles of the TIFF are larger than its page; export one frame as 16-bit TIFF."
        )
    # Decompression by tifffile has no limit: some kilobytes can become gigabytes. Pillow's has one.
    if page.compression == _UNCOMPRESSED and page.bitspersample in _WHOLE_BYTES:
        array = np.asarray(page.asarray())
        is_planar = page.samplesperpixel > 1 and page.planarconfig == 2
        return np.moveaxis(array, 0, -1) if is_planar else array
    if number > 0:
        raise OptionError("Only the first page of a compressed TIFF can be read; save the page on its own.")
    return decode_picture(data, "TIFF")


def _read_voltage_and_scale(file: "tifffile.TiffFile") -> tuple[float | None, StatedScale]:
    page = file.pages.first
    description = page.tags.get("ImageDescription")
    text = str(description.value)[:200_000] if description is not None else ""
    if "<TemReporter" in text:
        return _read_jeol(text, page)
    units = [page.tags.get(code) for code in _DM_UNITS]
    sizes = [page.tags.get(code) for code in _DM_SIZES]
    if all(tag is not None for tag in (*units, *sizes)):
        numbers = [parse_number(tag.value) for tag in sizes if tag is not None]
        known = [number for number in numbers if number is not None]
        return None, interpret_scale(
            known if len(known) == 2 else (), str(units[0].value if units[0] else "")
        )
    unit = str((file.imagej_metadata or {}).get("unit", ""))
    return None, interpret_scale(_read_pixel_sizes(page), unit)


def _read_pixel_sizes(page: Any) -> tuple[float, ...]:
    """Return the size of a pixel along both axes, from resolutions in pixels per unit."""
    tags = [page.tags.get(name) for name in ("XResolution", "YResolution")]
    if tags[0] is None or tags[1] is None:
        return ()
    (pixels_x, units_x), (pixels_y, units_y) = tags[0].value, tags[1].value
    if not (pixels_x and units_x and pixels_y and units_y):
        return ()
    return units_x / pixels_x, units_y / pixels_y


def _read_jeol(text: str, page: Any) -> tuple[float | None, StatedScale]:
    """Derive the scale from the camera length in use and the size of a pixel on the screen."""
    volts = parse_number(_find_element(text, "AccelerationVoltage"))
    voltage = accept_voltage(None if volts is None else volts / 1000)
    camera_length_mm, unit = (
        parse_number(_find_element(text, "SelectorValue")),
        page.tags.get("ResolutionUnit"),
    )
    sizes = _read_pixel_sizes(page)
    millimeters = _MILLIMETERS_PER_UNIT.get(int(unit.value)) if unit is not None else None
    if _find_element(text, "ModeString") != "DIFF" or not (
        camera_length_mm and voltage and sizes and millimeters
    ):
        return voltage, NO_SCALE
    factor = millimeters / (camera_length_mm * electron_wavelength_angstrom(voltage))
    return voltage, interpret_scale([size * factor for size in sizes], "1/angstrom")


def _find_element(text: str, name: str) -> str | None:
    """Return the text of the first element of a name; None if there is none."""
    _, _, after = text.partition(f"<{name}>")
    value, is_closed, _ = after.partition(f"</{name}>")
    return value.strip() if is_closed else None
