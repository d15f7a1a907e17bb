"""Content of HDF5 files: Velox and Berkeley EMD, HyperSpy HSPY, and others whose largest dataset is the pattern.

Links to other files and external datasets are never followed: an upload must not read the disk of the server.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from model.errors import DomainError, NoSpotsError, TooLargeError, UnreadableError
from model.pattern.formats.hdf5 import DAMAGED
from model.pattern.formats.recorded_image import RecordedImage, record_images
from model.pattern.formats.scale_and_voltage import (
    NO_SCALE,
    StatedScale,
    accept_voltage,
    interpret_scale,
    parse_number,
)
from model.pattern.frame import MAX_PIXELS, check_frame_size
from model.pattern.options import FrameSelection
from model.reader_process import Buffer

MAX_OBJECTS = 20_000
MAX_DEPTH = 32
MAX_METADATA_BYTES = 4 * 2**20
# An image, and a chunk, which is decompressed as a whole: the largest frame in single precision.
MAX_IMAGE_BYTES = 4 * MAX_PIXELS
# Smaller images may expand by any factor; see `model.zip_limits`.
MAX_EXPANSION, MIN_EXPANDED_BYTES = 200, 64 * 2**20
MAX_IMAGES = 10_000_000
# Words in the names of a detector's tables that are not patterns.
_NO_PATTERN = ("pixel_mask", "flatfield", "mask", "countrate", "dark", "gain", "metadata", "thumbnail")


def parse_upload(upload: bytearray) -> list[Buffer]:
    """Read an upload, in the process that `hdf5` starts: a line with the selection, then the file.

    Returns:
        a line of JSON, and the counts.

    Raises:
        DomainError: as `read_content`.
    """
    size = upload.index(b"\n")
    selection = json.loads(upload[:size])
    del upload[: size + 1]
    data = bytes(upload)
    upload.clear()
    try:
        recorded = read_content(data, range(*selection) if isinstance(selection, list) else selection)
    except DomainError:
        raise
    except Exception as error:  # a damaged file can raise any exception in h5py
        raise UnreadableError(DAMAGED) from error
    # The frame will be in single precision; what passes through the socket need not be larger.
    counts = np.ascontiguousarray(recorded.counts)
    if counts.dtype.kind not in "uib" or counts.dtype.itemsize > 4:
        counts = counts.astype(np.float32)
    metadata = {
        "format": recorded.source_format,
        "pixel_size": recorded.pixel_size_inv_angstrom,
        "voltage_kv": recorded.voltage_kv,
        "warnings": recorded.warnings,
        "image_count": recorded.image_count,
        "type": counts.dtype.str,
        "shape": counts.shape,
    }
    return [json.dumps(metadata).encode(), b"\n", counts.reshape(-1).view(np.uint8).data]


def read_content(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read the pattern of an HDF5 file; call it only in the process that `hdf5` starts.

    Args:
        data: content of the file.
        selection: which image of a stack or a scan.

    Raises:
        UnreadableError: The file is damaged.
        NoSpotsError: The file contains no images.
        TooLargeError: The image has more pixels than the limit.
        OptionError: The file has no such image.
    """
    with h5py.File(io.BytesIO(data), "r") as file:
        datasets = list(_find_datasets(file))
        for dataset in datasets:
            if dataset.name.startswith("/Data/Image/") and dataset.name.endswith("/Data"):
                return _read_velox(dataset, selection)
        if not datasets:
            raise NoSpotsError(
                "The HDF5 file contains no images; if it only links to other files, as a detector's master file does, "
                "upload the file with the data."
            )
        return _read_largest(max(datasets, key=lambda each: int(each.size)), selection)


def _find_datasets(group: Any, depth: int = 0, counter: list[int] | None = None) -> Iterator[Any]:
    """Yield the datasets of images in the file itself."""
    visited = [0] if counter is None else counter
    if depth > MAX_DEPTH:
        return
    for name in group:
        visited[0] += 1
        if visited[0] > MAX_OBJECTS:
            raise UnreadableError("The HDF5 file has too many objects; save the pattern on its own.")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _find_datasets(item, depth + 1, visited)
        elif _is_image(item) and not any(word in name.lower() for word in _NO_PATTERN):
            yield item


def _is_image(item: Any) -> bool:
    return _is_stored_here(item) and item.dtype.kind in "uif" and item.ndim >= 2 and min(item.shape) > 0


def _is_stored_here(item: Any) -> bool:
    """Return whether the item is a dataset whose numbers are in this file."""
    return isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external


def _record_images(
    dataset: Any, frame_axes: tuple[int, int], selection: FrameSelection, source_format: str, **stated: Any
) -> RecordedImage:
    """Read the selected images of a dataset.

    Args:
        dataset: the images.
        frame_axes: the two axes of an image, rows and columns.
        selection: which of them; they count along the other axes, the last one fastest.
        source_format: format of the file.
        stated: scale and voltage, as of `record_images`.
    """
    shape = dataset.shape
    check_frame_size(shape[frame_axes[0]], shape[frame_axes[1]])
    _check_bytes(dataset, shape[frame_axes[0]] * shape[frame_axes[1]])
    series_axes = [axis for axis in range(dataset.ndim) if axis not in frame_axes]
    sizes = [shape[axis] for axis in series_axes]
    count = int(np.prod(sizes, dtype=object)) if sizes else 1
    if count > MAX_IMAGES:
        raise TooLargeError(f"The HDF5 file contains {count} images; save the pattern on its own.")
    if selection == "sum" and dataset.size > 8 * MAX_PIXELS:
        raise TooLargeError("The HDF5 file contains too many pixels to sum; choose an image with frame.")

    def read_image(number: int) -> np.ndarray[Any, Any]:
        place: list[Any] = [slice(None)] * dataset.ndim
        for axis, index in zip(series_axes, np.unravel_index(number, sizes) if sizes else (), strict=True):
            place[axis] = int(index)
        image = np.asarray(dataset[tuple(place)])
        return image if frame_axes[0] < frame_axes[1] else image.T

    return record_images(read_image, count, selection, source_format, **stated)


def _check_bytes(dataset: Any, image_pixels: int) -> None:
    """Check what the file states before memory is allocated.

    Raises:
        TooLargeError: An image or a chunk has too many bytes, or expands too much.
        UnreadableError: No chunk was ever written.
    """
    stored = dataset.id.get_storage_size()
    chunk_pixels = int(np.prod(dataset.chunks or (1,), dtype=object))
    largest = max(image_pixels, chunk_pixels) * dataset.dtype.itemsize
    if largest > MAX_IMAGE_BYTES:
        raise TooLargeError(
            f"The images of the HDF5 file, or its chunks, have more than {MAX_IMAGE_BYTES // 2**20} MiB; save the "
            "pattern on its own, in single precision."
        )
    if stored == 0:
        raise UnreadableError(
            "The images of the HDF5 file were never written; record or save the pattern again."
        )
    if largest > max(MIN_EXPANDED_BYTES, MAX_EXPANSION * stored):
        raise TooLargeError(
            f"The images of the HDF5 file expand by more than a factor of {MAX_EXPANSION}; save the pattern on its own."
        )


def _read_velox(dataset: Any, selection: FrameSelection) -> RecordedImage:
    """Read a Velox image, whose series runs along the last axis."""
    metadata = _read_velox_metadata(_find_stored(dataset.parent, "Metadata"))
    optics, result = metadata.get("Optics", {}), metadata.get("BinaryResult", {})
    volts = parse_number(optics.get("AccelerationVoltage"))
    voltage = accept_voltage(None if volts is None else volts / 1000)
    size, unit = result.get("PixelSize", {}), str(result.get("PixelUnitX", ""))
    sizes = [parse_number(size.get("width")), parse_number(size.get("height"))]
    scale = _interpret_velox_scale([float(each) for each in sizes if each is not None], unit, voltage)
    return _record_images(dataset, (0, 1), selection, "Velox EMD", scale=scale, voltage_kv=voltage)


def _interpret_velox_scale(sizes: list[float], unit: str, voltage_kv: float | None) -> StatedScale:
    if len(sizes) < 2:
        return NO_SCALE
    if unit == "1/m":
        return interpret_scale([size * 1e-9 for size in sizes], "1/nm")
    return interpret_scale(sizes, unit, voltage_kv)


def _read_velox_metadata(dataset: Any) -> dict[str, Any]:
    """Return the JSON metadata of the first image; empty if there is none."""
    if not _is_stored_here(dataset) or dataset.ndim != 2 or dataset.dtype != np.uint8:
        return {}
    if dataset.shape[0] > MAX_METADATA_BYTES or dataset.shape[1] < 1:
        return {}
    text = dataset[:, 0].tobytes().split(b"\0")[0]
    try:
        metadata = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(metadata, dict):
        return {}
    return {key: value for key, value in metadata.items() if isinstance(value, dict)}


def _read_largest(dataset: Any, selection: FrameSelection) -> RecordedImage:
    """Read a dataset whose last two axes are those of a frame, unless HyperSpy or Berkeley metadata say otherwise."""
    group = dataset.parent
    axes = [_read_axis(group, number, dataset) for number in range(dataset.ndim)]
    frame_axes = [number for number, axis in enumerate(axes) if not axis.navigate][-2:]
    if len(frame_axes) < 2:
        frame_axes = [dataset.ndim - 2, dataset.ndim - 1]
    voltage = _read_beam_energy(group)
    steps = [axes[number].scale for number in frame_axes]
    known = [step for step in steps if step is not None]
    scale = interpret_scale(known if len(known) == 2 else (), axes[frame_axes[0]].unit, voltage)
    return _record_images(
        dataset, (frame_axes[0], frame_axes[1]), selection, "HDF5", scale=scale, voltage_kv=voltage
    )


@dataclass(frozen=True)
class _Axis:
    scale: float | None = None
    unit: str = ""
    navigate: bool = False


def _read_axis(group: Any, number: int, dataset: Any) -> _Axis:
    """Read an axis from HyperSpy's `axis-0`, ... or the Berkeley EMD's `dim1`, ..."""
    hyperspy = _find_stored(group, f"axis-{number}")
    if isinstance(hyperspy, h5py.Group):
        attributes = hyperspy.attrs
        return _Axis(
            parse_number(attributes.get("scale")),
            _decode_text(attributes.get("units")),
            bool(attributes.get("navigate", False)),
        )
    steps = _find_stored(group, f"dim{number + 1}")
    navigates = number < dataset.ndim - 2
    if _is_stored_here(steps) and steps.ndim == 1 and steps.size >= 2 and steps.dtype.kind in "uif":
        first, second = steps[:2].tolist()
        return _Axis(abs(float(second) - float(first)), _decode_text(steps.attrs.get("units")), navigates)
    return _Axis(navigate=navigates)


def _read_beam_energy(group: Any) -> float | None:
    """Return HyperSpy's beam energy in kilovolts."""
    for name in ("metadata", "Acquisition_instrument", "TEM"):
        group = _find_stored(group, name)
        if not isinstance(group, h5py.Group):
            return None
    return accept_voltage(parse_number(group.attrs.get("beam_energy")))


def _find_stored(group: Any, name: str) -> Any:
    """Return an object of a group that is stored in this file; None if there is none."""
    return group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None


def _decode_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip("[] _")
    return value if isinstance(value, str) else ""
