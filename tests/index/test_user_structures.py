"""The file of user structures: several processes, other weights, and files of another kind."""

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.build.build import build_index
from index.build.inspection import verify_index
from index.storage.catalog import Entry
from index.storage.layout import USER_STRUCTURES_NAME
from index.storage.user_structures import UserStructures
from model.crystal.symmetry import determine_symmetry
from model.errors import IndexUnavailableError, ReadOnlyError, StorageFullError
from tests.index.layers import crystal, document, same_structure, write_lines
from tests.index.stand_in import RadialEncoder

MODEL, OTHER = "sha256:model", "sha256:other"
NOW = "2026-01-31T12:00:00+00:00"


def entry(index: int) -> Entry:
    made = crystal(index)
    return Entry.from_crystal(made, determine_symmetry(made), "CC0", "a paper")


def vector(index: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.arange(index, index + 4, dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / USER_STRUCTURES_NAME


def test_an_added_structure_is_read_back(path: Path) -> None:
    UserStructures(path).add(entry(3), vector(3), MODEL, NOW, "robot")
    generation, (number,) = UserStructures(path).read_numbers()
    (read,) = UserStructures(path).read([number, number + 1], MODEL)
    assert same_structure(read.entry.crystal, entry(3).crystal, 0.0)
    assert (read.entry.license, read.entry.reference, read.entry.symmetry) == (
        "CC0",
        "a paper",
        entry(3).symmetry,
    )
    assert (read.added_at, read.added_by) == (NOW, "robot")
    assert read.vector is not None
    np.testing.assert_array_equal(read.vector, vector(3))
    assert UserStructures(path).read_generation() == generation


def test_a_reader_sees_every_change_by_another_process(path: Path) -> None:
    reader, writer = UserStructures(path), UserStructures(path)
    assert reader.read_generation() is None
    assert reader.read_numbers() == (None, [])
    assert not path.exists()
    seen = {reader.read_generation()}
    for index in range(3):
        number = writer.add(entry(index), vector(index), MODEL, NOW, None).number
        assert reader.read_generation() not in seen
        seen.add(reader.read_generation())
    assert reader.read_numbers()[1] == [1, 2, 3]
    assert writer.remove(number)
    assert not writer.remove(number)
    assert reader.read_generation() not in seen
    assert reader.read_numbers()[1] == [1, 2]
    # A number that were used twice would make a reader confuse two structures.
    assert writer.add(entry(5), vector(5), MODEL, NOW, None).number == 4


def test_adding_an_existing_id_returns_the_existing_structure(path: Path) -> None:
    structures = UserStructures(path)
    first = structures.add(entry(1), vector(1), MODEL, NOW, "one")
    before = structures.read_generation()
    again = structures.add(entry(1), vector(2), MODEL, NOW, "two")
    assert (again.number, again.added_by) == (first.number, "one")
    assert structures.read_generation() == before


def test_stores_vectors_of_several_weights_side_by_side(path: Path) -> None:
    structures = UserStructures(path)
    number = structures.add(entry(1), vector(1), MODEL, NOW, None).number
    assert structures.read([number], OTHER)[0].vector is None
    before = structures.read_generation()
    structures.store_vectors({number: vector(7), 99: vector(8)}, OTHER)
    assert structures.read_generation() == before
    for model, kept in ((MODEL, 1), (OTHER, 7)):
        (read,) = structures.read([number], model)
        assert read.vector is not None
        np.testing.assert_array_equal(read.vector, vector(kept))
    assert structures.remove(number)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM vectors").fetchone() == (0,)
    connection.close()


def test_concurrent_writers_all_succeed(path: Path) -> None:
    """Each has a connection of its own, as processes do; several try to create the file."""
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(
            lambda i: UserStructures(path).add(entry(i % 20), vector(i), MODEL, NOW, None), range(40)
        )
        assert {each.entry.id for each in made} == {entry(i).id for i in range(20)}
    generation, numbers = UserStructures(path).read_numbers()
    assert generation is not None
    assert (generation[1], len(numbers)) == (20, 20)
    assert UserStructures(path).find_damage() is None


def test_reads_a_file_that_replaces_another(path: Path, tmp_path: Path) -> None:
    reader = UserStructures(path)
    UserStructures(path).add(entry(1), vector(1), MODEL, NOW, None)
    UserStructures(tmp_path / "backup").add(entry(2), vector(2), MODEL, NOW, None)
    before = reader.read_generation()
    (tmp_path / "backup").replace(path)
    assert reader.read_generation() != before
    assert [each.entry.id for each in reader.read([1], MODEL)] == [entry(2).id]
    path.unlink()
    assert reader.read_generation() is None
    assert reader.read([1], MODEL) == []


def test_sees_changes_in_a_folder_without_write_permission(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    UserStructures(path).add(entry(1), vector(1), MODEL, NOW, None)
    reader, connect = UserStructures(path), sqlite3.connect

    class Unopenable(sqlite3.Connection):
        """Raises the error of SQLite where it cannot create its files beside the database."""

        def execute(self, *_: Any) -> sqlite3.Cursor:
            raise sqlite3.OperationalError("unable to open database file")

    def connect_unopenable(address: str, **options: Any) -> sqlite3.Connection:
        return connect(
            address, factory=sqlite3.Connection if "immutable" in address else Unopenable, **options
        )

    def numbers() -> list[int]:
        with monkeypatch.context() as patch:
            patch.setattr("sqlite3.connect", connect_unopenable)
            patch.setattr("os.access", lambda *_: False)
            return reader.read_numbers()[1]

    assert numbers() == [1]
    UserStructures(path).add(entry(2), vector(2), MODEL, NOW, None)
    assert numbers() == [1, 2]
    UserStructures(path).remove(1)
    assert numbers() == [2]


def test_closes_a_file_of_another_kind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"something else" * 500)
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def record(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        opened.append(connect(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr("sqlite3.connect", record)
    with pytest.raises(IndexUnavailableError, match="damaged"):
        UserStructures(path).read_generation()
    (connection,) = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


@pytest.mark.parametrize(
    "content",
    [b"a file of another kind, long enough to be examined" * 20, b"SQLite format 3\0" + b"x" * 900],
)
def test_refuses_a_file_of_another_kind_and_does_not_change_it(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for use in (
        lambda: UserStructures(path).read_generation(),
        lambda: UserStructures(path).add(entry(1), vector(1), MODEL, NOW, None),
    ):
        with pytest.raises(IndexUnavailableError, match=r"damaged.*backup"):
            use()
    assert path.read_bytes() == content
    assert UserStructures(path).find_damage()


def test_refuses_another_database_and_another_layout(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE structures (id TEXT)")
    connection.close()
    for use in (
        lambda: UserStructures(path).read_numbers(),
        lambda: UserStructures(path).add(entry(1), vector(1), MODEL, NOW, None),
    ):
        with pytest.raises(IndexUnavailableError, match="another kind; set DD2D_USER_STRUCTURES"):
            use()
    path.unlink()
    UserStructures(path).add(entry(1), vector(1), MODEL, NOW, None)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(IndexUnavailableError, match="layout 3, but this software reads layout 2"):
        UserStructures(path).read_generation()


def test_reports_a_folder_that_is_not_writable(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ReadOnlyError, match="DD2D_USER_STRUCTURES"):
        UserStructures(tmp_path / "missing" / "x").add(entry(1), vector(1), MODEL, NOW, None)
    UserStructures(path).add(entry(1), vector(1), MODEL, NOW, None)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ReadOnlyError, match="DD2D_USER_STRUCTURES"):
        UserStructures(path).remove(1)
    assert UserStructures(path).read_numbers()[1] == [1]


def test_verify_finds_damaged_user_structures(tmp_path: Path, encoder: RadialEncoder) -> None:
    build_index([write_lines(tmp_path / "source", [document(0)])], tmp_path / "index", encoder)
    path = tmp_path / "index" / USER_STRUCTURES_NAME
    for index in range(30):
        UserStructures(path).add(entry(index), vector(index), MODEL, NOW, None)
    assert verify_index(tmp_path / "index", encoder).is_sound
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(4096) + content[8192:])
    assert any("user structures" in problem for problem in verify_index(tmp_path / "index", encoder).problems)


class FullDisk(sqlite3.Connection):
    """Lets no file grow, as a full disk."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA max_page_count = 1")


@pytest.mark.parametrize("existing", [0, 1])
def test_on_a_full_disk_nothing_is_added_and_nothing_is_lost(
    path: Path, existing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures, connect = UserStructures(path), sqlite3.connect
    for index in range(existing):
        structures.add(entry(index), vector(index), MODEL, NOW, None)
    before = structures.read_generation()
    # Long enough for a page of its own.
    long_entry = replace(entry(5), reference="x" * 100_000)
    with monkeypatch.context() as patch:
        patch.setattr("sqlite3.connect", partial(connect, factory=FullDisk))
        with pytest.raises(StorageFullError, match="full, so nothing was added") as raised:
            structures.add(long_entry, vector(5), MODEL, NOW, None)
        assert str(path) not in str(raised.value)
    assert len(structures.read_numbers()[1]) == existing
    assert existing == 0 or structures.read_generation() == before
    assert structures.find_damage() is None
    structures.add(long_entry, vector(5), MODEL, NOW, None)
    assert len(structures.read_numbers()[1]) == existing + 1


def test_a_file_system_without_free_inodes_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    structures, status = UserStructures(path), os.statvfs(path.parent)

    def refuse(*_: Any, **__: Any) -> sqlite3.Connection:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorname = "SQLITE_CANTOPEN"
        raise error

    monkeypatch.setattr("sqlite3.connect", refuse)
    for available, expected in ((0, StorageFullError), (1, ReadOnlyError)):
        fields = os.statvfs_result((*status[:5], 100, available, available, *status[8:]))
        monkeypatch.setattr("os.statvfs", lambda _, fields=fields: fields)
        with pytest.raises(expected):
            structures.add(entry(1), vector(1), MODEL, NOW, None)


@pytest.mark.parametrize("statements", [1, 2, 3, 4])
def test_a_reader_accepts_a_file_that_is_being_created(
    path: Path, statements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process creates the tables before this statement of the reader."""
    path.touch()
    connect, remaining = sqlite3.connect, [statements]

    class Interrupted(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            remaining[0] -= 1
            if remaining[0] == 0:
                monkeypatch.setattr("sqlite3.connect", connect)
                UserStructures(path).add(entry(1), vector(1), MODEL, NOW, None)
            return super().execute(*arguments)

    monkeypatch.setattr("sqlite3.connect", partial(connect, factory=Interrupted))
    reader = UserStructures(path)
    reader.read_generation()
    assert reader.read_numbers()[1] == [1]
