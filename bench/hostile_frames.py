"""Hostile NumPy, DigitalMicrograph, HDF5 and other camera files, and zips, of any size."""

import io
import struct
import zipfile
from collections.abc import Callable
from functools import partial

import h5py

from bench.hostile_pictures import list_bmps, list_jpegs, list_pngs
from bench.hostile_repeats import Make, Makers, repeat
from bench.hostile_tiff import list_tiffs

SIDE = 64
_BLANK = bytes(SIDE * SIDE)


def list_npys() -> Makers:
    units = (
        b"(", b"[", b"{", b"-", b"1", b"1,", b"'a',", b" ", b"\n", b"#", b"~", b"not ", b"lambda:", b"1L,", b"f'",
        b"\\\n", b"a.", b"a if ",
    )  # fmt: skip
    for unit in units:
        for before in (
            b"",
            b"{'descr': '<u2', 'fortran_order': False, 'shape': (",
            b"{'descr': '",
            b"{'descr': [('a', ",
        ):
            for version in (1, 2):
                name = f"header {before[:8]!r} {unit!r}, version {version}"
                yield name, partial(_make_npy, before, unit, version, 2**30)
                yield f"short {name}", partial(_make_npy, before, unit, version, 9500)


def _make_npy(before: bytes, unit: bytes, version: int, limit: int, size: int) -> bytes:
    header = before + unit * (min(size, limit) // len(unit))
    length = struct.pack("<I", len(header)) if version > 1 else struct.pack("<H", min(len(header), 65535))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header


def list_others() -> Makers:
    for unit in (b",", b"9", b" ", b"1,", b"U16,", b"\0"):
        yield f"MIB of {unit!r}", repeat(unit, b"MQ1,1,")
        yield f"MIB with a long number of {unit!r}", repeat(unit, b"MQ1,1,384,1,", b",64,U16,")
    for unit in (b"High tensio", b"<", b"Acceleratin", b"\0"):
        yield f"EMI of {unit!r}", repeat(unit, b"JK\x00\x02")
    yield "SER of many images", _make_ser
    yield "MRC with an extended header", _make_mrc
    yield "MRC with an extended header of FEI", partial(_make_mrc, kind=b"FEI1")
    scan = struct.pack("<HIIIHHHHHddIHI", 0x102, 64, 64, 0, 32, 0, 65535, 65535, 0, 1, 1, 0, 0, 0)
    yield "BLO", repeat(b"\0", b"IMGBLO" + scan)
    for version in (3, 4):
        tags = {
            "numbers": _dm_value(version, b"", (8,), b"\1"),
            "texts": _dm_value(version, b"", (20, 4, 500), bytes(1000)),
            "empty groups": _dm_group(version, b"a", 0),
            "deep groups": _dm_group(version, b"a", 1) * 60 + _dm_group(version, b"a", 0),
        }
        for name, tag in tags.items():
            yield f"DM{version} of {name}", partial(_make_dm, version, tag, b"a")
        yield f"DM{version} of images", partial(_make_dm, version, _dm_image(version), b"ImageList")
        yield f"DM{version} of structures", partial(_make_dm_structure, version, (15,))
        yield f"DM{version} of arrays of structures", partial(_make_dm_structure, version, (20, 15))


def _make_ser(size: int) -> bytes:
    count = min(size // 4, 900_000)
    head = b"II\x97\x01" + struct.pack("<HIIIIII", 0x210, 0x4122, 0x4152, count, count, 30, 1)
    return head.ljust(30, b"\0") + struct.pack("<I", 30 + 4 * count) * count + bytes(50)


def _make_mrc(size: int, kind: bytes = b"\0\0\0\0") -> bytes:
    head = bytearray(1024)
    head[:16] = struct.pack("<4i", SIDE, SIDE, 1, 0)
    head[92:96], head[104:108], head[208:214] = struct.pack("<i", size), kind, b"MAP DD"
    return bytes(head) + b"\1\0\0\0" * (size // 4) + _BLANK


def _dm_size(version: int, number: int) -> bytes:
    return struct.pack(">Q" if version == 4 else ">I", number)


def _dm_tag(version: int, kind: int, name: bytes, body: bytes) -> bytes:
    length = _dm_size(version, len(body)) if version == 4 else b""
    return struct.pack(">BH", kind, len(name)) + name + length + body


def _dm_value(version: int, name: bytes, layout: tuple[int, ...], data: bytes) -> bytes:
    sizes = b"".join(_dm_size(version, number) for number in (len(layout), *layout))
    return _dm_tag(version, 21, name, b"%%%%" + sizes + data)


def _dm_group(version: int, name: bytes, count: int, tags: bytes = b"") -> bytes:
    return _dm_tag(version, 20, name, b"\1\0" + _dm_size(version, count) + tags)


def _make_dm(version: int, tag: bytes, name: bytes, size: int) -> bytes:
    count = max(size // len(tag), 1)
    root = b"\1\0" + _dm_size(version, 1) + _dm_group(version, name, count, tag * count)
    return struct.pack(">I", version) + _dm_size(version, 0) + b"\0\0\0\1" + root


def _make_dm_structure(version: int, kind: tuple[int, ...], size: int) -> bytes:
    count = size // len(_dm_size(version, 0)) // 2
    layout = (*kind, 0, count, *(0, 8) * count, *(1,) * (len(kind) - 1))
    return _make_dm(version, _dm_value(version, b"", layout, bytes(count)), b"a", 1)


def _dm_image(version: int) -> bytes:
    side = _dm_value(version, b"", (5,), struct.pack("<I", SIDE))
    data = _dm_value(version, b"Data", (20, 10, 4), bytes(4))
    kind = _dm_value(version, b"DataType", (5,), b"\6\0\0\0")
    content = data + kind + _dm_group(version, b"Dimensions", 2, side * 2)
    return _dm_group(version, b"", 1, _dm_group(version, b"ImageData", 3, content))


def hdf5(write: Callable[[h5py.File, int], None]) -> Make:
    def make(size: int) -> bytes:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver="latest") as file:
            write(file, size)
        return buffer.getvalue()

    return make


def list_hdf5s() -> Makers:
    def groups(file: h5py.File, size: int) -> None:
        for number in range(size // 120):
            file.create_group(f"g{number}")

    def deep(file: h5py.File, size: int) -> None:
        file.create_group("/".join(["a"] * (size // 150)))

    def attributes(file: h5py.File, size: int) -> None:
        for number in range(size // 60):
            file.attrs[f"a{number}"] = 1

    def datasets(file: h5py.File, size: int) -> None:
        for number in range(size // 300):
            file.create_dataset(f"d{number}", (SIDE, SIDE), "u1")

    def links(file: h5py.File, size: int) -> None:
        group = file.create_group("a")
        for number in range(size // 50):
            group[f"l{number}"] = group

    yield "groups", hdf5(groups)
    yield "deep groups", hdf5(deep)
    yield "attributes", hdf5(attributes)
    yield "datasets", hdf5(datasets)
    yield "links in circles", hdf5(links)


def list_zips() -> Makers:
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, 0, 0, 0)
    for unit in (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK", b"PK\6\6", b"PK\6\7", b"\0", entry, end):
        yield f"parts {unit[:4]!r}", repeat(unit, b"PK\3\4", end)
    yield "members", _zip_of(lambda number: f"{number}", 120)
    yield "members of one name", _zip_of(lambda _: "a", 100)
    yield "members of long names", _zip_of(lambda number: f"{number:04}" + "a/" * 20000, 80000)
    yield "folders", _zip_of(lambda number: f"{number}/", 120)


def _zip_of(name: Callable[[int], str], bytes_each: int) -> Make:
    def make(size: int) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for number in range(size // bytes_each):
                archive.writestr(zipfile.ZipInfo(name(number)), b"1 2 3")
        return buffer.getvalue()

    return make


FRAMES: dict[str, Callable[[], Makers]] = {
    "TIFF": list_tiffs,
    "PNG": list_pngs,
    "JPEG": list_jpegs,
    "BMP": list_bmps,
    "NPY": list_npys,
    "other frames": list_others,
    "HDF5": list_hdf5s,
}
