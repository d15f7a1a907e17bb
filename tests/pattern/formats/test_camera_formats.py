"""Every format is read as it was written, counts, scale and voltage; implausible statements are ignored."""

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from model.electrons import electron_wavelength_angstrom
from model.errors import NoSpotsError, OptionError, TooLargeError, UnreadableError
from model.pattern.formats.read_frame import read_frame, read_frames
from tests.paths import SHARED
from tests.pattern.formats.camera_files import (
    DmWriter,
    blo,
    every_format,
    hspy,
    mib,
    mrc,
    npy,
    npz,
    picture,
    ser,
    tiff,
    velox,
)

FORMATS = SHARED / "data" / "patterns" / "formats"
IMAGE = (np.arange(40 * 48).reshape(40, 48) % 1999).astype(np.uint16)
STACK = np.stack([IMAGE, IMAGE[::-1], IMAGE.T.reshape(40, 48)])


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("kind", ["<i2", "<u2", "<i4", "<f4", "<u4"])
def test_reads_digital_micrograph(version: int, kind: str) -> None:
    frame = read_frame(DmWriter(version).file(IMAGE.astype(kind)))
    assert np.array_equal(frame.counts, IMAGE)
    assert frame.source_format == f"DM{version}"
    assert frame.pixel_size_inv_angstrom == pytest.approx(0.005)
    assert frame.voltage_kv == 200.0
    assert frame.warnings == ()


def test_a_small_image_of_digital_micrograph_is_not_text() -> None:
    image = (np.arange(32 * 32).reshape(32, 32) % 999).astype(np.uint16)
    assert np.array_equal(read_frame(DmWriter(3).file(image)).counts, image)


@pytest.mark.parametrize(
    ("scale", "unit", "expected", "warning"),
    [
        (0.05, "1/nm", 0.005, ""),
        (0.005, "1/Å", 0.005, ""),
        (0.2, "mrad", 0.2e-3 / electron_wavelength_angstrom(200), ""),
        (1.0, "", None, ""),
        (8.0, "", None, ""),
        (0.2, "nm", None, "real-space scale"),
        (50.0, "1/nm", None, "impossible"),
        (0.0, "1/nm", None, ""),
        (float("nan"), "1/nm", None, ""),
    ],
)
def test_accepts_only_a_plausible_scale(
    scale: float, unit: str, expected: float | None, warning: str
) -> None:
    frame = read_frame(DmWriter(3).file(IMAGE, scale, unit))
    assert frame.pixel_size_inv_angstrom == (None if expected is None else pytest.approx(expected))
    assert warning in " ".join(frame.warnings)


def test_warns_of_a_camera_length_and_does_not_use_it() -> None:
    frame = read_frame(DmWriter(3).file(IMAGE, 1.0, "", volts=80e3, length_mm=300))
    assert frame.pixel_size_inv_angstrom is None
    assert "about 0.001118 1/angstrom" in frame.warnings[0]  # 0.014 mm / (300 mm * 0.04176 angstrom)


def test_ignores_the_voltage_of_an_idle_microscope() -> None:
    assert read_frame(DmWriter(4).file(IMAGE, volts=0.0)).voltage_kv is None


def test_reads_tia_series() -> None:
    data = ser(STACK.astype("<f4"), 1.5e8)
    frame = read_frame(data)
    assert np.array_equal(frame.counts, STACK[0])
    assert frame.pixel_size_inv_angstrom == pytest.approx(0.015)
    assert "several images" in frame.warnings[0]
    assert np.array_equal(read_frame(data, 1).counts, STACK[1])
    # Meters of real space are not the scale of a pattern.
    assert read_frame(ser(STACK, 1.5e-10)).pixel_size_inv_angstrom is None


def test_reads_merlin_and_blockfile_scans() -> None:
    assert np.array_equal(read_frame(mib(STACK), 2).counts, STACK[2])
    square = (STACK[:, :40, :40] % 251).astype(np.uint8)
    frame = read_frame(blo(square), 1)
    assert np.array_equal(frame.counts, square[1])
    assert frame.voltage_kv == 200.0
    assert frame.pixel_size_inv_angstrom is None
    assert "camera length of 200 mm" in frame.warnings[0]


def test_refuses_raw_merlin_frames() -> None:
    with pytest.raises(UnreadableError, match="raw detector data"):
        read_frame(mib(STACK).replace(b"U16", b"R64"))


@pytest.mark.parametrize("kind", ["int8", "int16", "uint16", "float32"])
def test_ignores_the_pixel_size_of_mrc(kind: str) -> None:
    image = (IMAGE % 100).astype(kind)
    frame = read_frame(mrc(image))
    assert np.array_equal(frame.counts, image)
    assert frame.pixel_size_inv_angstrom is None


def test_reads_velox_and_hyperspy() -> None:
    frame = read_frame(velox(STACK, 1.2e8), 1)
    assert np.array_equal(frame.counts, STACK[1])
    assert frame.pixel_size_inv_angstrom == pytest.approx(0.012)
    assert frame.voltage_kv == 300.0
    frame = read_frame(hspy(STACK, 0.1, "nm^-1"), "sum")
    assert np.array_equal(frame.counts, STACK.sum(axis=0, dtype=np.float32))
    assert frame.pixel_size_inv_angstrom == pytest.approx(0.01)
    assert frame.voltage_kv == 80.0


def test_reads_numpy_files() -> None:
    assert np.array_equal(read_frame(npy(np.asfortranarray(IMAGE))).counts, IMAGE)
    assert np.array_equal(read_frame(npy(STACK), 2).counts, STACK[2])
    assert np.array_equal(read_frame(npy(np.asfortranarray(STACK)), 2).counts, STACK[2])
    assert np.array_equal(read_frame(npz(note=np.zeros(3), pattern=IMAGE)).counts, IMAGE)
    four = STACK[:2, None].repeat(2, axis=1)
    assert np.array_equal(read_frame(npy(four), 3).counts, STACK[1])


def test_never_opens_pickled_objects() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[object()] * 40] * 40), allow_pickle=True)
    with pytest.raises(UnreadableError, match="never opened"):
        read_frame(buffer.getvalue())


def test_reads_bmp_and_jpeg() -> None:
    gray = (IMAGE % 251).astype(np.uint8)
    assert np.array_equal(read_frame(picture(gray, "BMP")).counts, gray)
    frame = read_frame(picture(np.full((40, 40), 7, np.uint8), "JPEG", quality=95))
    assert frame.counts == pytest.approx(7.0, abs=1)
    assert "JPEG" in frame.warnings[0]


def test_selects_one_of_several_pages_or_their_sum() -> None:
    data = tiff(STACK, photometric="minisblack")
    assert np.array_equal(read_frame(data, 2).counts, STACK[2])
    assert np.array_equal(read_frame(data, "sum").counts, STACK.sum(axis=0, dtype=np.float32))
    with pytest.raises(OptionError, match="no image 3; choose frame=0 to 2"):
        read_frame(data, 3)


def test_does_not_follow_links_to_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data"] = IMAGE
    raw = tmp_path / "raw.bin"
    raw.write_bytes(IMAGE.tobytes())
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["linked"] = h5py.ExternalLink(str(secret), "/data")
        file.create_dataset("outside", IMAGE.shape, IMAGE.dtype, external=[(str(raw), 0, h5py.h5f.UNLIMITED)])
        layout = h5py.VirtualLayout(IMAGE.shape, IMAGE.dtype)
        layout[:] = h5py.VirtualSource(str(secret), "data", IMAGE.shape)
        file.create_virtual_dataset("virtual", layout)
    with pytest.raises(NoSpotsError, match="upload the file with the data"):
        read_frame(buffer.getvalue())


def test_names_an_unsupported_mode_of_mrc() -> None:
    data = bytearray(mrc(STACK.astype(np.int16)))
    data[12:16] = (101).to_bytes(4, "little")
    with pytest.raises(UnreadableError, match="mode 101, which is not supported; save the frame as"):
        read_frame(bytes(data))


def test_does_not_read_axes_stored_in_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"Zse" * 40)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["data"] = IMAGE
        for name in ("dim1", "dim2"):
            steps = file.create_dataset(name, (2,), "u1", external=[("/dev/zero", 0, 1), (str(secret), 0, 1)])
            steps.attrs["units"] = "1/nm"
    assert read_frame(buffer.getvalue()).warnings == ()


def test_refuses_archives_and_pictures_that_cost_more_than_they_hold() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("pattern.npy", bytes(10**6))
    with pytest.raises(UnreadableError, match="unusual compression"):
        read_frame(buffer.getvalue())
    jpeg = picture((IMAGE % 251).astype(np.uint8), "JPEG", progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    with pytest.raises(UnreadableError, match="too many scans"):
        read_frame(jpeg[:-2] + 200 * last + jpeg[-2:])
    sparse = tiff(np.zeros((64, 64), np.uint16))
    with pytest.raises(UnreadableError, match="more pixels than it contains"):
        read_frame(sparse[: len(sparse) // 3])
    noisy = np.zeros((600, 600), np.uint8)
    noisy[::2, ::2] = 200
    noisy[560:570, 200:400] = 255
    frame = read_frame(picture(noisy, "PNG"))
    assert "cannot be read" in frame.warnings[0]


@pytest.mark.parametrize("unit", ["$A^{-1}$", "A^{-1}", "1/Å", "Å⁻¹"])
def test_reads_units_as_other_programs_write_them(unit: str) -> None:
    assert read_frame(hspy(STACK, 0.01, unit)).pixel_size_inv_angstrom == pytest.approx(0.01)


def test_warns_of_an_unknown_unit() -> None:
    assert "unknown unit ('furlongs')" in read_frame(hspy(STACK, 0.01, "furlongs")).warnings[1]


def test_refuses_files_that_would_unpack_without_end() -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("huge", (2, 40_000, 40_000), "u2", chunks=(2, 4000, 4000), compression="gzip")
    with pytest.raises(TooLargeError):
        read_frame(buffer.getvalue())
    header = npy(IMAGE).replace(b"(40, 48)", b"(40000, 40000)")
    with pytest.raises((TooLargeError, UnreadableError)):
        read_frame(header)


@pytest.mark.parametrize("name", list(every_format(IMAGE)))
def test_truncated_files_are_unreadable(name: str) -> None:
    image = IMAGE[:40, :40] * 30
    data = every_format(image)[name]
    for length in (len(data) // 3, len(data) * 3 // 4):
        try:
            frame = read_frame(data[:length])
        except (UnreadableError, NoSpotsError):
            continue
        # A series may only have lost its last images, and a JPEG its last rows.
        assert name in {"mib", "blo", "ser", "npy", "velox", "jpeg"}, name
        assert frame.shape == image.shape


needs_shared = pytest.mark.skipif(not FORMATS.exists(), reason="needs the patterns of ../shared/data")
KNOWN: dict[str, tuple[Any, ...]] = {
    # As another library (RosettaSciIO 0.14) reads them: shape, 1/angstrom per pixel, kilovolts, minimum and maximum.
    "64x64_diffraction_acquire_1.ser": ((64, 64), 0.010157199619, None, -591.50824, 2531.0286),
    "Camera_Ceta_Diffraction_Micro.emd": ((512, 512), 0.0114429680199, 300.0, -10, 7),
    "JEOL-SightX-SAED-dummy.tif": ((556, 556), 0.02722542485800745, 200.0, 513, 513),
    "bismuth.dm4": ((256, 256), None, 90.0, -100, -5),
    "dd020.dm3": ((256, 256), None, 300.0, -91, 33056),
    "hotspots.tif": ((256, 256), None, None, 0, 2001),
    "test.mib": ((256, 256), None, None, 0, 717),
    "test1.blo": ((144, 144), None, 200.0, None, None),
    "test_diffraction_pattern.dm3": ((87, 87), 0.017443285882, 200.0, 625, 2974),
}


@needs_shared
@pytest.mark.parametrize("name", KNOWN)
def test_reads_files_of_microscopes_like_another_library(name: str) -> None:
    frame = read_frame((FORMATS / name).read_bytes())
    shape, size, voltage, minimum, maximum = KNOWN[name]
    assert frame.shape == shape
    assert frame.pixel_size_inv_angstrom == (None if size is None else pytest.approx(size, rel=1e-5))
    assert frame.voltage_kv == voltage
    if minimum is not None:
        assert (frame.counts.min(), frame.counts.max()) == (pytest.approx(minimum), pytest.approx(maximum))


@needs_shared
@pytest.mark.parametrize("name", ["64x64_diffraction_acquire.emi", "au_145mm_68kx_microprobe_01_master.h5"])
def test_a_file_without_data_names_the_file_that_has_it(name: str) -> None:
    with pytest.raises(NoSpotsError, match=r"upload the (\.ser )?file"):
        read_frame((FORMATS / name).read_bytes())


@pytest.mark.parametrize(
    "data",
    [
        npy(STACK),
        npy(np.asfortranarray(STACK)),
        tiff(STACK, photometric="minisblack"),
        mib(STACK),
        mrc(STACK.astype(np.int16)),
        ser(STACK, 1e8),
        velox(STACK, 1e8),
        hspy(STACK, 0.05, "1/nm"),
    ],
    ids=["npy", "fortran", "tiff", "mib", "mrc", "ser", "velox", "hspy"],
)
def test_reads_several_images_as_each_by_itself(data: bytes) -> None:
    series = read_frames(data, range(1, 9))
    assert series.total == 3
    assert len(series.frames) == 2
    for number, frame in enumerate(series.frames, start=1):
        alone = read_frame(data, number)
        assert np.array_equal(frame.counts, alone.counts)
        assert frame.pixel_size_inv_angstrom == alone.pixel_size_inv_angstrom
    with pytest.raises(OptionError, match="no image 3"):
        read_frames(data, range(3, 4))


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_a_picture_is_one_image(kind: str) -> None:
    series = read_frames(picture(IMAGE.astype(np.uint8), kind), range(5))
    assert series.total == len(series.frames) == 1
