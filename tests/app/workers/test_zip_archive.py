"""Zips as they are uploaded: bombs, nests, locked and lying members."""

import io
import stat
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from app.workers import zip_archive as archive
from app.workers.zip_archive import BATCH_LIMITS, Member, read_members
from model.errors import DomainError, TooLargeError, UnreadableError
from model.zip_limits import ZipLimits


def packed(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def read(data: bytes, limits: ZipLimits = BATCH_LIMITS) -> dict[str, bytes | type[DomainError]]:
    return {
        each.name: each.content if isinstance(each.content, bytes) else type(each.content)
        for each in read_members(data, limits)
    }


def errors_of(data: bytes, limits: ZipLimits = BATCH_LIMITS) -> list[str]:
    return [str(each.content) for each in read_members(data, limits) if isinstance(each.content, DomainError)]


def test_files_come_in_order_with_their_bytes() -> None:
    data = packed(("b.csv", b"1,2"), ("folder/", b""), ("folder/a.tif", b"II*\0"), ("empty", b""))
    assert list(read_members(data)) == [
        Member("b.csv", b"1,2"),
        Member("folder/a.tif", b"II*\0"),
        Member("empty", b""),
    ]


def test_what_hides_itself_does_not_come() -> None:
    data = packed(("__MACOSX/._a", b"1"), (".DS_Store", b"1"), ("x/.hidden/a", b"1"), ("a", b"2"))
    assert read(data) == {"a": b"2"}


def test_a_bomb_is_not_expanded() -> None:
    data = packed(("zeros", bytes(200 * 2**20)), ("good", b"1,2"))
    tracemalloc.start()
    try:
        found = read(data, replace(BATCH_LIMITS, member_bytes=2**30))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    assert found == {"zeros": TooLargeError, "good": b"1,2"}


def patched(data: bytes, *changes: tuple[int, int, int]) -> bytes:
    """Numbers of 2 or 4 bytes replaced in the first entry of the directory: where, how long, by what."""
    changed = bytearray(data)
    entry = data.index(b"PK\x01\x02")
    for at, size, value in changes:
        changed[entry + at : entry + at + size] = value.to_bytes(size, "little")
    return bytes(changed)


def test_a_bomb_that_lies_about_its_size_is_cut_off() -> None:
    data = packed(("zeros", bytes(50 * 2**20)), ("good", b"1,2"))
    tracemalloc.start()
    try:
        found = read(patched(data, (24, 4, 1000)))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    assert found == {"zeros": UnreadableError, "good": b"1,2"}


def test_members_that_share_their_bytes_count_each() -> None:
    """The bombs without nesting (Fifield 2019) let many entries point at the same bytes."""
    data = packed(("a", bytes(2**19)), ("b", bytes(2**19)), ("c", bytes(2**19)))
    changed = bytearray(data)
    entries = [at for at in range(len(data)) if data[at : at + 4] == b"PK\x01\x02"]
    for entry in entries:
        changed[entry + 42 : entry + 46] = bytes(4)
    found = read(bytes(changed), replace(BATCH_LIMITS, total_bytes=2**20))
    assert sum(len(each) for each in found.values() if isinstance(each, bytes)) <= 2**20
    assert found["c"] in {TooLargeError, UnreadableError}


def test_the_sum_has_a_limit() -> None:
    rng = np.random.default_rng(0)
    data = packed(*((str(n), rng.bytes(1000)) for n in range(10)))
    found = read(data, replace(BATCH_LIMITS, total_bytes=3500))
    assert [isinstance(each, bytes) for each in found.values()] == [True, True, True, False]
    assert found["3"] is TooLargeError


def test_the_number_of_members_has_a_limit() -> None:
    data = packed(*((str(n), b"") for n in range(11)))
    with pytest.raises(TooLargeError, match="more than 10 members"):
        read_members(data, replace(BATCH_LIMITS, members=10))
    assert len(read(data, replace(BATCH_LIMITS, members=11))) == 11


def test_a_directory_of_millions_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(TooLargeError):
        read_members(b"PK\x01\x02" * 100_000)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../../up", "..\\up", "\\\\host\\share", "C:/windows", "C:\\windows"]
)
def test_names_that_lead_out_are_refused(name: str) -> None:
    (told,) = errors_of(packed((name, b"1")))
    assert "leads out" in told


def linked() -> bytes:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return packed((info, b"/etc/passwd"))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: patched(packed(("a", b"1")), (8, 2, 1)), "encrypted"),
        (linked, "symbolic link"),
        (lambda: packed(("a", bytes(9)), method=zipfile.ZIP_BZIP2), "deflate"),
        (lambda: packed(("a", bytes(9)), method=zipfile.ZIP_LZMA), "deflate"),
        (lambda: packed(("a.zip", packed(("b", b"1")))), "archive itself"),
        (lambda: packed(("a.gz", b"\x1f\x8b\x08" + bytes(20))), "archive itself"),
        (lambda: packed(("a", b"1"), ("a", b"2")), "more than once"),
    ],
)
def test_each_kind_of_trouble_is_told(make: Callable[[], bytes], told: str) -> None:
    (error,) = errors_of(make())
    assert told in error


def test_a_member_without_a_name_is_told() -> None:
    assert "no name" in errors_of(packed(("a", b"1")).replace(b"a", b"\0"))[0]


def test_the_first_of_two_with_one_name_comes() -> None:
    first, second = read_members(packed(("a", b"1"), ("a", b"2")))
    assert first.content == b"1"
    assert isinstance(second.content, UnreadableError)


def test_arrays_of_numpy_are_no_archives() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, pattern=np.zeros((4, 4)))
    assert read(packed(("a.npz", buffer.getvalue()))) == {"a.npz": buffer.getvalue()}


def test_a_name_cannot_break_a_line() -> None:
    (member,) = read_members(packed(("a\nINFO x\x1b[31m", b"1")))
    assert member.name == "a?INFO x?[31m"


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"nonsense", b"PK\x05\x06" + b"\xff" * 18, b"PK\x03\x04" + bytes(100)]
)
def test_what_is_no_zip_is_told(data: bytes) -> None:
    with pytest.raises(UnreadableError, match="not a zip, or a damaged one"):
        read_members(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_damage_is_told_or_harmless(method: int) -> None:
    rng = np.random.default_rng(int(method))
    whole = packed(("a", rng.bytes(300)), ("b", b"x" * 4000), ("c", b"1,2,3"), method=method)
    for _ in range(500):
        data = bytearray(whole[: int(rng.integers(1, len(whole) + 1))] if rng.random() < 0.3 else whole)
        for at in rng.integers(0, len(data), rng.integers(1, 20)):
            data[at] = rng.integers(256)
        try:
            members = list(read_members(bytes(data)))
        except DomainError:
            continue
        for member in members:
            assert member.name.isprintable()
            assert isinstance(member.content, DomainError) or len(member.content) <= 2**20


@pytest.mark.parametrize("piece", [1, 3, 4, 5, 64])
def test_entries_are_counted_once_wherever_the_pieces_end(
    monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    data = packed(*((str(n), b"") for n in range(11)))
    monkeypatch.setattr(archive, "_PIECE_BYTES", piece)
    assert archive._count_entries(data) == data.count(b"PK\x01\x02") == 11
