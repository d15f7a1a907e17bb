"""Versions are listed, published as copies, and rolled back to."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from index.build.build import build_index
from index.build.inspection import verify_index
from index.storage.layout import CURRENT_LOCK_NAME, CURRENT_NAME
from index.storage.publish import KEPT_VERSIONS, make_current, publish_copy, roll_back, stage_version
from index.storage.versions import find_current_version, find_version_folder, list_versions
from model.errors import IndexUnavailableError, OptionError
from tests.index.layers import document, write_lines
from tests.index.stand_in import RadialEncoder


@pytest.fixture
def sources(tmp_path: Path, encoder: RadialEncoder) -> list[Path]:
    """Indexes of 1, 2, ... crystals, each in a folder of its own."""
    return [build(tmp_path, count, encoder) for count in range(1, 5)]


def build(folder: Path, count: int, encoder: RadialEncoder) -> Path:
    source = write_lines(folder / f"source {count}", [document(i) for i in range(count)])
    build_index([source], folder / f"built {count}", encoder)
    return folder / f"built {count}"


def list_crystals(directory: Path) -> list[int]:
    """Return the number of crystals of each version, in the order of the list."""
    return [each.manifest.crystals for each in list_versions(directory)]


def test_a_published_copy_is_the_same_version(
    tmp_path: Path, sources: list[Path], encoder: RadialEncoder
) -> None:
    served = tmp_path / "served"
    for count, source in enumerate(sources, start=1):
        published = publish_copy(source, served)
        original, copy = find_current_version(source), find_current_version(served)
        assert copy.manifest.digest == original.manifest.digest == published.manifest.digest
        assert copy.name == published.name == original.name
        assert list_crystals(served) == list(range(count, 0, -1))
        assert [each.name == copy.name for each in list_versions(served)] == [True] + [False] * (count - 1)
    assert verify_index(served, encoder).is_sound
    assert verify_index(sources[0], encoder).is_sound
    assert (find_version_folder(served) / "report.json").is_file()


def test_an_existing_version_is_not_copied_again(tmp_path: Path, sources: list[Path]) -> None:
    served = tmp_path / "served"
    for source in (sources[0], sources[1], sources[0]):
        publish_copy(source, served)
    assert list_crystals(served) == [1, 2]
    (find_version_folder(served) / "elements.npy").write_bytes(b"damaged")
    publish_copy(sources[0], served)
    assert len(list_versions(served)) == 3
    assert verify_index(served).is_sound


def test_a_damaged_index_is_not_published(tmp_path: Path, sources: list[Path]) -> None:
    served = tmp_path / "served"
    publish_copy(sources[0], served)
    vectors = find_version_folder(sources[1]) / "vectors.faiss"
    content = vectors.read_bytes()
    for damaged in (content[:-1], content[:-1] + b"x"):
        vectors.write_bytes(damaged)
        with pytest.raises(IndexUnavailableError, match=r"built 2.*vectors.faiss is not the file"):
            publish_copy(sources[1], served)
    vectors.unlink()
    with pytest.raises(IndexUnavailableError, match=r"vectors.faiss is missing"):
        publish_copy(sources[1], served)
    assert list_crystals(served) == [1]
    assert not list(served.glob(".building-*"))
    with pytest.raises(IndexUnavailableError, match="contains no index"):
        publish_copy(tmp_path, served)


def test_rolls_back_step_by_step_and_forward_by_name(tmp_path: Path, sources: list[Path]) -> None:
    served = tmp_path / "served"
    names = [publish_copy(source, served).name for source in sources]
    for count in (3, 2, 1):
        assert roll_back(served).manifest.crystals == count
        assert list_crystals(served)[0] == count
        assert sorted(list_crystals(served)) == [1, 2, 3, 4]
    with pytest.raises(OptionError, match=rf"No version was current before.*{names[3]}"):
        roll_back(served)
    roll_back(served, names[3])
    assert list_crystals(served)[:2] == [4, 1]
    roll_back(served, names[1])
    assert list_crystals(served)[0] == 2
    assert roll_back(served).name == names[3]
    with pytest.raises(OptionError, match=r"no version '../x'; available: 2"):
        roll_back(served, "../x")


def test_a_rollback_goes_to_the_version_that_was_current_before(tmp_path: Path, sources: list[Path]) -> None:
    served = tmp_path / "served"
    for place in (2, 3, 0):
        publish_copy(sources[place], served)
    assert roll_back(served).manifest.crystals == 4


def test_does_not_roll_back_to_a_damaged_version(tmp_path: Path, sources: list[Path]) -> None:
    served = tmp_path / "served"
    for source in sources[:2]:
        publish_copy(source, served)
    catalog = served / list_versions(served)[1].name / "catalog.sqlite"
    catalog.write_bytes(catalog.read_bytes()[:-1])
    with pytest.raises(IndexUnavailableError, match=r"catalog.sqlite is not the file"):
        roll_back(served)
    assert list_crystals(served)[0] == 2


def test_keeps_the_last_five_versions_and_the_current_one(tmp_path: Path, encoder: RadialEncoder) -> None:
    served = tmp_path / "served"
    built = [build(tmp_path, count, encoder) for count in range(1, 9)]
    for source in built[:7]:
        publish_copy(source, served)
    assert list_crystals(served) == [7, 6, 5, 4, 3]
    oldest = list_versions(served)[-1].name
    roll_back(served, oldest)
    assert sorted(list_crystals(served)) == [3, 4, 5, 6, 7]
    publish_copy(built[7], served)
    assert list_crystals(served)[:2] == [8, 3]
    assert len(list_crystals(served)) == KEPT_VERSIONS


def test_a_version_published_during_a_rollback_is_kept(
    tmp_path: Path, encoder: RadialEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "served"
    built = [build(tmp_path, count, encoder) for count in range(1, KEPT_VERSIONS + 2)]
    for source in built[:-1]:
        publish_copy(source, served)
    oldest = list_versions(served)[-1].name
    acquire = FileLock.acquire
    waits = iter([True])

    def let_rollback_go_first(lock: FileLock, **options: Any) -> Any:
        if Path(lock.lock_file).name == CURRENT_LOCK_NAME and next(waits, False):
            make_current(served, oldest)
        return acquire(lock, **options)

    monkeypatch.setattr(FileLock, "acquire", let_rollback_go_first)
    published = publish_copy(built[-1], served)
    assert find_version_folder(served).name == published.name
    assert list_crystals(served)[0] == KEPT_VERSIONS + 1


def test_does_not_roll_back_to_a_version_removed_meanwhile(tmp_path: Path, sources: list[Path]) -> None:
    served = tmp_path / "served"
    for source in sources[:2]:
        publish_copy(source, served)
    first = list_versions(served)[1].name
    shutil.rmtree(served / first)
    with pytest.raises(IndexUnavailableError, match=f"{first} has just been removed"):
        make_current(served, first, is_rollback=True)
    assert list_crystals(served) == [2]


def test_a_rollback_does_not_wait_for_a_build(tmp_path: Path, sources: list[Path]) -> None:
    served = tmp_path / "served"
    for source in sources[:2]:
        publish_copy(source, served)
    with stage_version(served):
        assert roll_back(served).manifest.crystals == 1
        with pytest.raises(IndexUnavailableError, match="Another build"):
            publish_copy(sources[2], served)


def test_lists_versions_without_a_history(tmp_path: Path, sources: list[Path]) -> None:
    served = tmp_path / "served"
    for source in sources[:3]:
        publish_copy(source, served)
    current = find_version_folder(served).name
    (served / CURRENT_NAME).write_text(current + "\n")
    assert list_crystals(served)[0] == 3
    assert set(list_crystals(served)) == {1, 2, 3}
    shutil.rmtree(served / list_versions(served)[2].name)
    with pytest.raises(OptionError, match="name one of"):
        roll_back(served)
    assert roll_back(served, list_versions(served)[1].name).manifest.crystals in {1, 2}
