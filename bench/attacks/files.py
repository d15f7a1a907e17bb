"""Small files that state or inflate to gigabytes, and texts that cost the square of their length."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import tifffile
from PIL import Image


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, content: bytes, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header), *more, _chunk(b"IDAT", content), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _zeros(size: int) -> bytes:
    """Return `size` zeros, deflated as one repeated block; `size` is a multiple of one mebibyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + block * (size // 2**20) + b"\x03\0" + struct.pack(">I", (size % 65521) << 16 | 1)


def _png_with_a_huge_text() -> bytes:
    text = _chunk(b"zTXt", b"a\0\0" + _zeros(2**28))
    return _png(64, 64, zlib.compress(bytes(64 * 129)), text)


def _mrc(
    nx: int, ny: int, nz: int, extended: int = 0, mode: int = 1, kind: bytes = b"    ", rest: int = 0
) -> bytes:
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, nx, ny, nz, mode)
    struct.pack_into("<i", header, 92, extended)
    header[104:108], header[208:216] = kind, b"MAP DD\0\0"
    return bytes(header) + bytes(rest)


def _hdf5(fill: Callable[[Any], None]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


def _hdf5_of_size(shape: tuple[int, ...], chunks: tuple[int, ...]) -> bytes:
    return _hdf5(lambda file: file.create_dataset("data", shape, "u2", chunks=chunks, compression="gzip"))


def _hdf5_that_inflates() -> bytes:
    def fill(file: Any) -> None:
        chunk = (8192, 8192)
        data = file.create_dataset("data", chunk, "f8", chunks=chunk, compression="gzip")
        data.id.write_direct_chunk((0, 0), _zeros(8 * 8192 * 8192))

    return _hdf5(fill)


def _hdf5_of_many(count: int) -> bytes:
    def fill(file: Any) -> None:
        for number in range(count):
            file.create_dataset(f"d{number}", (4000, 4000), "u2")

    return _hdf5(fill)


def _hdf5_of_a_huge_attribute() -> bytes:
    def fill(file: Any) -> None:
        data = file.create_dataset("data", (256, 256), "u2")
        file["big"] = h5py.Empty("f8")
        data.attrs["units"] = np.bytes_(b"a" * 60_000)

    return _hdf5(fill)


def _tiff(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def _set_tag(data: bytes, tag: int, value: int) -> bytes:
    """Overwrite a tag of a little-endian TIFF, as a 32-bit integer."""
    for kind in (3, 4):
        at = data.find(struct.pack("<HH", tag, kind))
        if at >= 0:
            return data[:at] + struct.pack("<HHII", tag, 4, 1, value) + data[at + 12 :]
    raise ValueError(tag)


def _tiff_with_a_huge_tile() -> bytes:
    data = _tiff(np.zeros((128, 128), np.uint16), tile=(128, 128), compression="zlib")
    return _set_tag(_set_tag(data, 322, 32768), 323, 32768)


def _tiff_with_a_huge_strip() -> bytes:
    data = _tiff(np.zeros((128, 128), np.uint16), compression="zlib")
    return _set_tag(data, 278, 2**31)


def _tiff_of_many_pages() -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for _ in range(3000):
            writer.write(np.zeros((16, 16), np.uint8), contiguous=False)
    return buffer.getvalue()


def _tiff_that_inflates() -> bytes:
    data = _tiff(np.zeros((64, 64), np.uint16), compression="zlib", rowsperstrip=64)
    content = _zeros(2**30)
    data = _set_tag(_set_tag(data, 273, len(data)), 279, len(content))
    return data + content


def _array(shape: str, kind: str = "<u2", version: int = 1) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


def _npz(content: bytes, size: int, names: int = 1) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(names):
            with archive.open(f"a{number}.npy", "w") as file:
                file.write(content)
                for _ in range(size // 2**20):
                    file.write(bytes(2**20))
    return buffer.getvalue()


def _bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 200, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(100)
    )


def _jpeg(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(buffer, "JPEG")
    data = buffer.getvalue()
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def _blockfile(nx: int, ny: int, size: int) -> bytes:
    header = b"IMGBLO" + struct.pack("<HIIII", 0x102, 1024, 1024 + nx * ny, 0, 0)
    return (header + struct.pack("<HHHH", size, size, nx, ny)).ljust(2000, b"\0")


def _dm(entries: int) -> bytes:
    return struct.pack(">III", 3, 2**31 - 1, 1) + b"\1\1" + struct.pack(">I", entries) + b"\x14\0\0" * 300_000


def _dm_nested(depth: int) -> bytes:
    group = b"\x14\0\0\1\1\0\0\0\1"
    return struct.pack(">III", 3, 16 + depth * len(group), 1) + b"\1\1\0\0\0\1" + group * depth


def _mib(width: int, height: int) -> bytes:
    return f"MQ1,000001,00384,01,{width:04},{height:04},U16,   1x1,01,".encode().ljust(384, b" ") + bytes(
        2000
    )


def _ser(count: int) -> bytes:
    return b"II\x97\x01" + struct.pack("<HIIIIII", 0x210, 0x4122, 0x4152, count, count, 30, 1) + bytes(2000)


SMALL_FILES: dict[str, Callable[[], bytes]] = {
    "MRC that states a header of 2 GiB": lambda: _mrc(256, 256, 1, 2**31 - 1),
    "MRC that states a header of 2 GiB of FEI": lambda: _mrc(256, 256, 1, 2**31 - 1, kind=b"FEI1", rest=4096),
    "MRC of two billion images": lambda: _mrc(64, 64, 2**31 - 1, rest=8192),
    "MRC of 8192 pixels": lambda: _mrc(8192, 8192, 1, mode=2, rest=100),
    "HDF5 that was never written": lambda: _hdf5_of_size((8000, 8000), (8000, 8000)),
    "HDF5 of many images never written": lambda: _hdf5_of_size((100_000, 4000, 4000), (1, 4000, 4000)),
    "HDF5 with a chunk of 4 GB": lambda: _hdf5_of_size((32000, 60000), (32000, 60000)),
    "HDF5 that inflates to 512 MB": _hdf5_that_inflates,
    "HDF5 of 2,000 datasets": lambda: _hdf5_of_many(2000),
    "HDF5 with a long attribute": _hdf5_of_a_huge_attribute,
    "TIFF with a tile of 32768 pixels": _tiff_with_a_huge_tile,
    "TIFF with a strip of two billion rows": _tiff_with_a_huge_strip,
    "TIFF of 3,000 pages": _tiff_of_many_pages,
    "TIFF that inflates to 1 GiB": _tiff_that_inflates,
    "PNG that inflates to 10 GiB": lambda: _png(64, 64, _zeros(10 * 2**30)),
    "PNG of 8192 pixels, of zeros": lambda: _png(8192, 8192, _zeros(129 * 2**20)),
    "PNG with a text that inflates": _png_with_a_huge_text,
    "JPEG of 65,500 pixels": lambda: _jpeg(65_500, 65_500),
    "JPEG of 8,190 pixels": lambda: _jpeg(8_190, 8_190),
    "BMP of 8,190 pixels": lambda: _bmp(8_190, 8_190),
    "NPY of 8,000 pixels, of complex numbers": lambda: _array("(8000, 8000)", "<c16"),
    "NPY with a header of 3 MB": lambda: _array("(" * 3_000_000, version=2),
    "NPY of 5,000 axes": lambda: _array("(" + "1, " * 5_000 + ")", version=1),
    "NPZ that inflates to 200 MB": lambda: _npz(_array("(8192, 8192)", "<f4"), 2**28),
    "NPZ of 5,000 arrays": lambda: _npz(_array("(1, 1)"), 0, 5_000),
    "Blockfile of 65,535 pixels": lambda: _blockfile(65535, 65535, 65535),
    "DigitalMicrograph of two billion tags": lambda: _dm(2**31 - 1),
    "DigitalMicrograph of nested tags": lambda: _dm_nested(100_000),
    "MIB of 9,999 pixels": lambda: _mib(9999, 9999),
    "SER of two billion images": lambda: _ser(2**31 - 1),
}  # fmt: skip


def _described(text: str) -> bytes:
    return _tiff(np.zeros((64, 64), np.uint16), description=text)


SLOW_TEXTS: dict[str, Callable[[], bytes]] = {
    "line ends": lambda: b"\n" * 65_000,
    "carriage returns": lambda: b"\r" * 2_000_000 + b"1 2 3",
    "one line of decimal commas": lambda: b"1,5;2,5;" * 100_000,
    "decimal commas": lambda: b"1,5;2,5;3,5\n" * 90_000,
    "comments": lambda: b"# a, b; c = 1\n" * 500 + b"1 2 3\n" * 4,
    "many comments": lambda: b"#\n" * 500_000 + b"1 2 3\n" * 4,
    "one endless comment": lambda: b"# " + b"a=1 " * 500_000 + b"\n1 2 3\n" * 4,
    "blanks": lambda: b"1 2 3\n" + b" " * 4_000_000 + b"\n1 2 3\n" * 4,
    "tabs and blanks": lambda: b"\t " * 1_000_000 + b"1",
    "quotes": lambda: b'"' * 1_000_000,
    "semicolons": lambda: b";" * 1_000_000 + b"\n1;2;3",
    "digits": lambda: b"9" * 4_000_000 + b" 1 2\n" * 4,
    "exponents": lambda: b"1e999999999 2 3\n" * 50_000,
    "many columns": lambda: (b"1 " * 50_000 + b"\n") * 10,
    "ragged lines": lambda: b"".join(b"1 " * (n % 60 + 1) + b"\n" for n in range(20_000)),
    "null bytes": lambda: b"x,y,i\n" + b"\0" * 2_000_000,
    "half of UTF-16": lambda: "1 2 3\n".encode("utf-16") * 100_000,
    "TIFF with a description of blanks": lambda: _described(" " * 100_000 + "x"),
    "TIFF with a description of digits": lambda: _described("1" * 200_000),
    "TIFF with a description of equals signs": lambda: _described("a = \n" * 50_000),
    "TIFF with a description of XML": lambda: _described("<OME>" + "<a>" * 30_000),
}  # fmt: skip


def _points(count: int, effort: str) -> bytes:
    points = [[round(n * 0.618 % 2 - 1, 5), round(n * 0.7548 % 2 - 1, 5), n % 97 + 1] for n in range(count)]
    return json.dumps({"points": points, "effort": effort}).encode()


JSON_TEXTS: dict[str, Callable[[], bytes]] = {
    "nested": lambda: b'{"points": ' + b"[" * 300_000,
    "a number of a million digits": lambda: b'{"points": [[1' + b"0" * 1_000_000 + b",1,1]]}",
    "a million numbers of one point": lambda: b'{"points": [[' + b"1," * 1_000_000 + b"1]]}",
    "100,000 points": lambda: b'{"points": [' + b"[0.1,0.2,3]," * 99_999 + b"[0.2,0.1,3]]}",
    "100,000 different points": lambda: _points(100_000, "search"),
    "3,000 points, full": lambda: _points(3000, "full"),
    "a million keys": lambda: b"{" + b",".join(b'"k%d":1' % n for n in range(300_000)) + b"}",
    "keys twice": lambda: b'{"points": [],' * 1 + b'"points": [],' * 200_000 + b'"a": 1}',
    "escapes": lambda: b'{"units": "' + b"\\u0061" * 1_000_000 + b'"}',
    "elements": lambda: b'{"points": [[1,0,1],[0,1,1],[1,1,1]], "elements_all": [' + b'"Mo",' * 1_000_000 + b'"S"]}',
}  # fmt: skip


def build_large_frame(side: int = 8000) -> bytes:
    """Return a TIFF of 64 million pixels that compresses well and is neither blank nor a pattern."""
    rng = np.random.default_rng(1)
    row = np.tile(rng.integers(0, 200, 500).astype(np.uint8), side // 500)
    return _tiff(np.tile(row, (side, 1)), compression="zlib", rowsperstrip=64)
