"""What HDF5 files hold: Velox and Berkeley EMD, HyperSpy's HSPY, and others whose largest dataset is the pattern.

Links into other files and datasets kept elsewhere are never followed: an upload must not read the server's disk.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from model.errors import NoSpotsError, TooLargeError, UnreadableError
from model.pattern.formats.metadata import Scale, stated_number, stated_scale, stated_voltage
from model.pattern.formats.recorded_image import Recorded
from model.pattern.formats.stack import chosen
from model.pattern.frame import MAX_PIXELS, check_pixels
from model.pattern.options import Choice

MOST_OBJECTS = 20_000
DEEPEST = 32
LONGEST_METADATA = 4 * 2**20
# Chunks are decompressed as a whole.
LARGEST_CHUNK_BYTES = 1024 * 2**20
# Of a dataset, its axes other than a frame's.
_MOST_IMAGES = 10_000_000
# Tables of a detector that are no pattern.
_NO_PATTERN = ("pixel_mask", "flatfield", "mask", "countrate", "dark", "gain", "metadata", "thumbnail")


def read_content(data: bytes, choice: Choice = None) -> Recorded:
    """The pattern of an HDF5 file; only to be called in a process of its own, see `hdf5.py`.

    Args:
        data: the file.
        choice: of a stack or a scan.

    Raises:
        UnreadableError: damaged.
        NoSpotsError: no images in it.
        TooLargeError: more pixels than are read.
        OptionError: no such image.
    """
    with h5py.File(io.BytesIO(data), "r") as file:
        found = list(_datasets(file))
        velox = [
            each for each in found if each.name.startswith("/Data/Image/") and each.name.endswith("/Data")
        ]
        if velox:
            return _velox(velox[0], choice)
        if not found:
            raise NoSpotsError(
                "the HDF5 file holds no images; if it only points at other files, as a detector's master file does, "
                "upload the file with the data"
            )
        return _generic(max(found, key=lambda each: int(each.size)), choice)


def _datasets(group: Any, depth: int = 0, seen: list[int] | None = None) -> Iterator[Any]:
    """Datasets of images in the file itself."""
    count = [0] if seen is None else seen
    if depth > DEEPEST:
        return
    for name in group:
        count[0] += 1
        if count[0] > MOST_OBJECTS:
            raise UnreadableError("the HDF5 file has too many parts; save the pattern on its own")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _datasets(item, depth + 1, count)
        elif _is_image(item) and not any(word in name.lower() for word in _NO_PATTERN):
            yield item


def _is_image(item: Any) -> bool:
    return _is_kept_here(item) and item.dtype.kind in "uif" and item.ndim >= 2 and min(item.shape) > 0


def _is_kept_here(item: Any) -> bool:
    """Whether it is a dataset with its numbers in this very file."""
    return isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external


@dataclass(frozen=True)
class _Images:
    """A dataset as a series of images.

    Attributes:
        dataset: whose.
        frame: its two axes of an image.
    """

    dataset: Any
    frame: tuple[int, int]

    @property
    def others(self) -> list[int]:
        """The other axes."""
        return [axis for axis in range(self.dataset.ndim) if axis not in self.frame]

    def chosen(self, choice: Choice) -> Any:
        """The image wanted, (H, W)."""
        shape = self.dataset.shape
        check_pixels(shape[self.frame[0]], shape[self.frame[1]])
        chunk = int(np.prod(self.dataset.chunks or (1,), dtype=object)) * self.dataset.dtype.itemsize
        if chunk > LARGEST_CHUNK_BYTES:
            raise TooLargeError(
                "the HDF5 file is packed in chunks too large to unpack; save the pattern on its own"
            )
        sizes = [shape[axis] for axis in self.others]
        count = int(np.prod(sizes, dtype=object)) if sizes else 1
        if count > _MOST_IMAGES:
            raise TooLargeError(f"the HDF5 file holds {count} images; save the pattern on its own")
        if choice == "sum" and self.dataset.size > 8 * MAX_PIXELS:
            raise TooLargeError("the HDF5 file holds too many pixels to sum; choose a frame")

        def image_at(number: int) -> np.ndarray[Any, Any]:
            place: list[Any] = [slice(None)] * self.dataset.ndim
            for axis, at in zip(self.others, np.unravel_index(number, sizes) if sizes else (), strict=True):
                place[axis] = int(at)
            image = np.asarray(self.dataset[tuple(place)])
            return image if self.frame[0] < self.frame[1] else image.T

        return chosen(image_at, count, choice)


def _velox(dataset: Any, choice: Choice) -> Recorded:
    found = _Images(dataset, (0, 1)).chosen(choice)
    stated = _velox_metadata(_own(dataset.parent, "Metadata"))
    optics, result = stated.get("Optics", {}), stated.get("BinaryResult", {})
    volts = stated_number(optics.get("AccelerationVoltage"))
    voltage = stated_voltage(None if volts is None else volts / 1000)
    size, unit = result.get("PixelSize", {}), str(result.get("PixelUnitX", ""))
    sizes = [stated_number(size.get("width")), stated_number(size.get("height"))]
    scale = Scale()
    if all(each is not None for each in sizes):
        in_metres = [float(each) for each in sizes if each is not None]
        scale = (
            stated_scale([each * 1e-9 for each in in_metres], "1/nm")
            if unit == "1/m"
            else stated_scale(in_metres, unit, voltage)
        )
    return Recorded(
        found.counts,
        "Velox EMD",
        scale.inv_angstrom,
        voltage,
        (*found.warnings, *scale.warnings),
        images=found.images,
    )


def _velox_metadata(dataset: Any) -> dict[str, Any]:
    """The JSON text of the first image; empty where there is none."""
    if not _is_kept_here(dataset) or dataset.ndim != 2 or dataset.dtype != np.uint8:
        return {}
    if dataset.shape[0] > LONGEST_METADATA or dataset.shape[1] < 1:
        return {}
    text = dataset[:, 0].tobytes().split(b"\0")[0]
    try:
        stated = json.loads(text)
    except ValueError:
        return {}
    return (
        {key: value for key, value in stated.items() if isinstance(value, dict)}
        if isinstance(stated, dict)
        else {}
    )


def _generic(dataset: Any, choice: Choice) -> Recorded:
    """The last two axes are a frame's, unless HyperSpy or the Berkeley EMD says otherwise."""
    group = dataset.parent
    axes = [_axis(group, number, dataset) for number in range(dataset.ndim)]
    frame = [number for number, axis in enumerate(axes) if not axis.navigate][-2:]
    if len(frame) < 2:
        frame = [dataset.ndim - 2, dataset.ndim - 1]
    found = _Images(dataset, (frame[0], frame[1])).chosen(choice)
    volts = _energy(group)
    steps = [axes[number].scale for number in frame]
    known = [step for step in steps if step is not None]
    scale = stated_scale(known if len(known) == 2 else (), axes[frame[0]].unit, volts)
    return Recorded(
        found.counts,
        "HDF5",
        scale.inv_angstrom,
        volts,
        (*found.warnings, *scale.warnings),
        images=found.images,
    )


@dataclass(frozen=True)
class _Axis:
    scale: float | None = None
    unit: str = ""
    navigate: bool = False


def _axis(group: Any, number: int, dataset: Any) -> _Axis:
    """Of HyperSpy's `axis-0`, ... or of the Berkeley EMD's `dim1`, ..."""
    own = _own(group, f"axis-{number}")
    if isinstance(own, h5py.Group):
        attributes = own.attrs
        return _Axis(
            stated_number(attributes.get("scale")),
            _text(attributes.get("units")),
            bool(attributes.get("navigate", False)),
        )
    steps = _own(group, f"dim{number + 1}")
    if _is_kept_here(steps) and steps.ndim == 1 and steps.size >= 2 and steps.dtype.kind in "uif":
        first, second = steps[:2].tolist()
        return _Axis(
            abs(float(second) - float(first)), _text(steps.attrs.get("units")), number < dataset.ndim - 2
        )
    return _Axis(navigate=number < dataset.ndim - 2)


def _energy(group: Any) -> float | None:
    """HyperSpy's beam energy."""
    path = ("metadata", "Acquisition_instrument", "TEM")
    for name in path:
        group = _own(group, name)
        if not isinstance(group, h5py.Group):
            return None
    return stated_voltage(stated_number(group.attrs.get("beam_energy")))


def _own(group: Any, name: str) -> Any:
    """A part of a group, kept in this file; None where there is none."""
    return group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip("[] _")
    return value if isinstance(value, str) else ""
