"""A changed bit, at rest or in memory, is found: nothing is answered from it."""

import ctypes
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.build.inspection import verify_index
from index.live.live_index import LiveIndex
from index.live.new_user_structure import NewUserStructure
from index.live.scrub import Scrub
from index.storage.layout import (
    CATALOG_NAME,
    CURRENT_NAME,
    ELEMENTS_NAME,
    MANIFEST_NAME,
    USER_STRUCTURES_NAME,
    VECTORS_NAME,
)
from index.storage.manifest import FileDigest, Manifest
from index.storage.user_structures import UserStructure, UserStructures
from index.storage.vectors import write_vectors
from index.storage.versions import find_version_folder
from model.errors import CheckpointError, ConflictError, DomainError, IndexDamagedError, IndexUnavailableError
from tests.changed_bits import flip_bit
from tests.index.layers import crystal
from tests.index.stand_in import RadialEncoder, pattern_of

FILES = (VECTORS_NAME, CATALOG_NAME, ELEMENTS_NAME, MANIFEST_NAME)
MINE = (20, 21, 22)
# Where in a file a bit changes, as a share of its length; hypothesis tends to both ends.
places = st.floats(0.0, 1.0, exclude_max=True)


def check(index: LiveIndex) -> None:
    for _ in index.check_integrity():
        pass


def open_index(folder: Path) -> LiveIndex:
    return LiveIndex.open(folder, RadialEncoder(), watch_s=None)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, indexes: dict[int, Path]) -> Path:
    """An index with three user structures, not to be written to."""
    folder = tmp_path_factory.mktemp("sound") / "index"
    shutil.copytree(indexes[6], folder)
    index = open_index(folder)
    for number in MINE:
        index.add(NewUserStructure(crystal(number), f"mine/{number}", "CC0", "a paper", "robot"))
    index.close()
    return folder


@pytest.fixture
def folder(tmp_path: Path, sound: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "index"))


@pytest.fixture
def index(folder: Path) -> Iterator[LiveIndex]:
    opened = open_index(folder)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", FILES)
@given(place=places)
@settings(max_examples=40)
def test_an_index_with_a_changed_bit_is_not_opened(
    tmp_path_factory: pytest.TempPathFactory, sound: Path, name: str, place: float
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path_factory.mktemp("flipped") / "index"))
    flip_bit(find_version_folder(folder) / name, place)
    with pytest.raises(IndexUnavailableError) as refusal:
        open_index(folder)
    if "layout" not in str(refusal.value):  # a changed number of the layout
        assert isinstance(refusal.value, IndexDamagedError)
        assert name in str(refusal.value)
        assert str(folder) not in str(refusal.value)
        assert str(folder) in refusal.value.log_text
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_version_with_a_changed_bit_is_not_loaded(folder: Path, index: LiveIndex, name: str) -> None:
    served = find_version_folder(folder)
    other = served.with_name("20300101T000000Z-00000000")
    shutil.copytree(served, other)
    flip_bit(other / name, 0.4)
    (folder / CURRENT_NAME).write_text(f"{other.name}\n{served.name}\n")
    for version in (None, other.name):
        with pytest.raises(ConflictError, match=rf"{name}.*{served.name} is still served") as refusal:
            index.reload(version)
        assert str(folder) not in str(refusal.value)
    assert index.search(pattern_of(crystal(3))).candidates[0].entry.id == crystal(3).id
    check(index)


@given(place=places)
@settings(max_examples=150)
def test_user_structures_with_a_changed_bit_are_refused_or_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, sound: Path, place: float
) -> None:
    """Most of the file is unused; there a bit changes nothing."""
    path = tmp_path_factory.mktemp("flipped") / USER_STRUCTURES_NAME
    shutil.copyfile(sound / USER_STRUCTURES_NAME, path)
    flip_bit(path, place)
    with suppress(IndexUnavailableError):
        UserStructures(path).check()
        assert read_all(path) == read_all(sound / USER_STRUCTURES_NAME)
    shutil.rmtree(path.parent)


def read_all(path: Path) -> list[bytes]:
    structures = UserStructures(path)
    found = structures.read(structures.read_numbers()[1], RadialEncoder().digest)
    structures.close()
    return [structure.compute_digest() for structure in found]


@pytest.mark.parametrize("place", [at / 40 for at in range(40)])
def test_every_changed_bit_of_a_row_is_found(folder: Path, place: float) -> None:
    """The row in the file that holds the text of a user structure and all that belongs to it."""
    path = folder / USER_STRUCTURES_NAME
    content = path.read_bytes()
    start = content.index(b"mine/21")
    flip_bit(path, (start + place * 100) / len(content))
    with pytest.raises(IndexDamagedError, match=USER_STRUCTURES_NAME):
        open_index(folder)


def test_a_file_of_user_structures_without_digests_gets_them(folder: Path) -> None:
    path = folder / USER_STRUCTURES_NAME
    before = read_all(path)
    remove_digests(path)
    open_index(folder).close()
    assert read_all(path) == before
    flip_bit(path, (path.read_bytes().index(b"mine/21") + 50) / path.stat().st_size)
    with pytest.raises(IndexDamagedError):
        open_index(folder)


def test_a_file_without_digests_that_cannot_be_written_is_still_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_digests(folder / USER_STRUCTURES_NAME)
    monkeypatch.setattr("os.access", lambda *_: False)
    index = open_index(folder)
    assert index.user_structure_count == len(MINE)
    index.close()


def remove_digests(path: Path) -> None:
    """Make the file one of earlier software."""
    connection = sqlite3.connect(path)
    for table in ("structures", "vectors"):
        connection.execute(f"ALTER TABLE {table} DROP COLUMN digest")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("name", FILES)
def test_a_changed_bit_in_a_file_that_is_served_ends_the_service_of_the_index(
    folder: Path, index: LiveIndex, name: str
) -> None:
    check(index)
    flip_bit(find_version_folder(folder) / name, 0.6)
    expect_refusal(index, IndexDamagedError, name)


def test_a_changed_bit_in_the_user_structures_ends_the_service_of_the_index(
    folder: Path, index: LiveIndex
) -> None:
    path = folder / USER_STRUCTURES_NAME
    flip_bit(path, (path.read_bytes().index(b"mine/20") + 60) / path.stat().st_size)
    expect_refusal(index, IndexDamagedError, USER_STRUCTURES_NAME)


def expect_refusal(index: LiveIndex, error: type[DomainError], message: str) -> None:
    """Check the index, and use it in every way."""
    with pytest.raises(error, match=message):
        check(index)
    for use in (
        lambda: index.search(pattern_of(crystal(3))),
        lambda: index.get_entry(crystal(3).id),
        lambda: index.add(NewUserStructure(crystal(30))),
        index.check_canary,
    ):
        with pytest.raises(error, match=message):
            use()


def list_owned_arrays(index: LiveIndex) -> dict[str, NDArray[np.generic]]:
    """Return the arrays in memory that are not a file."""
    with index.hold() as retriever:
        arrays = retriever.components._list_arrays()
    return {name: array for name, array in arrays.items() if not isinstance(array, np.memmap)}


@given(data=st.data())
@settings(max_examples=60)
def test_a_changed_bit_in_memory_ends_the_service_of_the_index(sound: Path, data: st.DataObject) -> None:
    index = open_index(sound)
    arrays = list_owned_arrays(index)
    del arrays[f"vectors ({VECTORS_NAME})"]  # they are the file, mapped for reading only
    assert len(arrays) > 10
    array = arrays[data.draw(st.sampled_from(sorted(name for name in arrays if arrays[name].size)))]
    array.flags.writeable = True
    content = array.reshape(-1).view(np.uint8)
    bit = int(data.draw(places) * 8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    expect_refusal(index, IndexDamagedError, "changed in memory")
    index.close()


def test_a_changed_user_structure_in_memory_ends_the_service_of_the_index(index: LiveIndex) -> None:
    address = index.get_entry("mine/21").crystal.positions.__array_interface__["data"][0]
    ctypes.c_uint8.from_address(address + 3).value ^= 4
    expect_refusal(index, IndexDamagedError, "mine/21 has changed in memory")


def test_a_changed_crystal_in_memory_is_read_again_from_the_catalog(index: LiveIndex) -> None:
    with index.hold() as retriever:
        (entry,) = retriever.components.base.get_entries([2])
    check(index)
    with index.hold() as retriever:
        (again,) = retriever.components.base.get_entries([2])
    assert again is not entry


def test_damaged_weights_end_the_service_of_the_index(sound: Path) -> None:
    @dataclass(frozen=True)
    class Flipped(RadialEncoder):
        def check_integrity(self) -> Iterator[int]:
            yield 1
            raise CheckpointError("The weights have changed.")

    index = LiveIndex.open(sound, Flipped(), watch_s=None)
    expect_refusal(index, CheckpointError, "The weights have changed")
    index.close()


def test_a_version_that_was_replaced_and_removed_is_no_damage(
    indexes: dict[int, Path], folder: Path, index: LiveIndex
) -> None:
    old = find_version_folder(folder)
    pieces = index.check_integrity()
    next(pieces)
    shutil.copytree(find_version_folder(indexes[9]), folder / find_version_folder(indexes[9]).name)
    index.reload(find_version_folder(indexes[9]).name)
    shutil.rmtree(old)
    list(pieces)
    check(index)


def test_the_scrub_logs_the_file_and_reports_the_damage(
    folder: Path, index: LiveIndex, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.live.scrub.PAUSE_S", 0.001)
    found: list[DomainError] = []
    is_found, passes = Event(), []
    check_integrity = LiveIndex.check_integrity

    def count(self: LiveIndex) -> Iterator[int]:
        passes.append(1)
        return check_integrity(self)

    monkeypatch.setattr(LiveIndex, "check_integrity", count)

    def keep(error: DomainError) -> None:
        found.append(error)
        is_found.set()

    scrub = Scrub(index, keep)
    while len(passes) < 3:
        assert not is_found.wait(0.01)
    version = find_version_folder(folder)
    flip_bit(version / VECTORS_NAME, 0.9)
    assert is_found.wait(30)
    scrub.close()
    assert VECTORS_NAME in str(found[0])
    assert found[0].log_text in caplog.text


def rewrite_vectors(folder: Path, change: Callable[[NDArray[np.float32]], None]) -> None:
    """Change the vectors of an index and the digests with them, as a faulty build would."""
    version = find_version_folder(folder)
    with LiveIndex.open(folder, RadialEncoder(), watch_s=None).hold() as retriever:
        vectors = retriever.components.vectors.read_rows(np.arange(6))
    change(vectors)
    (version / VECTORS_NAME).unlink()
    write_vectors(version / VECTORS_NAME, vectors)
    manifest = Manifest.read(version)
    files = {**manifest.files, VECTORS_NAME: FileDigest.from_file(version / VECTORS_NAME)}
    (version / MANIFEST_NAME).write_text(replace(manifest, files=files).to_json())


def fill(value: float) -> Callable[[NDArray[np.float32]], None]:
    def change(vectors: NDArray[np.float32]) -> None:
        vectors[1] = value

    return change


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf, 1e30, 0.5])
def test_vectors_that_are_not_of_unit_length_are_not_served(folder: Path, value: float) -> None:
    rewrite_vectors(folder, fill(value))
    with pytest.raises(IndexDamagedError, match=r"1 vectors in vectors\.faiss do not have unit length"):
        open_index(folder)
    assert any(
        "do not have unit length" in problem for problem in verify_index(folder, RadialEncoder()).problems
    )


def reverse(vectors: NDArray[np.float32]) -> None:
    vectors[:] = -vectors


def exchange(vectors: NDArray[np.float32]) -> None:
    vectors[:] = vectors[::-1].copy()


@pytest.mark.parametrize("change", [reverse, exchange])
def test_the_canary_finds_unit_vectors_that_are_wrong(
    folder: Path, change: Callable[[NDArray[np.float32]], None]
) -> None:
    rewrite_vectors(folder, change)
    with pytest.raises(IndexDamagedError, match="canary pattern does not find"):
        open_index(folder)
    assert any("canary" in problem for problem in verify_index(folder, RadialEncoder()).problems)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 2.0])
@pytest.mark.parametrize("scale_is_known", [True, False])
def test_a_pattern_whose_vector_is_not_a_unit_vector_gets_no_answer(
    index: LiveIndex, monkeypatch: pytest.MonkeyPatch, value: float, scale_is_known: bool
) -> None:
    embed = RadialEncoder.embed_spots
    monkeypatch.setattr(RadialEncoder, "embed_spots", lambda *args: value * embed(*args))
    spots = replace(pattern_of(crystal(3)), scale_is_known=scale_is_known)
    with pytest.raises(IndexDamagedError, match="unit length"):
        index.search(spots)


def test_a_user_structure_whose_vector_is_not_a_unit_vector_is_refused(folder: Path) -> None:
    structures = UserStructures(folder / USER_STRUCTURES_NAME)
    entry = structures.read([1], "")[0].entry
    structures.add(
        replace(entry, id="wrong"), np.full(48, 0.5, np.float32), RadialEncoder().digest, "now", None
    )
    structures.close()
    with pytest.raises(IndexDamagedError, match="user structure"):
        open_index(folder)


def test_the_log_of_the_user_structures_is_empty_after_each_change(folder: Path, index: LiveIndex) -> None:
    """SQLite drops a damaged log without a word."""
    index.add(NewUserStructure(crystal(25), "mine/25"))
    log = folder / f"{USER_STRUCTURES_NAME}-wal"
    assert not log.exists() or log.stat().st_size == 0


def test_a_digest_of_a_structure_covers_all_of_it(sound: Path) -> None:
    (structure,) = UserStructures(sound / USER_STRUCTURES_NAME).read([1], RadialEncoder().digest)
    assert structure.vector is not None
    others: list[UserStructure] = [
        replace(structure, number=2),
        replace(structure, added_at="never"),
        replace(structure, added_by=None),
        replace(structure, vector=-structure.vector),
        replace(structure, entry=replace(structure.entry, reference="another paper")),
    ]
    assert len({each.compute_digest() for each in (structure, *others)}) == 6


def test_a_manifest_is_read_only_as_it_was_written(folder: Path) -> None:
    path = find_version_folder(folder) / MANIFEST_NAME
    content = path.read_text()
    assert Manifest.read(path.parent).to_json() == content
    path.write_text(content + "\n")
    with pytest.raises(IndexDamagedError, match=MANIFEST_NAME):
        Manifest.read(path.parent)
