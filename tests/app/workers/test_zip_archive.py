"""Uploaded zips: bombs, nested archives, encrypted members, false sizes."""

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


def pack(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # about duplicate names
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def read_all(data: bytes, limits: ZipLimits = BATCH_LIMITS) -> dict[str, bytes | type[DomainError]]:
    return {
        each.name: each.content if isinstance(each.content, bytes) else type(each.content)
        for each in read_members(data, limits)
    }


def list_errors(data: bytes, limits: ZipLimits = BATCH_LIMITS) -> list[str]:
    return [str(each.content) for each in read_members(data, limits) if isinstance(each.content, DomainError)]


def test_files_are_read_in_order() -> None:
    data = pack(("b.csv", b"1,2"), ("folder/", b""), ("folder/a.tif", b"II*\0"), ("empty", b""))
    assert list(read_members(data)) == [
        Member("b.csv", b"1,2"),
        Member("folder/a.tif", b"II*\0"),
        Member("empty", b""),
    ]


def test_hidden_files_are_skipped() -> None:
    data = pack(("__MACOSX/._a", b"1"), (".DS_Store", b"1"), ("x/.hidden/a", b"1"), ("a", b"2"))
    assert read_all(data) == {"a": b"2"}


def test_a_bomb_is_not_expanded() -> None:
    data = pack(("zeros", bytes(200 * 2**20)), ("good", b"1,2"))
    tracemalloc.start()
    try:
        members = read_all(data, replace(BATCH_LIMITS, member_bytes=2**30))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    assert members == {"zeros": TooLargeError, "good": b"1,2"}


def patch_directory(data: bytes, *changes: tuple[int, int, int]) -> bytes:
    """Replace numbers in the first entry of the directory, each given by offset, size in bytes and value."""
    changed = bytearray(data)
    entry = data.index(b"PK\x01\x02")
    for at, size, value in changes:
        changed[entry + at : entry + at + size] = value.to_bytes(size, "little")
    return bytes(changed)


def test_a_bomb_that_states_a_false_size_is_cut_off() -> None:
    data = pack(("zeros", bytes(50 * 2**20)), ("good", b"1,2"))
    tracemalloc.start()
    try:
        members = read_all(patch_directory(data, (24, 4, 1000)))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    assert members == {"zeros": UnreadableError, "good": b"1,2"}


def test_members_that_share_their_bytes_are_counted_separately() -> None:
    """In bombs without nesting (Fifield 2019) many entries refer to the same bytes."""
    data = pack(("a", bytes(2**19)), ("b", bytes(2**19)), ("c", bytes(2**19)))
    changed = bytearray(data)
    entries = [at for at in range(len(data)) if data[at : at + 4] == b"PK\x01\x02"]
    for entry in entries:
        changed[entry + 42 : entry + 46] = bytes(4)
    members = read_all(bytes(changed), replace(BATCH_LIMITS, total_bytes=2**20))
    assert sum(len(each) for each in members.values() if isinstance(each, bytes)) <= 2**20
    assert members["c"] in {TooLargeError, UnreadableError}


def test_the_total_size_is_limited() -> None:
    rng = np.random.default_rng(0)
    data = pack(*((str(n), rng.bytes(1000)) for n in range(10)))
    members = read_all(data, replace(BATCH_LIMITS, total_bytes=3500))
    assert [isinstance(each, bytes) for each in members.values()] == [True, True, True, False]
    assert members["3"] is TooLargeError


def test_the_number_of_members_is_limited() -> None:
    data = pack(*((str(n), b"") for n in range(11)))
    with pytest.raises(TooLargeError, match="more than 10 members"):
        read_members(data, replace(BATCH_LIMITS, members=10))
    assert len(read_all(data, replace(BATCH_LIMITS, members=11))) == 11


def test_a_directory_of_millions_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(TooLargeError):
        read_members(b"PK\x01\x02" * 100_000)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../../up", "..\\up", "\\\\host\\share", "C:/windows", "C:\\windows"]
)
def test_names_that_leave_the_zip_are_refused(name: str) -> None:
    (message,) = list_errors(pack((name, b"1")))
    assert "points outside the archive" in message


def make_link() -> bytes:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return pack((info, b"/etc/passwd"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: patch_directory(pack(("a", b"1")), (8, 2, 1)), "encrypted"),
        (make_link, "symbolic link"),
        (lambda: pack(("a", bytes(9)), method=zipfile.ZIP_BZIP2), "deflate"),
        (lambda: pack(("a", bytes(9)), method=zipfile.ZIP_LZMA), "deflate"),
        (lambda: pack(("a.zip", pack(("b", b"1")))), "itself an archive"),
        (lambda: pack(("a.gz", b"\x1f\x8b\x08" + bytes(20))), "itself an archive"),
        (lambda: pack(("a", b"1"), ("a", b"2")), "more than once"),
    ],
)
def test_a_member_that_cannot_be_read_has_its_reason(make: Callable[[], bytes], message: str) -> None:
    (error,) = list_errors(make())
    assert message in error


def test_a_member_without_a_name_is_an_error() -> None:
    assert "no name" in list_errors(pack(("a", b"1")).replace(b"a", b"\0"))[0]


def test_of_two_members_with_one_name_the_first_is_read() -> None:
    first, second = read_members(pack(("a", b"1"), ("a", b"2")))
    assert first.content == b"1"
    assert isinstance(second.content, UnreadableError)


def test_an_npz_file_is_not_a_nested_archive() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, pattern=np.zeros((4, 4)))
    assert read_all(pack(("a.npz", buffer.getvalue()))) == {"a.npz": buffer.getvalue()}


def test_a_name_cannot_contain_control_characters() -> None:
    (member,) = read_members(pack(("a\nINFO x\x1b[31m", b"1")))
    assert member.name == "a?INFO x?[31m"


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"nonsense", b"PK\x05\x06" + b"\xff" * 18, b"PK\x03\x04" + bytes(100)]
)
def test_a_file_that_is_not_a_zip_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableError, match="not a zip archive or is damaged"):
        read_members(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_damage_is_an_error_or_harmless(method: int) -> None:
    rng = np.random.default_rng(int(method))
    whole = pack(("a", rng.bytes(300)), ("b", b"x" * 4000), ("c", b"1,2,3"), method=method)
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
def test_entries_at_the_ends_of_pieces_are_counted_once(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    data = pack(*((str(n), b"") for n in range(11)))
    monkeypatch.setattr(archive, "_PIECE_BYTES", piece)
    assert archive._count_entries(data) == data.count(b"PK\x01\x02") == 11
