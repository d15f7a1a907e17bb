"""Damaged files of every format end in a frame or in a domain error, in bounded time and memory."""

import contextlib
import tracemalloc

import numpy as np
import pytest

from model.errors import DomainError
from model.pattern.formats.read_frame import read_frame
from tests.pattern.formats.camera_files import every_format

SIDE = 64
COUNTS = np.random.default_rng(0).integers(0, 30_000, (SIDE, SIDE)).astype(np.uint16)
FILES = every_format(COUNTS)
COUNT = 150
# HDF5 is read in a process of its own, which takes a second or two each time.
SLOW_COUNTS = {"velox": 40, "hspy": 40}
MAX_BYTES = 600 * 2**20


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """Truncate a file, flip bits, or replace numbers of its header by huge ones or a part by noise."""
    kind = rng.integers(4)
    if kind == 0:
        return data[: int(rng.integers(4, len(data)))]
    changed = bytearray(data)
    if kind == 1:
        for place in rng.integers(0, len(data), rng.integers(1, 40)):
            changed[place] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        head = min(len(data), 4096)
        for place in rng.integers(4, head - 4, rng.integers(1, 4)):
            changed[place : place + 4] = rng.choice([b"\xff\xff\xff\x7f", b"\xff" * 4, bytes(4), b"\0\1\0\0"])
    else:
        start = int(rng.integers(4, len(data)))
        changed[start : start + 200] = rng.integers(
            0, 256, min(200, len(data) - start), dtype=np.uint8
        ).tobytes()
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_ends_in_a_frame_or_a_domain_error(name: str) -> None:
    rng = np.random.default_rng(list(FILES).index(name))
    tracemalloc.start()
    try:
        for _ in range(SLOW_COUNTS.get(name, COUNT)):
            data = damage(FILES[name], rng)
            with contextlib.suppress(DomainError):  # any other error fails the test
                assert np.isfinite(read_frame(data).counts).all()
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    finally:
        tracemalloc.stop()
