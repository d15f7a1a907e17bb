"""A live index: user structures are found at once, and versions are replaced during searches."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray

from index.build.build import build_index
from index.build.inspection import verify_index
from index.live.live_index import LiveIndex
from index.live.new_user_structure import SOURCE, NewUserStructure
from index.live.snapshot import OpenVersion
from index.search.retriever import Retriever
from index.storage.layout import CURRENT_NAME, USER_STRUCTURES_NAME
from index.storage.publish import publish_copy, roll_back
from index.storage.user_structures import UserStructures
from index.storage.versions import Version, find_version_folder, list_versions, locate_user_structures
from model.crystal.crystal import Crystal
from model.crystal.structure_files import read_structure, write_cif
from model.errors import ConflictError, CrystalError, IndexUnavailableError, OptionError, ReadOnlyError
from model.pattern.spots import Spots
from tests.index.layers import crystal, document, same_structure, write_lines
from tests.index.stand_in import SPOILED, RadialEncoder, pattern_of
from tests.index.two_indexes import LARGE, SMALL


@pytest.fixture
def opened(served: Path, encoder: RadialEncoder) -> Iterator[Callable[[], LiveIndex]]:
    """Opens the served index as another process would, and closes it at the end."""
    libraries: list[LiveIndex] = []

    def open_one() -> LiveIndex:
        libraries.append(LiveIndex.open(served, encoder, watch_s=None))
        return libraries[-1]

    yield open_one
    for each in libraries:
        each.close()


Opened = Callable[[], LiveIndex]


def first(library: LiveIndex, index: int) -> str:
    return library.search(pattern_of(crystal(index), 33.0), top_k=1).candidates[0].entry.id


def test_an_added_structure_is_found_by_pattern_and_id_in_every_process(opened: Opened) -> None:
    here, elsewhere = opened(), opened()
    assert first(elsewhere, 20) != "mine"
    added = here.add(NewUserStructure(crystal(20), "mine", "CC0", "a paper", "robot"))
    assert (added.is_new, added.same_as) == (True, ())
    for library in (here, elsewhere, opened()):
        assert first(library, 20) == "mine"
        entry = library.get_entry("mine")
        assert same_structure(entry.crystal, crystal(20))
        assert (entry.source, entry.license, entry.reference) == (SOURCE, "CC0", "a paper")
        assert (library.user_structure_count, library.manifest.crystals) == (1, SMALL)


def test_a_removed_structure_is_gone_in_every_process(opened: Opened) -> None:
    here, elsewhere = opened(), opened()
    for index in (20, 21, 22):
        here.add(NewUserStructure(crystal(index), f"mine/{index}"))
    elsewhere.remove("mine/21")
    for library in (here, elsewhere, opened()):
        assert library.user_structure_count == 2
        assert first(library, 21) != "mine/21"
        assert first(library, 22) == "mine/22"
        with pytest.raises(KeyError):
            library.get_entry("mine/21")
        with pytest.raises(KeyError):
            library.remove("mine/21")


def test_reports_duplicates_in_the_index_and_among_user_structures(opened: Opened) -> None:
    library = opened()
    of_index = crystal(2)
    assert library.add(NewUserStructure(of_index)).same_as == (of_index.id,)
    assert library.add(NewUserStructure(crystal(30), "one")).same_as == ()
    assert library.add(NewUserStructure(crystal(30), "two")).same_as == ("one",)
    (candidate, *_) = library.search(pattern_of(crystal(30))).candidates
    assert {candidate.entry.id, *candidate.same_as} == {"one", "two"}
    library.remove("one")
    (candidate, *_) = library.search(pattern_of(crystal(30))).candidates
    assert (candidate.entry.id, candidate.same_as) == ("two", ())


def test_adding_the_same_structure_again_changes_nothing(opened: Opened) -> None:
    library, elsewhere = opened(), opened()
    made = library.add(NewUserStructure(crystal(20)))
    named = library.add(NewUserStructure(crystal(21), "mine"))
    again = read_structure(write_cif(crystal(20)), id="other", source="other")
    for other in (library, elsewhere):
        assert not other.add(NewUserStructure(again)).is_new
        assert other.add(NewUserStructure(crystal(20))).entry.id == made.entry.id
        assert other.add(NewUserStructure(crystal(21), "mine")).entry == replace(
            named.entry, crystal=other.get_entry("mine").crystal
        )
    assert library.user_structure_count == 2


def test_an_id_identifies_one_structure(opened: Opened) -> None:
    library, elsewhere = opened(), opened()
    library.add(NewUserStructure(crystal(20), "mine"))
    for other, id in ((library, "mine"), (elsewhere, "mine"), (library, crystal(3).id)):
        with pytest.raises(ConflictError, match="belongs to another structure"):
            other.add(NewUserStructure(crystal(21), id))
    assert not library.add(NewUserStructure(crystal(3), crystal(3).id)).is_new
    assert library.user_structure_count == 1


def test_a_structure_of_the_index_itself_cannot_be_removed(opened: Opened) -> None:
    library = opened()
    library.add(NewUserStructure(crystal(20), "mine"))
    with pytest.raises(ConflictError, match=r"build an index without it and publish"):
        library.remove(crystal(1).id)
    assert library.get_entry(crystal(1).id)


def test_a_structure_that_the_model_cannot_embed_is_not_added(opened: Opened) -> None:
    library = opened()
    with pytest.raises(CrystalError, match="spoiled"):
        library.add(NewUserStructure(crystal(20), SPOILED))
    assert library.user_structure_count == 0


@dataclass(frozen=True)
class Reversed(RadialEncoder):
    """Other weights, which refuse a structure."""

    digest: str = "sha256:" + "ef" * 32

    def embed_crystals(self, crystals: Sequence[Crystal]) -> NDArray[np.float32]:
        if any("refused" in each.id for each in crystals):
            raise CrystalError("refused by these weights")
        return super().embed_crystals(crystals)

    def embed_spots(
        self, patterns: Sequence[Spots], voltage_kv: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        return super().embed_spots(patterns, voltage_kv)[:, ::-1]


def test_other_weights_embed_all_structures_again(
    tmp_path: Path, served: Path, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    library = opened()
    for id, index in (("mine", 20), ("refused", 21)):
        library.add(NewUserStructure(crystal(index), id))
    other = Reversed()
    build_index([write_lines(tmp_path / "again", [document(0)])], tmp_path / "other", other)
    with caplog.at_level(logging.WARNING, "index"):
        second = LiveIndex.open(tmp_path / "other", other, served / USER_STRUCTURES_NAME, watch_s=None)
    assert "refused by these weights" in caplog.text
    assert first(second, 20) == "mine"
    assert second.search(pattern_of(crystal(20))).candidates[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert second.get_entry("refused").id == "refused"
    second.close()
    (kept,) = UserStructures(served / USER_STRUCTURES_NAME).read([1], other.digest)
    assert kept.vector is not None
    assert first(library, 20) == "mine"


def test_serves_a_new_version_and_rolls_back(opened: Opened, served: Path, indexes: dict[int, Path]) -> None:
    library, elsewhere = opened(), opened()
    library.add(NewUserStructure(crystal(20), "mine"))
    small = library.served.name
    large = publish_copy(indexes[LARGE], served).name
    assert library.manifest.crystals == SMALL
    assert library.refresh()
    assert not library.refresh()
    assert (library.served.name, library.manifest.crystals, library.user_structure_count) == (large, LARGE, 1)
    assert (first(library, 8), first(library, 20)) == (crystal(8).id, "mine")
    assert elsewhere.reload().name == large
    assert elsewhere.reload(small).name == small
    assert find_version_folder(served).name == small
    assert library.reload().manifest.crystals == SMALL
    assert first(library, 20) == "mine"
    with pytest.raises(OptionError, match="no version 'missing'"):
        library.reload("missing")


def test_a_version_that_cannot_be_served_leaves_the_old_one_in_service(
    opened: Opened, served: Path, indexes: dict[int, Path], caplog: pytest.LogCaptureFixture
) -> None:
    library = opened()
    small = library.served.name
    vectors = served / publish_copy(indexes[LARGE], served).name / "vectors.faiss"
    content = vectors.read_bytes()
    vectors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for _ in range(2):
        with pytest.raises(IndexUnavailableError, match=r"vectors.faiss is not the file"):
            library.refresh()
        assert first(library, 3) == crystal(3).id
    with pytest.raises(ConflictError, match=rf"vectors.faiss.*{small} is still served"):
        library.reload()
    assert "vectors.faiss" in caplog.text
    assert not library._update_version(retry_refused=False)
    vectors.write_bytes(content)
    assert library.refresh()
    roll_back(served)
    (served / CURRENT_NAME).unlink()
    with pytest.raises(IndexUnavailableError, match="contains no index"):
        library.refresh()
    assert first(library, 8) == crystal(8).id


def test_a_version_is_retried_when_the_user_structures_are_repaired(
    opened: Opened, served: Path, indexes: dict[int, Path]
) -> None:
    library = opened()
    library.add(NewUserStructure(crystal(20), "mine"))
    library._user_structures.close()
    (served / USER_STRUCTURES_NAME).rename(served / "kept")
    (served / USER_STRUCTURES_NAME).write_bytes(b"something else" * 500)
    large = publish_copy(indexes[LARGE], served).name
    for again in (library.refresh, library.reload):
        with pytest.raises((IndexUnavailableError, ConflictError), match="damaged"):
            again()
    (served / "kept").replace(served / USER_STRUCTURES_NAME)
    assert library.refresh()
    assert (library.served.name, library.user_structure_count) == (large, 1)


def test_reports_a_version_without_read_permission(
    opened: Opened, indexes: dict[int, Path], served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = opened()
    publish_copy(indexes[LARGE], served)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Version, "check_files", refuse)
    with pytest.raises(ConflictError, match=r"cannot be read: Permission denied.*still served"):
        library.reload()


def test_does_not_switch_to_a_version_of_other_weights(
    tmp_path: Path, opened: Opened, served: Path, encoder: RadialEncoder
) -> None:
    library = opened()
    small = library.served.name
    other = replace(encoder, digest="sha256:" + "00" * 32)
    build_index([write_lines(tmp_path / "x", [document(0)])], tmp_path / "other", other)
    name = publish_copy(tmp_path / "other", served).name
    roll_back(served)
    with pytest.raises(ConflictError, match=r"other\.digest|built with the weights"):
        library.reload(name)
    assert find_version_folder(served).name == library.served.name == small


@pytest.mark.parametrize("at_start", [True, False])
def test_follows_on_when_a_version_is_removed_while_it_is_opened(
    opened: Opened, served: Path, indexes: dict[int, Path], monkeypatch: pytest.MonkeyPatch, at_start: bool
) -> None:
    """When many versions are published in a row, the one that CURRENT has just named may be removed already."""
    library = None if at_start else opened()
    publish_copy(indexes[SMALL], served)
    going = find_version_folder(served)
    open_ = Retriever.open.__func__  # type: ignore[attr-defined]

    def late(cls: type[Retriever], folder: Path, encoder: RadialEncoder) -> Retriever:
        if folder == going and going.is_dir():
            publish_copy(indexes[LARGE], served)
            shutil.rmtree(going)
        return open_(cls, folder, encoder)  # type: ignore[no-any-return]

    monkeypatch.setattr(Retriever, "open", classmethod(late))
    if library is None:
        library = opened()
    else:
        (served / CURRENT_NAME).write_text(f"{going.name}\n")
        library._snapshot.version.name = "another"
        assert library.refresh()
    assert library.manifest.crystals == LARGE


def test_a_structure_of_the_index_replaces_the_same_user_structure(
    opened: Opened, served: Path, indexes: dict[int, Path]
) -> None:
    library = opened()
    library.add(NewUserStructure(crystal(7), crystal(7).id))
    library.add(NewUserStructure(crystal(20), crystal(8).id))
    small = library.served.name
    publish_copy(indexes[LARGE], served)
    library.refresh()
    assert library.get_entry(crystal(7).id).source == "made"
    assert library.user_structure_count == 1
    # A different structure under an id that the index now has; both are kept.
    assert same_structure(library.get_entry(crystal(8).id).crystal, crystal(8))
    renamed = f"{SOURCE}:{crystal(8).id}"
    assert same_structure(library.get_entry(renamed).crystal, crystal(20))
    assert first(library, 20) == renamed
    library.reload(small)
    assert library.user_structure_count == 2
    assert first(library, 20) == crystal(8).id
    library.reload(list_versions(served)[1].name)
    library.remove(renamed)
    library.reload(small)
    assert library.user_structure_count == 1


def test_damaged_user_structures_prevent_the_start_but_no_search(
    opened: Opened, served: Path, encoder: RadialEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    library = opened()
    library.add(NewUserStructure(crystal(20), "mine"))
    (served / "foreign").write_bytes(b"something else" * 500)
    (served / "foreign").replace(served / USER_STRUCTURES_NAME)
    for _ in range(3):
        assert first(library, 20) == "mine"
    assert sum("damaged" in record.getMessage() for record in caplog.records) == 1
    with pytest.raises(IndexUnavailableError, match="damaged"):
        library.add(NewUserStructure(crystal(21)))
    with pytest.raises(IndexUnavailableError, match="damaged"):
        LiveIndex.open(served, encoder, watch_s=None)
    (served / USER_STRUCTURES_NAME).unlink()
    assert library.user_structure_count == 0
    assert library.add(NewUserStructure(crystal(21))).is_new


def test_a_read_only_index_can_still_be_searched(
    opened: Opened, served: Path, indexes: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = opened()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ReadOnlyError, match="DD2D_USER_STRUCTURES"):
        library.add(NewUserStructure(crystal(20)))
    assert first(library, 3) == crystal(3).id
    large = publish_copy(indexes[LARGE], served).name
    roll_back(served)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("index.live.version_follower.make_current", refuse)
    with pytest.raises(ConflictError, match="not writable"):
        library.reload(large)


def test_a_single_version_is_never_replaced(
    tmp_path: Path, served: Path, indexes: dict[int, Path], encoder: RadialEncoder
) -> None:
    version = find_version_folder(served)
    library = LiveIndex.open(version, encoder, watch_s=None)
    # A version may be removed later; the user structures must not be lost with it.
    assert locate_user_structures(version) == served / USER_STRUCTURES_NAME
    library.add(NewUserStructure(crystal(20)))
    assert (served / USER_STRUCTURES_NAME).is_file()
    publish_copy(indexes[LARGE], served)
    assert not library.refresh()
    with pytest.raises(OptionError, match="single version"):
        library.reload(version.name)
    library.close()
    assert locate_user_structures(tmp_path) == tmp_path / USER_STRUCTURES_NAME
    assert verify_index(version, encoder).is_sound


def test_searches_continue_while_everything_changes(
    opened: Opened, served: Path, indexes: dict[int, Path]
) -> None:
    """Four threads search and look up while others add, remove, publish and roll back; none fails."""
    library = opened()
    stop = Event()

    def search(index: int) -> int:
        count = 0
        while not stop.is_set():
            with library.hold() as retriever:
                assert (
                    retriever.search(pattern_of(crystal(index)), top_k=3).candidates[0].entry.id
                    == crystal(index).id
                )
                assert len(retriever) == retriever.manifest.crystals + retriever.user_structure_count
            assert library.get_entry(crystal(index).id)
            count += 1
        return count

    def add(index: int) -> int:
        count = 0
        while not stop.is_set():
            library.add(NewUserStructure(crystal(index), f"mine/{index}"))
            assert library.get_entry(f"mine/{index}")
            library.remove(f"mine/{index}")
            count += 1
        return count

    with ThreadPoolExecutor(6) as pool:
        working = [
            *(pool.submit(search, index) for index in range(4)),
            *(pool.submit(add, i) for i in (20, 21)),
        ]
        try:
            for _ in range(15):
                publish_copy(indexes[LARGE], served)
                library.refresh()
                assert library.manifest.crystals == LARGE
                roll_back(served)
                assert library.reload().manifest.crystals == SMALL
        finally:
            stop.set()
        assert all(each.result() > 0 for each in working)


def test_a_watched_index_follows_by_itself(
    served: Path, indexes: dict[int, Path], encoder: RadialEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_served = Event()
    serve = LiveIndex._serve

    def serve_and_report(self: LiveIndex, version: OpenVersion) -> None:
        serve(self, version)
        is_served.set()

    monkeypatch.setattr(LiveIndex, "_serve", serve_and_report)
    library = LiveIndex.open(served, encoder, watch_s=0.01)
    publish_copy(indexes[LARGE], served)
    assert is_served.wait(30)
    assert library.manifest.crystals == LARGE
    library.close()
    with pytest.raises(IndexUnavailableError, match="closed"):
        library.get_entry("x")


def test_closes_files_when_the_last_search_has_ended(
    opened: Opened, served: Path, indexes: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    close = Retriever.close

    def record(self: Retriever) -> None:
        closed.append(self.manifest.crystals)
        close(self)

    monkeypatch.setattr(Retriever, "close", record)
    library = opened()
    library.add(NewUserStructure(crystal(20)))
    with library.hold() as retriever:
        publish_copy(indexes[LARGE], served)
        library.refresh()
        assert closed == []
        assert retriever.get_entry(crystal(1).id)
    assert closed == [SMALL]
