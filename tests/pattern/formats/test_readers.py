import contextlib
import io
import lzma
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from model.errors import DomainError, NoSpotsError, TooLargeError, UnknownFormatError, UnreadableError
from model.pattern.formats.read_frame import read_frame
from model.pattern.frame import Frame
from model.pattern.options import PatternOptions
from model.pattern.read import read_pattern
from tests.paths import SHARED
from tests.pattern.formats.camera_files import picture, tiff

PATTERNS = SHARED / "data" / "patterns"
RAMP = np.arange(48 * 40).reshape(48, 40)


def png(array: NDArray[Any]) -> bytes:
    return picture(array, "PNG")


@pytest.mark.parametrize(
    ("data", "depth"),
    [
        (png((RAMP % 251).astype(np.uint8)), 8),
        (png(RAMP.astype(np.uint16)), 16),
        (tiff((RAMP % 251).astype(np.uint8)), 8),
        (tiff(RAMP.astype(np.uint16)), 16),
        (tiff(RAMP.astype(np.int16)), 16),
        (tiff(RAMP.astype(np.uint32), byteorder=">"), 32),
        (tiff(RAMP.astype(np.float32)), None),
        (tiff(RAMP.astype(np.float64), bigtiff=True), None),
        (tiff(RAMP.astype(np.uint16), compression="zlib"), 16),
    ],
)
def test_reads_gray_frames_as_written(data: bytes, depth: int | None) -> None:
    frame = read_frame(data)
    assert frame.counts.tolist() == (RAMP % 251 if depth == 8 else RAMP).tolist()
    assert frame.bit_depth == depth
    assert frame.pixel_size_inv_angstrom is None
    assert frame.warnings == ()


def test_reduces_color_to_its_mean_with_a_warning() -> None:
    color = np.zeros((40, 40, 3), dtype=np.uint8)
    color[..., 0] = 90
    for data in (png(color), tiff(color, photometric="rgb")):
        frame = read_frame(data)
        assert frame.counts.tolist() == np.full((40, 40), 30).tolist()
        assert "color" in frame.warnings[0]
    assert read_frame(png(np.repeat(color[..., :1], 3, axis=2))).warnings == ()


def test_reads_the_first_of_several_pages_with_a_warning() -> None:
    frame = read_frame(tiff(np.stack([RAMP, RAMP + 1]).astype(np.uint16), photometric="minisblack"))
    assert frame.counts[0, 0] == 0
    assert "several" in frame.warnings[0]


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [
        ("nm\\u207B\\u00B9", 50.0, 0.002),
        ("1/nm", 50.0, 0.002),
        ("1/A", 500.0, 0.002),
        ("nm", 50.0, None),
        ("1/nm", 1.0, None),
    ],
)
def test_reads_the_calibration_of_imagej_if_it_is_reciprocal(
    unit: str, per_unit: float, expected: float | None
) -> None:
    data = tiff(RAMP.astype(np.uint16), imagej=True, resolution=(per_unit, per_unit), metadata={"unit": unit})
    assert read_frame(data).pixel_size_inv_angstrom == (None if expected is None else pytest.approx(expected))


def test_ignores_the_resolution_for_print() -> None:
    data = tiff(RAMP.astype(np.uint16), resolution=(72, 72), resolutionunit="INCH")
    assert read_frame(data).pixel_size_inv_angstrom is None


def test_replaces_pixels_that_are_not_finite_with_a_warning() -> None:
    counts = RAMP.astype(np.float32)
    counts[3, 4] = np.nan
    frame = Frame(counts)
    assert np.isfinite(frame.counts).all()
    assert "1 of 1920 pixels" in frame.warnings[0]
    with pytest.raises(UnreadableError, match="finite"):
        Frame(np.full((40, 40), np.nan, dtype=np.float32))
    with pytest.raises(ValueError, match="read-only"):
        frame.counts[0, 0] = 1


def test_refuses_impossible_sizes_before_decoding() -> None:
    forged = bytearray(png(RAMP.astype(np.uint16)))
    forged[16:24] = (100_000).to_bytes(4, "big") * 2
    with pytest.raises(TooLargeError, match="megapixels"):
        read_frame(bytes(forged))
    with pytest.raises(UnreadableError, match="too small"):
        read_frame(png(np.zeros((8, 8), dtype=np.uint8)))


@pytest.mark.parametrize("shape", [(32, 2100), (2100, 32)])
def test_refuses_narrow_strips(shape: tuple[int, int]) -> None:
    with pytest.raises(UnreadableError, match="too narrow"):
        read_frame(tiff(np.ones(shape, dtype=np.uint16)))


@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "packbits", "tiff_deflate", "tiff_adobe_deflate", "lzma"]
)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_reads_compressed_frames_as_written(compression: str, kind: type) -> None:
    counts: NDArray[Any] = (RAMP % 251).astype(kind)
    buffer = io.BytesIO()
    Image.fromarray(counts).save(buffer, format="TIFF", compression=compression)
    assert read_frame(buffer.getvalue()).counts.tolist() == counts.tolist()


@pytest.mark.parametrize("compress", [zlib.compress, lzma.compress])
def test_expands_a_tiff_no_further_than_its_stated_size(compress: Callable[[bytes], bytes]) -> None:
    """The page has 48 x 40 bytes, and its strip holds 256 MiB of zeros."""
    compression = "zlib" if compress is zlib.compress else "lzma"
    small = tiff(RAMP.astype(np.uint8), compression=compression)
    with tifffile.TiffFile(io.BytesIO(small)) as file:
        tags = file.pages.first.tags
        lengths, offsets = tags["StripByteCounts"], tags["StripOffsets"]
    bomb = compress(bytes(256 * 2**20))
    forged = bytearray(small)
    forged[offsets.valueoffset : offsets.valueoffset + 4] = len(small).to_bytes(4, "little")
    forged[lengths.valueoffset : lengths.valueoffset + 4] = len(bomb).to_bytes(4, "little")
    tracemalloc.start()
    with contextlib.suppress(UnreadableError):
        read_frame(bytes(forged) + bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * 2**20


def test_does_not_count_millions_of_pages() -> None:
    data = tiff(RAMP.astype(np.uint16))
    empty_pages = b"".join(
        b"\x00\x00" + (len(data) + 6 * (page + 1)).to_bytes(4, "little") for page in range(500_000)
    )
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        first = file.pages.first
        pointer = first.offset + 2 + 12 * len(first.tags)
    chained = bytearray(data)
    chained[pointer : pointer + 4] = len(data).to_bytes(4, "little")
    assert "first was read" in read_frame(bytes(chained) + empty_pages).warnings[0]


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x00" * 100])
def test_refuses_other_content_as_of_unknown_format(data: bytes) -> None:
    with pytest.raises(UnknownFormatError):
        read_frame(data)


@pytest.mark.parametrize(
    ("beginning", "name"), [(b"GIF89a", "GIF"), (b"\x1f\x8b", "Unpack"), (b"%PDF", "PDF")]
)
def test_names_unsupported_formats(beginning: bytes, name: str) -> None:
    with pytest.raises(UnknownFormatError, match=name):
        read_pattern(beginning + bytes(range(100)), "frame", PatternOptions())


@pytest.mark.parametrize("data", [png(RAMP.astype(np.uint16)), tiff(RAMP.astype(np.uint16))])
def test_truncated_files_are_unreadable(data: bytes) -> None:
    for length in (10, 20, 60, len(data) // 2):
        with pytest.raises(UnreadableError):
            read_frame(data[:length])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(
        [png(RAMP.astype(np.uint16)), tiff(RAMP.astype(np.uint16)), tiff(RAMP.astype(np.float32))]
    ),
    flips=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), min_size=1, max_size=8),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_end_in_a_domain_error_or_a_frame(kind: bytes, flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(kind)
    for place, value in flips:
        damaged[place % len(damaged)] = value
    with contextlib.suppress(DomainError):  # any other error fails the test
        spots = read_pattern(bytes(damaged), "frame", PatternOptions(pixel_size_inv_angstrom=0.01))
        assert len(spots) >= 3


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_reads_an_upload_by_its_content(render: Callable[..., Any], suffix: str) -> None:
    truth = render(13, size=512)
    counts = truth.counts.astype(np.uint16)
    data = png(counts) if suffix == "png" else tiff(counts)
    spots = read_pattern(data, "points.csv", PatternOptions(pixel_size_inv_angstrom=truth.pixel_size))
    assert spots.center_px == pytest.approx(tuple(truth.center), abs=0.2)


def test_an_export_of_eight_bits_with_clipped_contrast_keeps_its_geometry(render: Callable[..., Any]) -> None:
    truth = render(14, size=512)
    clipped = np.clip(truth.counts / np.percentile(truth.counts, 99.9) * 255, 0, 255).astype(np.uint8)
    spots = read_pattern(png(clipped), "x.png", PatternOptions(pixel_size_inv_angstrom=truth.pixel_size))
    assert spots.center_px == pytest.approx(tuple(truth.center), abs=0.3)


needs_shared = pytest.mark.skipif(not PATTERNS.exists(), reason="needs the patterns of ../shared/data")


@needs_shared
def test_simulated_mos2_is_hexagonal() -> None:
    data = (PATTERNS / "mos2" / "ab_initio_monolayer_mos2.tif").read_bytes()
    spots = read_pattern(data, "mos2.tif", PatternOptions(pixel_size_inv_angstrom=0.012896))
    order = np.argsort(np.linalg.norm(spots.q_inv_angstrom, axis=1))[:6]
    first = spots.q_inv_angstrom[order]
    assert np.linalg.norm(first, axis=1) == pytest.approx(2 / np.sqrt(3) / 3.16, rel=0.01)
    angles = np.sort(np.degrees(np.arctan2(first[:, 1], first[:, 0])))
    assert np.diff(angles) == pytest.approx(60, abs=1)


@needs_shared
def test_recorded_gallium_arsenide_is_calibrated_by_its_file() -> None:
    spots = read_pattern(
        (PATTERNS / "gaas" / "GaAs_110_nm-1_512.tif").read_bytes(), "gaas.tif", PatternOptions()
    )
    assert spots.calibration == "file"
    assert spots.pixel_size_inv_angstrom == pytest.approx(0.00180074, rel=1e-4)
    shortest = np.sort(np.linalg.norm(spots.q_inv_angstrom, axis=1))[:4]
    assert shortest == pytest.approx(np.sqrt(3) / 5.653, rel=0.02)


@needs_shared
@pytest.mark.parametrize(
    ("name", "pixel_size", "center"),
    [
        ("1_SAED_panel_with_circles", 0.0020271, (504.5, 482.6)),
        ("Camera_Ceta_1359_410_mm___Raw_panel_with_circles", 0.0035174, (483.0, 489.9)),
        ("5_SAED_figure", 0.0020271, (506.1, 480.6)),
    ],
)
def test_recorded_figures_of_graphene_have_its_spacings(
    name: str, pixel_size: float, center: tuple[float, float]
) -> None:
    data = (PATTERNS / "graphene" / f"{name}.png").read_bytes()
    spots = read_pattern(data, name, PatternOptions(pixel_size_inv_angstrom=pixel_size))
    assert spots.center_px == pytest.approx(center, abs=2)
    length = np.sort(np.linalg.norm(spots.q_inv_angstrom, axis=1))
    # At the edge of the beam stop a spot or two may be false.
    first = length[(length > 0.2) & (length < 0.6)]
    assert 4 <= len(first) <= 6
    assert first == pytest.approx(2 / np.sqrt(3) / 2.461, rel=0.02)


@needs_shared
def test_reads_the_scale_bar_of_gallium_arsenide() -> None:
    spots = read_pattern(
        (PATTERNS / "gaas" / "GaAs_110_nm-1_512.png").read_bytes(), "gaas.png", PatternOptions()
    )
    assert spots.calibration == "file"
    assert spots.pixel_size_inv_angstrom == pytest.approx(0.00180074, rel=2e-3)
    assert len(spots) == 8


WITH_SPOTS = {"dd020.dm3": 30, "test1.blo": 10, "test.mib": 9}
FORMATS = sorted(path.name for path in PATTERNS.glob("formats/*")) if PATTERNS.exists() else []


@needs_shared
@pytest.mark.parametrize("name", FORMATS)
def test_recorded_files_show_spots_or_are_refused(name: str) -> None:
    data = (PATTERNS / "formats" / name).read_bytes()
    if name in WITH_SPOTS:
        assert len(read_pattern(data, name, PatternOptions())) == pytest.approx(WITH_SPOTS[name], abs=4)
        return
    with pytest.raises(NoSpotsError):
        read_pattern(data, name, PatternOptions())


def test_loads_a_format_library_only_with_a_file_that_needs_it() -> None:
    script = "import sys, model.pattern.read; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"PIL", "tifffile", "mrcfile", "h5py"}.isdisjoint(run.stdout.split())
