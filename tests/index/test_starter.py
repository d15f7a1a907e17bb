"""The starter library: complete, strict, cited, and close to databases of computed layers."""

import gzip
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from ase.data import atomic_numbers, covalent_radii

from index.build.build import build_index
from index.search.retriever import Retriever
from index.starter.citations import read_citations
from index.starter.library import LIBRARY, StarterEntry, read_starter_entries
from index.starter.orbits import Orbits
from index.starter.prototypes import PROTOTYPES
from model.crystal.crystal import Crystal
from model.crystal.duplicates import group_duplicates, is_same_crystal
from model.crystal.site_matching import Tolerance
from model.crystal.symmetry import determine_symmetry
from model.errors import IndexUnavailableError
from tests.index.stand_in import RadialEncoder
from tests.paths import SHARED

STRUCTURES = SHARED / "data" / "structures"
# Wide, so that an entry is compared with every computed layer arranged as it is, even if its numbers are wrong.
SAME_ARRANGEMENT = Tolerance(length_fraction=0.2, angle_deg=6.0, site_fraction=0.2, translation_angstrom=0.25)
LATTICE_FRACTION, BOND_FRACTION = 0.03, 0.05
BONDED_BELOW_COVALENT_RADII = 1.2

FREE = "measured in the bulk, and the computed free layer is wider along its armchair direction"
SPIN = "computed in another spin state than the real crystal's, with another size of the metal atom"
PAIRS = "the computed layer pairs its titanium atoms; the real one does so only when cold"
# Entries that differ more than that from every computed layer, and why.
DIFFER = {
    "GeS": FREE,
    "black-arsenic": FREE,
    "FeTe": SPIN,
    "FeCl2": SPIN,
    "FeBr3": SPIN,
    "CoPS3": SPIN,
    "TiOCl": "a magnetic insulator, computed without spin",
    "TiCl3": PAIRS,
    "TiBr3": PAIRS,
    "CoTe2-1T": "measured in the bulk, whose layers are bonded to each other; the free layer shrinks",
    "Y2CF2": "measured in the bulk, from memory; the computed free layer is 4 % smaller",
}

LAYER_GROUPS = {
    "graphene": 80,
    "goldene": 80,
    "BN": 78,
    "MoS2-1H": 78,
    "TiS2-1T": 72,
    "silicene": 72,
    "MoSSe-Janus": 69,
    "WTe2-1Tp": 15,
    "ReSe2": 2,
    "NbTe2": 18,
    "phosphorene": 42,
    "SnSe": 32,
    "CrI3": 71,
    "MnPS3": 71,
    "Nb3Cl8": 69,
    "GaSe": 78,
    "Bi2Se3": 72,
    "FeSe": 64,
    "FeOCl": 46,
    "PdSe2": 17,
    "Ti3C2O2": 72,
    "graphene-AB": 72,
    "MoS2-2H-bilayer": 72,
    "MoS2-3R-bilayer": 69,
}

CITATION = '[a]\nauthors = "A. Author"\njournal = "J."\nvolume = "1"\npage = "2"\nyear = 2000\n'
ENTRY = '[1H]\nMoS2 = { elements = "Mo S", a = 3.16, bonds = [2.41], cite = "a" }\n'


@pytest.fixture(scope="module")
def entries() -> list[StarterEntry]:
    return list(read_starter_entries())


def test_has_hundreds_of_crystals_without_duplicates(entries: list[StarterEntry]) -> None:
    assert len(entries) >= 250
    assert len({entry.name for entry in entries}) == len(entries)
    crystals = [entry.crystal for entry in entries]
    assert [crystal.id for crystal in crystals] == [f"starter/{entry.name}" for entry in entries]
    groups = group_duplicates(crystals)
    first = {group: crystals[index].id for index, group in reversed(list(enumerate(groups)))}
    same = {c.id: first[group] for c, group in zip(crystals, groups, strict=True) if first[group] != c.id}
    assert not same


def test_every_crystal_has_the_layer_group_of_its_prototype(entries: list[StarterEntry]) -> None:
    found = {entry.name: determine_symmetry(entry.crystal).layer_group for entry in entries}
    assert found == {entry.name: entry.prototype.layer_group for entry in entries}
    assert {name: found[name] for name in LAYER_GROUPS} == LAYER_GROUPS


def test_every_prototype_is_used(entries: list[StarterEntry]) -> None:
    assert {entry.prototype_name for entry in entries} == set(PROTOTYPES)


def test_bond_lengths_are_plausible(entries: list[StarterEntry]) -> None:
    for entry in entries:
        numbers = entry.crystal.numbers
        relative = distances(entry.crystal) / (covalent_radii[numbers][:, None] + covalent_radii[numbers])
        nearest = relative.min(axis=1)
        assert nearest.min() > 0.7, f"{entry.name} has atoms too close"
        assert nearest.max() < 1.4, f"{entry.name} has an atom bonded to nothing"


def test_every_citation_is_used(entries: list[StarterEntry]) -> None:
    assert {entry.citation.key for entry in entries} == set(read_citations(LIBRARY / "citations.toml"))


def test_states_what_has_not_been_checked(entries: list[StarterEntry]) -> None:
    by_name = {entry.name: entry for entry in entries}
    assert by_name["WS2-1H"].unchecked == ()
    assert by_name["ReS2"].unchecked == ("coordinates",)
    assert by_name["TiNCl-alpha"].unchecked == ("lattice", "coordinates", "citation")
    assert 0 < sum(not entry.unchecked for entry in entries) < len(entries)


def test_a_citation_reads_as_a_reference() -> None:
    citations = read_citations(LIBRARY / "citations.toml")
    assert str(citations["wilson1969"]) == "J. A. Wilson, A. D. Yoffe, Adv. Phys. 18, 193 (1969)"
    assert str(citations["wyckoff1963"]).endswith("(Interscience, New York) (1963)")


def library(folder: Path, families: str = ENTRY, citations: str = CITATION) -> Path:
    (folder / "families").mkdir()
    (folder / "families" / "sulfides.toml").write_text(families, encoding="utf-8")
    (folder / "citations.toml").write_text(citations, encoding="utf-8")
    return folder


def test_reads_a_small_library(tmp_path: Path) -> None:
    (entry,) = read_starter_entries(library(tmp_path))
    assert (entry.name, entry.family, entry.crystal.formula) == ("MoS2", "sulfides", "MoS2")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[1H]", "[2Q]", "there is no prototype '2Q'"),
        ("Mo S", "Mo", "takes the elements"),
        ("a = 3.16, ", "", r"missing \['a'\]"),
        ("a = 3.16", "a = 3.16, b = 4.0", r"unknown \['b'\]"),
        ("3.16", "3", "must be a decimal number"),
        ("[2.41]", '["long"]', "must be a decimal number or a list of them"),
        ('cite = "a"', 'cite = "b"', "citations.toml has no 'b'"),
        ('cite = "a"', 'cite = "a", checked = ["color"]', "checked may contain"),
        ('cite = "a"', 'cite = "a", checked = "lattice"', "checked must be a list"),
        ("[1H]", "[1H", "is not TOML"),
        ("[1H]\n", "", "is not an entry"),
        ("[1H]", "a = 3.0\n[1H]", "is outside a table"),
        ("MoS2 = {", "a = 3.0\nMoS2 = {", "a is not an entry"),
        (ENTRY, ENTRY + ENTRY.replace("1H", "1T"), "Two entries have the name MoS2"),
    ],
)
def test_rejects_an_invalid_entry(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(IndexUnavailableError, match=message):
        list(read_starter_entries(library(tmp_path, ENTRY.replace(old, new, 1))))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Mo S", "Mo Xx", "'Xx' is not a chemical element"),
        ("[2.41]", "[1.7]", "cannot span"),
        ("[2.41]", "[2.41, 2.41, 2.41]", "2 bonds are needed"),
        ("[2.41]", "2.41", "bonds a list"),
        ("3.16", "-3.16", "A cell cannot have"),
        ("3.16", "0.3", "Overlapping atoms"),
        (
            '[1H]\nMoS2 = { elements = "Mo S", a = 3.16, bonds = [2.41]',
            '[triangular]\nAu = { elements = "Au", a = [2.7]',
            "a must be a decimal number",
        ),
    ],
)
def test_rejects_parameters_that_make_no_crystal(tmp_path: Path, old: str, new: str, message: str) -> None:
    (entry,) = read_starter_entries(library(tmp_path, ENTRY.replace(old, new)))
    with pytest.raises(IndexUnavailableError, match=message):
        _ = entry.crystal


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('page = "2"\n', "", "page"),
        ('page = "2"', 'page = "2"\npages = 3', "pages"),
        ("2000", "1800", "no crystal structure was published in 1800"),
        ("A. Author", "", "needs authors"),
        ("year", 'doi = "doi.org/10.1"\nyear', "is not a DOI"),
        ("[a]", "", "is outside a table"),
    ],
)
def test_rejects_an_invalid_citation(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(IndexUnavailableError, match=message):
        list(read_starter_entries(library(tmp_path, citations=CITATION.replace(old, new))))


@pytest.mark.parametrize(
    ("symbol", "message"), [("P6_3/mmc", "moves atoms along c"), ("P7", "no space group P7")]
)
def test_rejects_a_space_group_that_is_not_that_of_a_layer(symbol: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Orbits(80, symbol, ("M",), "M 0 0 0").make_cell(["Au"], {"a": 2.7})


def distances(crystal: Crystal) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(N, N) the shortest distance, angstrom, between each two atoms and between an atom and its images."""
    steps = np.array([(i, j) for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2)]) @ crystal.lattice
    xy, z = crystal.positions[:, :2], crystal.positions[:, 2]
    offsets = xy[:, None, None] - xy[None, :, None] + steps  # (N, N, cells, 2)
    squares = (offsets**2).sum(axis=3) + ((z[:, None] - z) ** 2)[:, :, None]
    shortest = np.sqrt(np.where(squares < 1e-6, np.inf, squares).min(axis=2))
    return np.asarray(shortest, dtype=np.float64)


def shortest_between_elements(crystal: Crystal) -> dict[tuple[int, int], float]:
    between, numbers = distances(crystal), crystal.numbers
    kinds = sorted(set(numbers.tolist()))
    pairs = [(one, other) for one in kinds for other in kinds if one <= other]
    return {(k, m): float(between[np.ix_(numbers == k, numbers == m)].min()) for k, m in pairs}


def deviations(crystal: Crystal, computed: Crystal) -> tuple[float, float]:
    """The largest deviation of the lattice constants and of the shortest bonds between elements, as fractions."""
    lengths, others = (np.sort(np.linalg.norm(c.lattice, axis=1)) for c in (crystal, computed))
    mine, bonds = shortest_between_elements(crystal), shortest_between_elements(computed)
    stretches = [
        abs(mine[pair] / length - 1.0)
        for pair, length in bonds.items()
        if length < BONDED_BELOW_COVALENT_RADII * sum(covalent_radii[kind] for kind in pair)
    ]
    return float(np.abs(lengths / others - 1.0).max()), max(stretches, default=0.0)


def computed_layers(compositions: set[tuple[int, ...]]) -> dict[tuple[int, ...], list[Crystal]]:
    """The layers of `STRUCTURES` with just these atoms in their primitive cell."""
    layers = defaultdict(list)
    for file in sorted(STRUCTURES.glob("*.jsonl.gz")):
        for line in gzip.decompress(file.read_bytes()).splitlines():
            row = json.loads(line)
            numbers = [atomic_numbers[symbol] for symbol in row["species"]]
            atoms = tuple(sorted(numbers))
            if atoms in compositions:
                layer = Crystal.from_cell(
                    row["lattice"], numbers, row["frac"], id=row["id"], source=file.name
                )
                if len(layer.numbers) == len(atoms):
                    layers[atoms].append(layer)
    return layers


@pytest.mark.skipif(not STRUCTURES.exists(), reason="needs the structures of ../shared/data")
def test_entries_agree_with_computed_layers(entries: list[StarterEntry]) -> None:
    """Each entry against the closest layer of the same atoms in the same arrangement, where there is one."""
    layers = computed_layers({tuple(sorted(entry.crystal.numbers.tolist())) for entry in entries})
    compared: dict[str, tuple[float, float]] = {}
    for entry in entries:
        crystal = entry.crystal
        alike = (
            deviations(crystal, layer)
            for layer in layers[tuple(sorted(crystal.numbers.tolist()))]
            if is_same_crystal(crystal, layer, SAME_ARRANGEMENT)
        )
        best = min(alike, key=lambda it: max(it[0] / LATTICE_FRACTION, it[1] / BOND_FRACTION), default=None)
        if best is not None:
            compared[entry.name] = best
    far = {name: it for name, it in compared.items() if it[0] > LATTICE_FRACTION or it[1] > BOND_FRACTION}
    print(f"{len(compared)} of {len(entries)} entries compared, {len(far)} differ: {far}")
    assert len(compared) >= 250, f"only {len(compared)} entries have a computed layer to be compared with"
    assert set(far) == set(DIFFER), {name: compared.get(name) for name in set(far) ^ set(DIFFER)}


def test_an_index_states_the_citation_and_what_was_not_checked(tmp_path: Path) -> None:
    build_index([Path("starter")], tmp_path / "index", RadialEncoder(), workers=0)
    with Retriever.open(tmp_path / "index", RadialEncoder()) as retriever:
        for entry in read_starter_entries():
            reference = retriever.get_entry(entry.crystal.id).reference
            assert reference is not None
            assert reference.startswith(str(entry.citation))
            assert [item in reference for item in entry.unchecked] == [True] * len(entry.unchecked)
            assert ("not checked" in reference) == bool(entry.unchecked)
