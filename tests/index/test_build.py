import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from index.build.build import build_index
from index.build.cell_errors import CellErrors
from index.build.inspection import verify_index
from index.build.preparation import prepare_entries
from index.search.retriever import Retriever
from index.sources.record import RejectedEntry
from index.starter.cell import CELL_SIGMA as STARTER_CELL_SIGMA
from index.storage.catalog import Catalog, Entry
from index.storage.layout import CURRENT_NAME
from index.storage.publish import KEPT_VERSIONS
from index.storage.versions import find_current_version, find_version_folder
from model.crystal.crystal import Crystal
from model.crystal.structure_files import read_structure
from model.crystal.symmetry import determine_symmetry
from model.errors import IndexUnavailableError, OptionError
from model.matching.priors import CELL_SIGMA
from tests.index.layers import crystal, document, same_structure, write_lines
from tests.index.stand_in import SPOILED, RadialEncoder, pattern_of


def test_an_index_contains_the_structures_of_its_source(built: Path, encoder: RadialEncoder) -> None:
    with Retriever.open(built, encoder) as retriever:
        assert len(retriever) == 46
        for index in range(40):
            made = crystal(index)
            entry = retriever.get_entry(made.id)
            assert same_structure(entry.crystal, made, 1e-12)
            assert entry == replace(Entry.from_crystal(made, determine_symmetry(made)), crystal=entry.crystal)
            assert same_structure(read_structure(entry.cif, id="x", source="x"), made)
        assert retriever.get_entry("again/3").license == "MIT"
        with pytest.raises(KeyError):
            retriever.get_entry("MoS2/0")


def test_the_manifest_states_model_counts_and_sources(built: Path, encoder: RadialEncoder) -> None:
    manifest = find_current_version(built).manifest
    assert (manifest.crystals, manifest.groups, manifest.rejected) == (46, 40, 0)
    assert manifest.sources == {"made": 40, "other": 6}
    assert (manifest.model.digest, manifest.model.form) == (encoder.digest, encoder.form)
    assert manifest.digest.startswith("sha256:")
    assert verify_index(built, encoder).is_sound
    assert verify_index(built, encoder).embedded_again == 46


def test_the_manifest_states_the_cell_errors(tmp_path: Path, encoder: RadialEncoder) -> None:
    source = write_lines(tmp_path / "x.jsonl", [document(0), document(1, source="mine")])
    for words, known in (
        ([], {}),
        (["0.01"], {"made": 0.01, "mine": 0.01}),
        (["mine=0.003"], {"mine": 0.003}),
        (["0.02", "mine=0.003"], {"made": 0.02, "mine": 0.003}),
    ):
        build_index([source], tmp_path / "index", encoder, cell_errors=CellErrors.parse(words))
        manifest = find_current_version(tmp_path / "index").manifest
        assert manifest.cell_sigma == known
        assert manifest.get_cell_sigma("mine") == known.get("mine", CELL_SIGMA)
        assert manifest.largest_cell_sigma == max(map(manifest.get_cell_sigma, ("made", "mine")))


def test_the_starter_library_has_its_own_cell_error() -> None:
    assert CellErrors().select(["starter", "C2DB"]) == {"starter": STARTER_CELL_SIGMA}
    assert CellErrors(by_source={"starter": 0.02}).select(["starter"]) == {"starter": 0.02}
    assert STARTER_CELL_SIGMA < CELL_SIGMA


@pytest.mark.parametrize("words", [["much"], ["mine="], ["0.5"], ["mine=-1"], ["nan"], ["a=0.01", "a=0.02"]])
def test_rejects_invalid_cell_errors(words: list[str]) -> None:
    with pytest.raises(OptionError, match="cell error"):
        CellErrors.parse(words)


def test_renames_an_id_that_a_second_source_repeats(tmp_path: Path, encoder: RadialEncoder) -> None:
    documents = [document(0, id="x", source=source) for source in ("one", "two", "two", "two")]
    report = build_index([write_lines(tmp_path / "a", documents)], tmp_path / "out", encoder)
    assert (report.crystals, report.groups, report.renamed) == (4, 1, 3)
    with Retriever.open(tmp_path / "out", encoder) as retriever:
        for id in ("x", "two:x", "two:x~2", "two:x~3"):
            assert retriever.get_entry(id).crystal.id == id


@dataclass(frozen=True)
class NonFiniteEncoder(RadialEncoder):
    """Makes a vector that is not finite for one crystal."""

    def embed_crystals(self, crystals: Sequence[Crystal]) -> NDArray[np.float32]:
        vectors = super().embed_crystals(crystals)
        vectors[["nonsense" in crystal.id for crystal in crystals]] = np.nan
        return vectors


def test_lists_rejected_entries_with_reasons(tmp_path: Path) -> None:
    lines = [
        document(0),
        "{broken",
        document(1, species=["Xx", "S", "S"], id="unknown"),
        document(2, id=SPOILED),
        document(3, id="nonsense"),
        document(4),
    ]
    encoder = NonFiniteEncoder()
    report = build_index([write_lines(tmp_path / "a", lines)], tmp_path / "out", encoder)
    assert (report.crystals, report.rejected) == (2, 4)
    assert sum(report.reasons.values()) == 4
    listed = [json.loads(line) for line in (report.directory / "rejected.jsonl").read_text().splitlines()]
    assert {each["name"] for each in listed} == {"a:2", "unknown", SPOILED, "nonsense"}
    assert all(each["reason"] for each in listed)
    written = json.loads((report.directory / "report.json").read_text())
    assert (written["crystals"], written["rejected"]) == (2, 4)
    assert verify_index(tmp_path / "out", encoder).is_sound
    with Retriever.open(tmp_path / "out", encoder) as retriever:
        assert retriever.get_entry(document(4)["id"]).crystal.id == document(4)["id"]


def test_a_build_without_usable_entries_keeps_the_old_index(tmp_path: Path, encoder: RadialEncoder) -> None:
    good = write_lines(tmp_path / "good", [document(0)])
    before = build_index([good], tmp_path / "out", encoder).digest
    with pytest.raises(IndexUnavailableError, match=r"None of the 1 entries.*JSON"):
        build_index([write_lines(tmp_path / "bad", ["{broken"])], tmp_path / "out", encoder)
    with pytest.raises(OptionError, match="does not exist"):
        build_index([good, tmp_path / "mistyped"], tmp_path / "out", encoder)
    assert find_current_version(tmp_path / "out").manifest.digest == before


def test_a_build_replaces_the_index_and_keeps_five_versions(tmp_path: Path, encoder: RadialEncoder) -> None:
    out = tmp_path / "deep" / "out"
    folders = []
    for count in range(1, KEPT_VERSIONS + 3):
        source = write_lines(tmp_path / "source", [document(i) for i in range(count)])
        folders.append(build_index([source], out, encoder).directory)
        assert find_current_version(out).manifest.crystals == count
        assert find_version_folder(out) == folders[-1]
    assert [folder.is_dir() for folder in folders] == [False] * 2 + [True] * KEPT_VERSIONS
    with Retriever.open(folders[2], encoder) as retriever:
        assert len(retriever) == 3
    assert not list(out.glob(".building-*"))


KILLED = 9


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_build_killed_at_any_step_leaves_the_old_or_the_new_index(
    tmp_path: Path, encoder: RadialEncoder
) -> None:
    """Killed before each stage, each flush to the disk and each rename, until one build comes through."""
    old, new = (write_lines(tmp_path / str(n), (document(i) for i in range(n))) for n in (2, 3))
    out = tmp_path / "out"
    counts: list[int] = []
    killed = True
    while killed:
        build_index([old], out, encoder, workers=0)
        killed = not _build_until(len(counts), new, out, encoder)
        assert verify_index(out, encoder).is_sound
        counts.append(find_current_version(out).manifest.crystals)
    assert len(counts) > 15
    assert counts == sorted(counts)
    assert set(counts[:-1]) == {2, 3}
    build_index([old], out, encoder, workers=0)
    assert not [path for path in out.iterdir() if path.name.startswith(".building")]


def _build_until(step: int, source: Path, out: Path, encoder: RadialEncoder) -> bool:
    """Build in another process, which is killed at a step; return whether the build ended before it."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in {0, KILLED}
        return code == 0
    left = step

    def kill_at_step(act: Callable[..., Any]) -> Callable[..., Any]:
        def act_or_die(*args: Any, **named: Any) -> Any:
            nonlocal left
            if left == 0:
                os._exit(KILLED)
            left -= 1
            return act(*args, **named)

        return act_or_die

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", kill_at_step(os.fsync))
            for name in ("rename", "replace"):
                patch.setattr(Path, name, kill_at_step(getattr(Path, name)))
            build_index([source], out, encoder, workers=0, on_stage=kill_at_step(lambda _name: None))
        os._exit(0)
    finally:
        os._exit(1)  # the child must not continue with the tests


def test_an_open_index_keeps_working_while_it_is_replaced(tmp_path: Path, encoder: RadialEncoder) -> None:
    source = write_lines(tmp_path / "source", [document(i) for i in range(4)])
    build_index([source], tmp_path / "out", encoder)
    with Retriever.open(tmp_path / "out", encoder) as retriever:
        for _ in range(3):
            build_index([source], tmp_path / "out", encoder)
        (vector,) = encoder.embed_crystals([crystal(2)])
        assert retriever.search(pattern_of(crystal(2)), vector=vector).candidates[0].entry.id == crystal(2).id


def test_a_build_refuses_a_folder_with_other_files(tmp_path: Path, encoder: RadialEncoder) -> None:
    source = write_lines(tmp_path / "source", [document(0)])
    with pytest.raises(IndexUnavailableError, match="contains other files"):
        build_index([source], tmp_path, encoder)
    with pytest.raises(IndexUnavailableError, match="is a file"):
        build_index([source], source, encoder)
    version = build_index([source], tmp_path / "out", encoder).directory
    with pytest.raises(IndexUnavailableError, match="one version of an index"):
        build_index([source], version, encoder)
    assert {path.name for path in tmp_path.iterdir()} == {"source", "out"}


def test_a_second_build_in_the_same_folder_is_refused(tmp_path: Path, encoder: RadialEncoder) -> None:
    source = write_lines(tmp_path / "source", [document(0)])

    def second_build(stage: str) -> None:
        if stage == "done":
            return
        with pytest.raises(IndexUnavailableError, match="Another build"):
            build_index([source], tmp_path / "out", encoder)

    build_index([source], tmp_path / "out", encoder, on_stage=second_build)
    assert verify_index(tmp_path / "out", encoder).is_sound


@dataclass(frozen=True)
class Crashing:
    """A record that crashes the process that makes its crystal, as a fault in a C library does."""

    id: str = "crash"
    source: str = "made"
    license: str | None = None
    reference: str | None = None

    def make_crystal(self) -> Crystal:
        os._exit(1)


@dataclass(frozen=True)
class Ready:
    number: int
    source: str = "made"
    license: str | None = None
    reference: str | None = None

    @property
    def id(self) -> str:
        return f"ready {self.number}"

    def make_crystal(self) -> Crystal:
        return replace(crystal(self.number % 60), id=self.id)


def test_workers_keep_the_order_and_survive_a_record_that_crashes_them() -> None:
    records = [Crashing() if i == 700 else Ready(i) for i in range(1100)]
    prepared = [each for chunk in prepare_entries(records, workers=1) for each in chunk]
    assert len(prepared) == 1100
    for number, each in enumerate(prepared):
        if number == 700:
            assert isinstance(each, RejectedEntry)
            assert each.name == "crash"
        else:
            assert each.id == f"ready {number}" if isinstance(each, Entry) else False


def test_detects_a_damaged_index(tmp_path: Path, encoder: RadialEncoder) -> None:
    source = write_lines(tmp_path / "source", [document(i) for i in range(9)])
    version = build_index([source], tmp_path / "out", encoder).directory
    for name in find_current_version(version).manifest.files:
        path = version / name
        content = path.read_bytes()
        if content:
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
            assert any(name in problem for problem in verify_index(version, encoder).problems)
            path.write_bytes(content[:-1])
            with pytest.raises(IndexUnavailableError, match=name):
                Retriever.open(version, encoder)
        path.unlink()
        with pytest.raises(IndexUnavailableError, match=f"{name} is missing"):
            Retriever.open(version, encoder)
        assert f"{name} is missing." in verify_index(version, encoder).problems
        path.write_bytes(content)
    assert verify_index(version, encoder).is_sound


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"format_version": 1}', '{"format_version": 2}', '{"format_version": 3}'],
)
def test_a_damaged_manifest_is_refused(content: str, tmp_path: Path, encoder: RadialEncoder) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(IndexUnavailableError, match="build the index again"):
        Retriever.open(tmp_path, encoder)


@pytest.mark.parametrize("content", [None, b"", b"../elsewhere\n", b"\xff"])
def test_a_folder_without_an_index_is_refused(
    content: bytes | None, tmp_path: Path, encoder: RadialEncoder
) -> None:
    if content is not None:
        (tmp_path / CURRENT_NAME).write_bytes(content)
    with pytest.raises(IndexUnavailableError, match="build"):
        Retriever.open(tmp_path, encoder)
    with pytest.raises(IndexUnavailableError, match="build"):
        Retriever.open(tmp_path / "nowhere", encoder)


def test_refuses_other_weights_and_names_both(built: Path, encoder: RadialEncoder) -> None:
    others = (
        replace(encoder, digest="sha256:" + "cd" * 32),
        replace(encoder, dimension=50),
        replace(encoder, form="other"),
    )
    for other in others:
        for refuses in (Retriever.open, verify_index):
            with pytest.raises(IndexUnavailableError, match=encoder.digest) as refusal:
                refuses(built, other)
            assert other.digest in str(refusal.value)
            assert f"{other.form}, {other.dimension}" in str(refusal.value)


def test_verify_finds_vectors_that_the_model_does_not_make(built: Path, encoder: RadialEncoder) -> None:
    @dataclass(frozen=True)
    class Drifted(RadialEncoder):
        def embed_crystals(self, crystals: Sequence[Crystal]) -> NDArray[np.float32]:
            return np.roll(super().embed_crystals(crystals), 5, axis=1)

    assert encoder == RadialEncoder()
    problems = verify_index(built, Drifted()).problems
    assert problems
    assert "cosine" in problems[0]


def test_the_catalog_cannot_be_written_to(built: Path) -> None:
    catalog = Catalog.open(find_version_folder(built) / "catalog.sqlite")
    with pytest.raises(Exception, match="readonly"):
        catalog._connection.execute("DELETE FROM crystals")
    catalog.close()


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(OptionError, match="workers is -1"):
        next(prepare_entries([], workers=-1))
