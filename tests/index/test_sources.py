import gzip
import json
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect
from hypothesis import given
from hypothesis import strategies as st

from index.sources.json_documents import read_document
from index.sources.json_lines import read_json_lines
from index.sources.recognition import read_crystals, read_records
from index.sources.record import RejectedEntry, make_crystal
from index.sources.source_file import ZIP_LIMITS, SourceFile, list_zip
from model.crystal.crystal import Crystal
from model.crystal.structure_files import write_cif, write_poscar
from model.errors import OptionError
from model.zip_limits import ZipLimits
from tests.index.layers import crystal, document, same_structure, write_lines
from tests.paths import SHARED

DATA = SHARED / "data"


def read(path: Path) -> tuple[list[Crystal], list[RejectedEntry]]:
    items = list(read_crystals(path))
    return (
        [item for item in items if isinstance(item, Crystal)],
        [item for item in items if isinstance(item, RejectedEntry)],
    )


def assert_first_layers(crystals: list[Crystal], count: int) -> None:
    assert len(crystals) == count
    for index, found in enumerate(crystals):
        assert same_structure(found, crystal(index)), found


def test_reads_json_lines_plain_and_compressed_under_any_name(tmp_path: Path) -> None:
    plain = write_lines(tmp_path / "structures.cif", [document(i) for i in range(3)])
    compressed = tmp_path / "structures"
    compressed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, compressed):
        crystals, rejected = read(path)
        assert_first_layers(crystals, 3)
        assert not rejected
        assert [found.id for found in crystals] == [document(i)["id"] for i in range(3)]
        assert {found.source for found in crystals} == {"made"}


def test_reads_deuterium_as_hydrogen(tmp_path: Path) -> None:
    crystals, rejected = read(write_lines(tmp_path / "x", [document(1, species=["Pd", "D", "T"])]))
    assert not rejected
    assert crystals[0].elements == ("H", "Pd")


BAD_LINES: dict[str, tuple[object, str]] = {
    "no json": ("{oops", "not a JSON object"),
    "a list": ("[1, 2]", "not a JSON object"),
    "unknown keys": ({"formula": "MoS2"}, "unknown layout"),
    "Unknown element": (document(1, species=["Mo", "Xx", "S"]), "Unknown element"),
    "element of no kind": (document(1, species=["Mo", None, "S"]), "Unknown element"),
    "text in the cell": (document(1, lattice=[["a", 0, 0]] * 3), "numbers"),
    "ragged coordinates": (document(1, frac=[[0, 0, 0], [0, 0], [1, 1, 1]]), "numbers"),
    "fewer species": (document(1, species=["Mo"]), "does not match the coordinates"),
    "overlap": (document(1, frac=[[0, 0, 0.5]] * 3), "Overlapping"),
    "not finite": (document(1, frac=[[float("nan"), 0, 0.5]] * 3), "finite"),
    "bulk": (document(1, lattice=[[3, 0, 0], [0, 3, 0], [0, 0, 3]]), "vacuum"),
    "flat cell": (document(1, lattice=[[3, 0, 0], [6, 0, 0], [0, 0, 30]]), "one plane"),
    "empty": (document(1, species=[], frac=[]), ""),
    "deep": ("{" + '"a":{' * 5000, "not a JSON object"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_reports_a_bad_line_and_reads_the_next_ones(name: str, tmp_path: Path) -> None:
    line, reason = BAD_LINES[name]
    crystals, rejected = read(write_lines(tmp_path / "x.jsonl", [document(0), line, "", document(1)]))
    assert_first_layers(crystals, 2)
    assert len(rejected) == 1
    assert reason in rejected[0].reason
    assert rejected[0].name


def test_json_lines_may_begin_with_a_bad_line(tmp_path: Path) -> None:
    crystals, rejected = read(write_lines(tmp_path / "x", ["{oops", document(0), document(1)]))
    assert_first_layers(crystals, 2)
    assert [each.name for each in rejected] == ["x:1"]


def test_reads_a_truncated_gzip_up_to_its_end(tmp_path: Path) -> None:
    whole = write_lines(tmp_path / "x.jsonl", [document(i, note=str(i) * 50) for i in range(300)])
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(whole.read_bytes())[:-2000])
    crystals, rejected = read(cut)
    assert 0 < len(crystals) < 300
    assert len(rejected) == 1
    assert "damaged" in rejected[0].reason


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.floats() | st.text(), st.lists)))
def test_no_document_interrupts_the_reading(content: dict[str, Any]) -> None:
    for keys in (("lattice", "species", "frac"), ("lattice", "sites"), ("structure",)):
        values = [*content.values(), {}, [], None][: len(keys)]
        spoilt = {**content, **dict(zip(keys, values, strict=True))}
        assert list(read_document(spoilt, "name", "source"))


def test_escapes_lone_surrogates_in_an_id(tmp_path: Path) -> None:
    line = json.dumps(document(0)).replace("MoS2/0%", r"\ud800MoS2")
    (found,), _ = read(write_lines(tmp_path / "x", [line]))
    assert found.id.encode() == rb"\ud800MoS2"


def ase_database(path: Path, uid: bool = True) -> None:
    with connect(path, type="db") as database:  # type: ignore[no-untyped-call]
        for index in range(3):
            made = document(index)
            atoms = Atoms(made["species"], scaled_positions=made["frac"], cell=made["lattice"], pbc=(1, 1, 0))
            keys = {"uid": f"uid-{index}", "license": "CC BY-SA 4.0"} if uid else {}
            database.write(atoms, **keys)


def test_an_ase_database_names_crystals_by_uid(tmp_path: Path) -> None:
    ase_database(tmp_path / "c2db.db")
    crystals, rejected = read(tmp_path / "c2db.db")
    assert_first_layers(crystals, 3)
    assert not rejected
    assert [(found.id, found.source) for found in crystals] == [(f"uid-{i}", "c2db") for i in range(3)]
    records = list(read_records(tmp_path / "c2db.db"))
    assert {None if isinstance(r, RejectedEntry) else r.license for r in records} == {"CC BY-SA 4.0"}


def test_reads_an_ase_database_without_uid_in_a_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    ase_database(folder / "data", uid=False)
    before = (folder / "data").read_bytes()
    folder.chmod(0o555)
    try:
        crystals, _ = read(folder / "data")
    finally:
        folder.chmod(0o755)
    assert [found.id for found in crystals] == ["1", "2", "3"]
    assert (folder / "data").read_bytes() == before


def test_reports_a_damaged_row_of_an_ase_database(tmp_path: Path) -> None:
    path = tmp_path / "c2db.db"
    ase_database(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE systems SET positions = x'00' WHERE id = 2")
    connection.close()
    crystals, rejected = read(path)
    assert [found.id for found in crystals] == ["uid-0", "uid-2"]
    assert len(rejected) == 1


def test_reports_another_sqlite_file_and_does_not_change_it(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (a)")
    connection.close()
    before = path.read_bytes()
    crystals, rejected = read(path)
    assert not crystals
    assert "not an ASE database" in rejected[0].reason
    assert path.read_bytes() == before


Writer = Callable[[Crystal], str]


@pytest.mark.parametrize("write", [write_cif, write_poscar])
def test_reads_a_structure_file(write: Writer, tmp_path: Path) -> None:
    path = tmp_path / "MoS2.txt"
    path.write_text(write(crystal(0)))
    crystals, rejected = read(path)
    assert_first_layers(crystals, 1)
    assert not rejected
    assert crystals[0].id == "MoS2"


def test_reads_a_cif_with_several_blocks(tmp_path: Path) -> None:
    path = tmp_path / "all.cif"
    field = "data_note\n_comment\n;\ndata_inside_a_text_field\n_cell_length_a 3\n;\n"
    path.write_text(field + "".join(write_cif(crystal(i)) for i in range(3)))
    crystals, rejected = read(path)
    assert_first_layers(crystals, 3)
    assert not rejected
    assert len({found.id for found in crystals}) == 3


def fill(folder: Path) -> None:
    (folder / "b" / "deep").mkdir(parents=True)
    (folder / "a.cif").write_text(write_cif(crystal(0)))
    (folder / "b" / "POSCAR").write_text(write_poscar(crystal(1)))
    (folder / "b" / "deep" / "lines").write_text(json.dumps(document(2)) + "\n")
    (folder / "b" / "deep" / "x.cif.gz").write_bytes(gzip.compress(write_cif(crystal(3)).encode()))
    (folder / "c.cif").write_text("data_broken\n_cell_length_a abc\n")
    (folder / "notes.md").write_text("What this is.\n")
    (folder / "noise").write_bytes(bytes(range(256)))
    (folder / "nothing").write_bytes(b"")
    (folder / ".hidden").write_text("not looked at")


def test_reads_a_folder_of_everything(tmp_path: Path) -> None:
    fill(tmp_path)
    crystals, rejected = read(tmp_path)
    assert_first_layers(crystals, 4)
    assert [found.id for found in crystals] == ["a", "b/POSCAR", document(2)["id"], "b/deep/x"]
    assert {each.name for each in rejected} == {"c", "notes.md", "noise", "nothing"}


def zipped(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))


def test_reads_a_zip_of_everything(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    fill(folder)
    ase_database(folder / "inner.db")
    zipped(folder, tmp_path / "x.zip")
    zipped(folder, folder / "inner.zip")
    zipped(folder, tmp_path / "y.zip")
    crystals, rejected = read(tmp_path / "x.zip")
    assert_first_layers(crystals, 4)
    assert len(rejected) == 5
    _, rejected = read(tmp_path / "y.zip")
    assert len(rejected) == 6
    assert sum("unpack it first" in each.reason for each in rejected) == 2


def test_expands_a_zip_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.cif", b"data_\n" + bytes(20_000_000))
        for i in range(4):
            archive.writestr(f"{i}.cif", write_cif(crystal(i)))
    crystals, rejected = read(path)
    assert_first_layers(crystals, 4)
    assert "expands by more than a factor of" in rejected[0].reason

    def limit_zip(limits: ZipLimits) -> None:
        monkeypatch.setattr("index.sources.recognition.list_zip", partial(list_zip, limits=limits))

    limit_zip(replace(ZIP_LIMITS, total_bytes=2 * len(write_cif(crystal(0))) + 10))
    crystals, rejected = read(path)
    assert_first_layers(crystals, 2)
    assert "exceed the limit" in rejected[-1].reason
    limit_zip(replace(ZIP_LIMITS, member_bytes=10))
    assert not read(path)[0]


def test_reads_what_it_can_of_a_damaged_zip(tmp_path: Path) -> None:
    fill(tmp_path / "folder")
    zipped(tmp_path / "folder", tmp_path / "x.zip")
    content = bytearray((tmp_path / "x.zip").read_bytes())
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    crystals, rejected = read(tmp_path / "cut.zip")
    assert not crystals
    assert "damaged" in rejected[0].reason
    content[60:90] = bytes(30)
    (tmp_path / "spoilt.zip").write_bytes(content)
    crystals, rejected = read(tmp_path / "spoilt.zip")
    assert len(crystals) == 3
    assert len(rejected) == 5


def pymatgen_documents() -> list[dict[str, Any]]:
    return [crystal(i).to_structure().as_dict() for i in range(3)]


def test_reads_pymatgen_structures_alone_and_in_lists(tmp_path: Path) -> None:
    documents = pymatgen_documents()
    for name, content in {
        "one": documents[0],
        "list": documents,
        "named": {f"mp-{i}": each for i, each in enumerate(documents)},
        "entries": [
            {"@class": "ComputedStructureEntry", "entry_id": f"mp-{i}", "energy": -1.0, "structure": each}
            for i, each in enumerate(documents)
        ],
        "answer": {
            "data": [{"material_id": f"mp-{i}", "structure": d} for i, d in enumerate(documents)],
            "meta": {},
        },
    }.items():
        for indent in (None, 1):
            path = tmp_path / f"{name}-{indent}"
            path.write_text(json.dumps(content, indent=indent))
            crystals, _ = read(path)
            assert_first_layers(crystals, 1 if name == "one" else 3)
            if name in {"named", "entries", "answer"}:
                assert [found.id for found in crystals] == ["mp-0", "mp-1", "mp-2"]


def test_reads_materials_project_documents_as_lines(tmp_path: Path) -> None:
    lines = [{"material_id": f"2dm-{i}", "structure": d} for i, d in enumerate(pymatgen_documents())]
    crystals, _ = read(write_lines(tmp_path / "db.json", lines))
    assert_first_layers(crystals, 3)
    assert [found.id for found in crystals] == ["2dm-0", "2dm-1", "2dm-2"]


def test_rejects_unusable_pymatgen_documents(tmp_path: Path) -> None:
    good, disordered, damaged = pymatgen_documents()
    half = {"element": "Mo", "occu": 0.5}
    disordered["sites"][0]["species"] = [half, {**half, "element": "W"}]
    del damaged["sites"][0]["abc"]
    molecule = {"@class": "Molecule", "sites": []}
    content = [good, disordered, damaged, {"structure": molecule}, 7, {"no": "structure"}]
    (tmp_path / "x.json").write_text(json.dumps(content))
    crystals, rejected = read(tmp_path / "x.json")
    assert_first_layers(crystals, 1)
    reasons = [each.reason for each in rejected]
    assert len(reasons) == 4
    for reason, part in zip(
        reasons, ("partial occupancy", "damaged", "no lattice", "unknown layout"), strict=True
    ):
        assert part in reason


def test_reads_monty_arrays_without_importing_modules(tmp_path: Path) -> None:
    (made, *_) = pymatgen_documents()
    matrix = {"@module": "numpy", "@class": "array", "dtype": "float64", "data": made["lattice"]["matrix"]}
    made["lattice"]["matrix"] = matrix
    made["sites"][0]["properties"] = {"x": {"@module": "no_such_module", "@class": "Trap"}}
    (tmp_path / "x.json").write_text(json.dumps(made))
    assert_first_layers(read(tmp_path / "x.json")[0], 1)
    del made["lattice"]["matrix"]
    (tmp_path / "x.json").write_text(json.dumps(made))
    (found,), _ = read(tmp_path / "x.json")
    assert np.allclose(found.lattice, crystal(0).lattice, atol=1e-4)


def test_a_missing_source_is_an_immediate_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="does not exist"):
        list(read_crystals(tmp_path / "nowhere"))


# Of 2DMatPedia: atoms scattered over a cell of 27 angstrom; and slabs of different parts with a wide gap inside.
NO_LAYER = {"Sn3Bi4": "A molecule or chain in a box"}
GAPS_INSIDE = {"Ag4Bi12", "Hf16O56", "Zr16O56", "Rb16Sn32", "Na16Pb32", "K16Sn32", "Li16Sn32"}


@pytest.mark.parametrize("name", ["2dmatpedia", "bilayers", "c2db_sample", "ml2ddb", "mxenes"])
def test_reads_published_databases_except_structures_that_are_not_layers(name: str) -> None:
    path = DATA / "structures" / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip("the databases of ../shared are not here")
    records = [record for record in read_records(path) if not isinstance(record, RejectedEntry)]
    assert len(records) > 300
    refused = {record.id: make_crystal(record) for record in records if record.id in NO_LAYER}
    assert set(refused) == (set(NO_LAYER) if name == "2dmatpedia" else set())
    for id, found in refused.items():
        assert isinstance(found, RejectedEntry)
        assert NO_LAYER[id] in found.reason
    gapped = {record.id: make_crystal(record) for record in records if record.id in GAPS_INSIDE}
    assert set(gapped) == (GAPS_INSIDE if name == "2dmatpedia" else set())
    assert not any(isinstance(found, RejectedEntry) for found in gapped.values())
    usable = [record for record in records if record.id not in NO_LAYER]
    for record in usable[:: len(usable) // 60]:
        assert record.make_crystal().id == record.id


def test_reads_the_published_structures_of_dd2d() -> None:
    folder = DATA / "patterns" / "dd2d"
    if not folder.exists():
        pytest.skip("the patterns of ../shared are not here")
    crystals, rejected = read(folder)
    assert {each.name for each in rejected} == {"example.json:1", "prse3_figure4.json:1"}
    formulas = {found.id: found.formula for found in crystals}
    assert formulas["figure4_attempt1"] == "PrSe3"
    assert formulas["candidates/truth"] == "TiS"


def test_numbers_lines_from_one(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x", [document(0), "nonsense"])
    (_, second) = read_json_lines(SourceFile.from_path(path, "x", "x"))
    assert second == RejectedEntry("x:2", "The line is not a JSON object.")
