"""Small files of every camera format, written by hand or by the library of the format."""

import io
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Image2D = NDArray[Any]

_DM_TYPES = {"<i2": (1, 2), "<f4": (2, 6), "<i4": (7, 3), "<u2": (10, 4), "|u1": (6, 10), "<u4": (11, 5)}


class DmWriter:
    """Writes the tags of a DM3 or DM4 file."""

    def __init__(self, version: int) -> None:
        self.wide = version == 4
        self.version = version

    def size(self, number: int) -> bytes:
        return struct.pack(">Q" if self.wide else ">I", number)

    def tag(self, kind: int, name: str, body: bytes) -> bytes:
        label = name.encode("latin-1")
        wide = struct.pack(">Q", len(body)) if self.wide else b""
        return struct.pack(">BH", kind, len(label)) + label + wide + body

    def group(self, name: str, *tags: bytes) -> bytes:
        return self.tag(20, name, b"\1\0" + self.size(len(tags)) + b"".join(tags))

    def value(self, name: str, layout: tuple[int, ...], data: bytes) -> bytes:
        body = b"%%%%" + self.size(len(layout)) + b"".join(self.size(number) for number in layout)
        return self.tag(21, name, body + data)

    def text(self, name: str, text: str) -> bytes:
        data = text.encode("utf-16-le")
        return self.value(name, (20, 4, len(data) // 2), data)

    def real(self, name: str, number: float) -> bytes:
        return self.value(name, (7,), struct.pack("<d", number))

    def whole(self, name: str, number: int) -> bytes:
        return self.value(name, (5,), struct.pack("<I", number))

    def image(self, stack: NDArray[Any], scale: float, unit: str) -> bytes:
        data_type, code = _DM_TYPES[stack.dtype.str]
        sizes = [self.whole("", size) for size in reversed(stack.shape)]
        dimension = self.group("", self.real("Scale", scale), self.text("Units", unit))
        return self.group(
            "ImageData",
            self.group("Calibrations", self.group("Dimension", dimension, dimension)),
            self.value("Data", (20, code, stack.size), stack.tobytes()),
            self.whole("DataType", data_type),
            self.group("Dimensions", *sizes),
        )

    def file(
        self,
        stack: NDArray[Any],
        scale: float = 0.05,
        unit: str = "1/nm",
        volts: float = 200e3,
        length_mm: float = 0,
    ) -> bytes:
        thumbnail = self.group(
            "",
            self.group(
                "ImageData",
                self.value("Data", (20, 5, 100), bytes(400)),
                self.whole("DataType", 23),
                self.group("Dimensions", self.whole("", 10), self.whole("", 10)),
            ),
        )
        microscope = self.group(
            "Microscope Info", self.real("Voltage", volts), self.real("STEM Camera Length", length_mm)
        )
        camera = self.group(
            "Acquisition",
            self.group(
                "Frame",
                self.group(
                    "CCD",
                    self.value("Pixel Size (um)", (15, 0, 2, 0, 6, 0, 6), struct.pack("<ff", 14.0, 14.0)),
                ),
            ),
        )
        content = self.group("", self.image(stack, scale, unit), self.group("ImageTags", microscope, camera))
        root = b"\1\0" + self.size(1) + self.group("ImageList", thumbnail, content)
        return struct.pack(">I", self.version) + self.size(len(root)) + struct.pack(">I", 1) + root


def ser(stack: NDArray[Any], per_meter: float) -> bytes:
    codes = {"|u1": 1, "<u2": 2, "<u4": 3, "<i2": 5, "<i4": 6, "<f4": 7}
    images = []
    for image in stack:
        head = struct.pack(
            "<ddiddiHII", 0.0, per_meter, 0, 0.0, per_meter, 0, codes[image.dtype.str], *reversed(image.shape)
        )
        images.append(head + image[::-1].tobytes())
    first = 30 + 4 * len(images)
    offsets = [first + sum(map(len, images[:number])) for number in range(len(images))]
    head = b"II\x97\x01" + struct.pack("<HIIIIII", 0x210, 0x4122, 0x4152, len(images), len(images), 30, 1)
    return head.ljust(30, b"\0") + struct.pack(f"<{len(offsets)}I", *offsets) + b"".join(images)


def mib(stack: NDArray[np.uint16]) -> bytes:
    height, width = stack.shape[1:]
    parts = []
    for number, image in enumerate(stack, start=1):
        head = f"MQ1,{number:06d},00384,01,{width:04d},{height:04d},U16,1x1,01,2020-01-01".encode()
        parts.append(head.ljust(384, b" ") + image.astype(">u2").tobytes())
    return b"".join(parts)


def blo(stack: NDArray[np.uint8]) -> bytes:
    side = stack.shape[1]
    head = b"IMGBLO" + struct.pack(
        "<HIIIHHHHHddIHI", 0x102, 0x1000, 0x2000, 0, side, 0, len(stack), 1, 0, 1.0, 1.0, 200_000, 6226, 2000
    )
    return head.ljust(0x2000, b"\0") + b"".join(b"\xaa\x55" + bytes(4) + image.tobytes() for image in stack)


def mrc(stack: NDArray[Any]) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".mrc") as temporary:
        with mrcfile.new(temporary.name, overwrite=True) as file:
            file.set_data(stack)
            file.voxel_size = 1.0
        return Path(temporary.name).read_bytes()


def velox(stack: NDArray[Any], per_meter: float, volts: int = 300_000) -> bytes:
    stated = {
        "Optics": {"AccelerationVoltage": str(volts)},
        "BinaryResult": {
            "PixelSize": {"width": str(per_meter), "height": str(per_meter)},
            "PixelUnitX": "1/m",
            "PixelUnitY": "1/m",
        },
    }
    text = np.frombuffer(json.dumps(stated).encode().ljust(600, b"\0"), dtype=np.uint8)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("Data/Image/5c41")
        group["Data"] = np.moveaxis(stack, 0, -1)
        group["Metadata"] = np.repeat(text[:, None], len(stack), axis=1)
    return buffer.getvalue()


def hspy(stack: NDArray[Any], scale: float, unit: str) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("Experiments/scan")
        group.create_dataset("data", data=stack, chunks=(1, *stack.shape[1:]), compression="gzip")
        for number, navigate in enumerate((True, False, False)):
            axis = group.create_group(f"axis-{number}").attrs
            axis["scale"], axis["units"], axis["navigate"] = (1.0 if navigate else scale), unit, navigate
        group.create_group("metadata/Acquisition_instrument/TEM").attrs["beam_energy"] = 80.0
    return buffer.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def picture(image: NDArray[Any], kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=kind, **options)
    return buffer.getvalue()


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def every_format(image: NDArray[np.uint16]) -> dict[str, bytes]:
    """Write one image in each format, twice where the format holds several."""
    stack, eight = np.stack([image, image]), (image // 256).astype(np.uint8)
    return {
        "dm3": DmWriter(3).file(image),
        "dm4": DmWriter(4).file(image),
        "ser": ser(stack, 1e8),
        "mib": mib(stack),
        "blo": blo(np.stack([eight, eight])),
        "mrc": mrc(image.astype(np.int16)),
        "velox": velox(stack, 1e8),
        "hspy": hspy(stack, 0.1, "1/nm"),
        "npy": npy(stack),
        "npz": npz(pattern=image),
        "png": picture(image, "PNG"),
        "jpeg": picture(eight, "JPEG"),
        "bmp": picture(eight, "BMP"),
        "tiff": tiff(image),
    }
