"""An index with user structures gives the answers of an index built with all of the structures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.build.build import build_index
from index.chemistry.composition import Composition
from index.chemistry.elements import ElementBits, ElementFilter
from index.live.live_index import LiveIndex
from index.live.new_user_structure import NewUserStructure
from index.search.query import Effort
from index.search.results import SearchResult
from index.search.retriever import Retriever
from index.storage.vectors import Vectors, write_vectors
from model.indexing.lattice_table import LatticeTable
from model.pattern.spots import Spots
from tests.index.layers import crystal, document, write_lines
from tests.index.stand_in import RadialEncoder, pattern_of
from tests.matching.patterns import FlakePose, simulate_pattern

BASE, ALL = 27, 40
# Duplicates of a crystal of the base or of another user structure, with slightly larger cells, so that none tie.
DUPLICATES = {
    "duplicate/3": (3, 1.001),
    "duplicate/30": (30, 1.002),
    "duplicate/3 again": (3, 1.003),
    "duplicate/35": (35, 1.001),
}


def duplicate(id: str) -> dict[str, Any]:
    index, larger = DUPLICATES[id]
    made = document(index, id=id)
    return made | {"lattice": (np.array(made["lattice"]) * [[larger], [larger], [1.0]]).tolist()}


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> tuple[LiveIndex, Retriever]:
    """The same crystals, once with some of them as user structures, once all built into one index."""
    folder, encoder = tmp_path_factory.mktemp("extension"), RadialEncoder()
    documents = [document(i) for i in range(ALL)]
    build_index([write_lines(folder / "base", documents[:BASE])], folder / "live", encoder)
    build_index(
        [write_lines(folder / "all", [*documents, *map(duplicate, DUPLICATES)])], folder / "one", encoder
    )
    live = LiveIndex.open(folder / "live", encoder, watch_s=None)
    for index in range(BASE, ALL):
        live.add(NewUserStructure(crystal(index), crystal(index).id))
    one = Retriever.open(folder / "one", encoder)
    for id in DUPLICATES:
        added = live.add(NewUserStructure(one.get_entry(id).crystal, id))
        assert added.same_as
    return live, one


def ids_of(result: SearchResult) -> list[tuple[str, tuple[str, ...]]]:
    return [(candidate.entry.id, candidate.same_as) for candidate in result.candidates]


@pytest.mark.parametrize("index", [0, 3, 26, 27, 30, 35, 39])
@pytest.mark.parametrize("effort", ["search", "verify"])
def test_candidates_equal_those_of_one_index(
    indexes: tuple[LiveIndex, Retriever], index: int, effort: Effort
) -> None:
    spots = simulate_pattern(crystal(index), FlakePose(rotation_deg=20.0))
    live, one = (each.search(spots, effort=effort, top_k=12) for each in indexes)
    assert ids_of(live) == ids_of(one)
    for mine, its in zip(live.candidates, one.candidates, strict=True):
        assert mine.similarity == pytest.approx(its.similarity, abs=1e-6)
        assert (mine.probability is None) == (its.probability is None)
        if mine.probability is not None and its.probability is not None:
            assert mine.probability == pytest.approx(its.probability, abs=1e-6)
    assert (live.verdict, live.confidence_set_size) == (one.verdict, one.confidence_set_size)


@pytest.mark.parametrize(
    ("elements", "composition"),
    [
        (ElementFilter(all=("Mo",)), None),
        (ElementFilter(only=("W", "S", "Se")), None),
        (ElementFilter(none=("O", "Te")), None),
        (None, Composition({"Nb": 1.0, "Te": 2.0})),
        (ElementFilter(any=("V", "Zr")), Composition({"V": 1.0, "S": 2.0})),
    ],
)
def test_conditions_apply_to_user_structures(
    indexes: tuple[LiveIndex, Retriever],
    elements: ElementFilter | None,
    composition: Composition | None,
) -> None:
    spots = pattern_of(crystal(31), 12.0)
    live, one = (each.search(spots, elements=elements, composition=composition, top_k=15) for each in indexes)
    assert ids_of(live) == ids_of(one)
    assert live.candidates


def test_a_pattern_without_scale_finds_user_structures(
    indexes: tuple[LiveIndex, Retriever],
) -> None:
    spots = simulate_pattern(crystal(33), FlakePose())
    unknown = Spots(spots.q_inv_angstrom * 1.3, spots.intensity, scale_is_known=False)
    live, one = (each.search(unknown, top_k=12) for each in indexes)
    assert ids_of(live) == ids_of(one)


def test_without_user_structures_the_index_is_searched_directly(built: Path, encoder: RadialEncoder) -> None:
    live = LiveIndex.open(built, encoder, watch_s=None)
    with live.hold() as combined, Retriever.open(built, encoder) as retriever:
        assert type(combined.components.catalog) is type(retriever.components.catalog)
        assert combined.user_structure_count == 0
    live.close()


def test_appended_vectors_are_found_by_row_and_by_condition(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(50, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    write_vectors(tmp_path / "some", vectors[:37])
    write_vectors(tmp_path / "all", vectors)
    some, whole = Vectors.open(tmp_path / "some").append(vectors[37:]), Vectors.open(tmp_path / "all")
    assert len(some) == 50
    rows = rng.permutation(50)
    np.testing.assert_array_equal(some.read_rows(rows), vectors[rows])
    for count in (1, 10, 50, 90):
        for allowed in (None, rng.random(50) < 0.4):
            bits = None if allowed is None else np.packbits(allowed, bitorder="little")
            mine, its = some.search(vectors[40], count, bits), whole.search(vectors[40], count, bits)
            np.testing.assert_array_equal(mine[1], its[1])
            np.testing.assert_allclose(mine[0], its[0], atol=1e-6)


@pytest.mark.parametrize("first", [1, 7, 8, 9, 16])
def test_appended_tables_equal_tables_of_all(first: int) -> None:
    crystals = [crystal(index) for index in range(20)]
    numbers = [each.numbers for each in crystals]
    bits = ElementBits.from_numbers(numbers[:first]).append(numbers[first:])
    np.testing.assert_array_equal(bits.bits, ElementBits.from_numbers(numbers).bits)
    cells = np.array([each.lattice for each in crystals])
    table, whole = (
        LatticeTable.from_cells(cells[:first]).extend(cells[first:], first),
        LatticeTable.from_cells(cells),
    )
    basis = np.linalg.inv(cells[12]).T
    for tolerance in (0.04, np.inf):
        mine, its = table.find_matches(basis, tolerance), whole.find_matches(basis, tolerance)
        pairs = [sorted(zip(f.crystal.tolist(), f.scale.tolist(), strict=True)) for f in (mine, its)]
        np.testing.assert_allclose(pairs[0], pairs[1], rtol=1e-12)
