import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index.build.build import build_index
from index.build.cell_errors import CellErrors
from index.chemistry.elements import ElementFilter
from index.search.query import Effort
from index.search.retriever import Retriever
from index.storage.vectors import Vectors, write_vectors
from model.errors import IndexUnavailableError, OptionError
from model.indexing.orientations import SCALE_TOLERANCE
from model.indexing.pattern_lattice import index_pattern
from model.pattern.observation import Observation
from model.pattern.spots import Spots
from tests.index.layers import crystal, document, write_lines
from tests.index.stand_in import RadialEncoder, pattern_of
from tests.matching.patterns import FlakePose, simulate_pattern, simulate_superlattice


@pytest.fixture
def retriever(built: Path, encoder: RadialEncoder) -> Retriever:
    return Retriever.open(built, encoder)


@pytest.mark.parametrize("with_intensity", [True, False])
def test_a_pattern_finds_its_crystal(retriever: Retriever, with_intensity: bool) -> None:
    for index in (7, 20, 39):
        result = retriever.search(pattern_of(crystal(index), 25.0, with_intensity=with_intensity))
        assert len(result.candidates) == 10
        if with_intensity:
            assert result.candidates[0].entry.id == crystal(index).id
            assert result.candidates[0].similarity == pytest.approx(1.0, abs=1e-5)
        similarities = [candidate.similarity for candidate in result.candidates]
        assert similarities == sorted(similarities, reverse=True)
        assert set(result.timing_ms) == {"embed", "search", "collect"}


@pytest.mark.parametrize("effort", ["verify", "full"])
def test_candidates_are_verified_against_the_pattern(retriever: Retriever, effort: Effort) -> None:
    """Of 40 crystals with similar cells, the stand-in for the towers may prefer another; verification does not."""
    spots = simulate_pattern(crystal(7), FlakePose(tilt_deg=2.0, rotation_deg=40.0))
    result = retriever.search(spots, effort=effort, top_k=5)
    assert len(result.candidates) == 5
    first = result.candidates[0]
    assert first.entry.id == crystal(7).id
    assert first.match is not None
    assert first.match.r_factor is not None
    assert first.match.r_factor < 0.15
    assert first.match.tilt_deg == pytest.approx(2.0, abs=0.7)
    assert result.verdict in {"match", "ambiguous"}
    stated = [candidate.probability for candidate in result.candidates if candidate.probability is not None]
    assert stated
    assert stated == sorted(stated, reverse=True)
    assert sum(stated) <= 1
    assert set(result.timing_ms) == {"embed", "search", "lattice", "collect", "verify"}
    assert next(candidate.equivalence_group for candidate in result.candidates if candidate.match) == 1
    matches = [candidate.match for candidate in result.candidates if candidate.match is not None]
    assert len(matches) == 5
    refined = [match.refined for match in matches]
    assert [candidate.equivalence_group is not None for candidate in result.candidates] == refined
    assert [candidate.probability is not None for candidate in result.candidates] == refined
    assert result.confidence_set_size is not None
    assert [candidate.in_confidence_set for candidate in result.candidates] == [
        place < result.confidence_set_size for place in range(5)
    ]
    equivalent = sum(candidate.equivalence_group == 1 for candidate in result.candidates)
    assert (result.next_measurement is not None) >= (equivalent > 1)
    assert result.lattice is not None
    assert result.lattice.on_lattice.mean() > 0.95
    assert result.warnings == ()


@pytest.mark.parametrize("effort", ["search", "verify"])
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.5])
def test_without_a_scale_each_crystal_is_compared_at_its_own(
    retriever: Retriever, effort: Effort, factor: float
) -> None:
    spots = replace(
        simulate_pattern(crystal(7), FlakePose(rotation_deg=40.0)).rescale(factor), scale_is_known=False
    )
    result = retriever.search(spots, effort=effort, top_k=40)
    assert result.lattice is not None
    if effort == "search":
        assert len(result.candidates) > 10
        assert all(candidate.match is None for candidate in result.candidates)
    else:
        # Neither crystals that differ in size alone are distinguishable, nor neighbors in the periodic table.
        assert result.candidates[0].entry.formula in {"VS2", "TiS2"}
        mine = next(candidate for candidate in result.candidates if candidate.entry.id == crystal(7).id)
        assert mine.match is not None
        assert mine.match.scale == pytest.approx(factor, rel=0.005)
        assert mine.match.r_factor is not None
        assert mine.match.r_factor < 0.1


def test_finds_both_layers_by_the_elements_they_have_together(retriever: Retriever) -> None:
    first, second = crystal(0), crystal(38)
    assert first.elements != second.elements
    parts = [
        simulate_pattern(each, FlakePose(1.0, 0.0, angle)) for each, angle in ((first, 12.0), (second, 29.5))
    ]
    q = np.concatenate([each.q_inv_angstrom for each in parts])
    level = np.concatenate([each.intensity for each in parts if each.intensity is not None])
    both = tuple({*first.elements, *second.elements})
    result = retriever.search(Spots(q, level), effort="verify", elements=ElementFilter(all=both, only=both))
    assert result.overlapping_lattices is not None
    assert result.twist is not None
    assert result.twist.angle_deg == pytest.approx(17.5, abs=0.3)
    assert [candidate.lattice_number for candidate in result.candidates[:2]] == [1, 2]
    assert {candidate.lattice_number for candidate in result.candidates[2:]} <= {1, 2}
    leaders = {symbol for candidate in result.candidates[:2] for symbol in candidate.entry.elements}
    assert leaders == set(both)
    assert "two lattices" in result.warnings[0]


@pytest.mark.parametrize("with_intensity", [True, False])
def test_answers_one_ring_without_a_scale(retriever: Retriever, with_intensity: bool) -> None:
    angle = np.radians(60.0 * np.arange(6))
    q = 0.9 * np.column_stack([np.cos(angle), np.sin(angle)])
    ring = replace(Spots(q, np.ones(6) if with_intensity else None), scale_is_known=False)
    assert retriever.search(ring, effort="verify").candidates


def test_two_layers_meet_the_conditions_together_or_are_not_candidates(retriever: Retriever) -> None:
    parts = [
        simulate_pattern(crystal(row), FlakePose(1.0, 0.0, angle)) for row, angle in ((0, 12.0), (38, 29.5))
    ]
    spots = Spots(np.concatenate([each.q_inv_angstrom for each in parts]))
    for condition in (ElementFilter(any=("Fe",)), ElementFilter(all=("He",)), ElementFilter(only=("He",))):
        result = retriever.search(spots, effort="verify", elements=condition)
        assert result.overlapping_lattices is None
        assert all(condition.admits(candidate.entry.elements) for candidate in result.candidates)


def test_a_wrong_scale_is_reported_and_corrected(retriever: Retriever) -> None:
    spots = simulate_pattern(crystal(7), FlakePose(tilt_deg=1.0, rotation_deg=40.0, scale=1.12))
    result = retriever.search(spots, effort="verify", elements=ElementFilter(all=("V",)))
    assert result.candidates[0].match is not None
    assert result.candidates[0].match.scale == pytest.approx(1.12, rel=0.03)
    (warning,) = result.warnings
    assert re.search(r"scale 1\d?\.\d % larger", warning)


def test_a_wrong_scale_reduces_the_probability(retriever: Retriever) -> None:
    options = {"effort": "verify", "elements": ElementFilter(all=("V",))}
    pose = FlakePose(tilt_deg=1.0, rotation_deg=40.0)
    right, wrong = (
        retriever.search(simulate_pattern(crystal(7), replace(pose, scale=scale)), **options)  # type: ignore[arg-type]
        for scale in (1.0, 1.12)
    )
    assert right.warnings == ()
    stated = [max(candidate.probability or 0.0 for candidate in each.candidates) for each in (right, wrong)]
    assert stated[1] < 0.75 * stated[0]
    assert wrong.verdict != "match"


def test_a_superlattice_is_reported_and_hides_no_crystal(retriever: Retriever) -> None:
    own = retriever.search(simulate_pattern(crystal(7), FlakePose(rotation_deg=40.0)), effort="verify")
    for count, share in ((6, 0.02), (40, 0.01)):
        spots = simulate_superlattice(crystal(7), 40.0, count, share)
        result = retriever.search(spots, effort="verify")
        assert result.overlapping_lattices is None
        assert result.candidates[0].entry.id == own.candidates[0].entry.id
        assert any("superlattice" in warning for warning in result.warnings)


def test_spots_on_no_lattice_are_no_match_even_without_intensities(retriever: Retriever) -> None:
    spots = Spots(np.random.default_rng(0).uniform(-1.2, 1.2, (40, 2)))
    assert retriever.search(spots, effort="verify").verdict == "no_match"
    assert retriever.search(Spots(pattern_of(crystal(7)).q_inv_angstrom), effort="verify").verdict is None


def test_a_precise_scale_leaves_fewer_candidates(
    tmp_path: Path, encoder: RadialEncoder, retriever: Retriever
) -> None:
    """Cells of the layers differ by 0.45 % from one to the next."""
    spots = simulate_pattern(crystal(7), FlakePose(tilt_deg=1.0, rotation_deg=40.0))
    lines = write_lines(tmp_path / "x.jsonl", [document(row) for row in range(40)])
    build_index([lines], tmp_path / "index", encoder, cell_errors=CellErrors(0.002))
    with Retriever.open(tmp_path / "index", encoder) as measured:
        found = {
            sigma: [
                candidate.entry.id
                for candidate in measured.search(
                    replace(spots, scale_sigma=sigma), effort="full", top_k=40
                ).candidates
                if candidate.match is not None
            ]
            for sigma in (0.001, 0.013)
        }
    computed = [
        candidate.entry.id
        for candidate in retriever.search(spots, effort="full", top_k=40).candidates
        if candidate.match
    ]
    near = {crystal(row).id for row in (5, 6, 7, 8, 9)}
    assert crystal(7).id in found[0.001]
    assert set(found[0.001]) < near
    assert len(found[0.001]) < len(found[0.013]) <= len(computed)


def test_warns_when_the_scale_deviates_by_more_than_its_stated_uncertainty(
    tmp_path: Path, encoder: RadialEncoder
) -> None:
    spots = simulate_pattern(crystal(7), FlakePose(tilt_deg=1.0, rotation_deg=40.0, scale=1.03))
    lines = write_lines(tmp_path / "x.jsonl", [document(row) for row in (7, 38)])
    build_index([lines], tmp_path / "index", encoder, cell_errors=CellErrors(0.002))
    with Retriever.open(tmp_path / "index", encoder) as measured:
        assert measured.search(spots, effort="verify").warnings == ()
        result = measured.search(replace(spots, scale_sigma=0.002), effort="verify")
    assert result.candidates[0].entry.id == crystal(7).id
    (warning,) = result.warnings
    assert re.search(r"scale 3\d?\.\d % larger", warning)


def test_elements_restrict_the_verified_candidates(retriever: Retriever) -> None:
    spots = pattern_of(crystal(7))
    assert retriever.search(spots, elements=ElementFilter(all=("Cf",)), effort="verify").candidates == ()
    candidates = retriever.search(spots, elements=ElementFilter(all=("W",)), effort="verify").candidates
    assert candidates
    assert all("W" in candidate.entry.elements for candidate in candidates)


def test_duplicates_are_returned_once(retriever: Retriever) -> None:
    candidates = retriever.search(pattern_of(crystal(3)), top_k=40).candidates
    assert len(candidates) == 40
    first = candidates[0]
    assert {first.entry.id, *first.same_as} == {crystal(3).id, "again/3"}
    named = [id for candidate in candidates for id in (candidate.entry.id, *candidate.same_as)]
    assert len(named) == len(set(named)) == 46


def test_returns_fewer_candidates_than_requested_if_there_are_no_more(retriever: Retriever) -> None:
    assert len(retriever.search(pattern_of(crystal(0)), top_k=1000).candidates) == 40
    nothing = retriever.search(pattern_of(crystal(0)), elements=ElementFilter(all=("Cf",)))
    assert nothing.candidates == ()


def test_many_duplicates_do_not_displace_other_candidates(tmp_path: Path, encoder: RadialEncoder) -> None:
    copies = [document(0, id=f"copy {i}") for i in range(200)]
    source = write_lines(tmp_path / "x", [*copies, *(document(i) for i in range(1, 6))])
    build_index([source], tmp_path / "out", encoder, workers=0)
    with Retriever.open(tmp_path / "out", encoder) as retriever:
        candidates = retriever.search(pattern_of(crystal(0)), top_k=5).candidates
    assert len(candidates) == 5
    assert len(candidates[0].same_as) == 199


@pytest.mark.parametrize(
    "elements",
    [
        ElementFilter(only=("W", "Se")),
        ElementFilter(all=("Te",)),
        ElementFilter(any=("V", "O")),
        ElementFilter(none=("S", "Se")),
        ElementFilter(all=("Mo",), none=("S",)),
    ],
)
def test_elements_restrict_the_search_rather_than_its_result(
    retriever: Retriever, elements: ElementFilter
) -> None:
    spots = pattern_of(crystal(0))
    every = retriever.search(spots, top_k=1000).candidates
    expected = [candidate for candidate in every if elements.admits(candidate.entry.elements)]
    assert 0 < len(expected) < len(every)
    found = retriever.search(spots, elements=elements, top_k=3).candidates
    assert [candidate.entry.id for candidate in found] == [candidate.entry.id for candidate in expected][:3]
    assert [candidate.same_as for candidate in found] == [candidate.same_as for candidate in expected][:3]


def test_threads_get_the_same_answers(retriever: Retriever) -> None:
    def first(index: int) -> str:
        return retriever.search(pattern_of(crystal(index % 40))).candidates[0].entry.id

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(first, range(200)))
    assert found == [first(index) for index in range(40)] * 5


def test_rejects_impossible_requests(retriever: Retriever) -> None:
    with pytest.raises(OptionError, match="top_k"):
        retriever.search(pattern_of(crystal(0)), top_k=0)
    with pytest.raises(IndexUnavailableError, match="model with which the index was built"):
        retriever.search(pattern_of(crystal(0)), vector=np.ones(3, dtype=np.float32))


def test_vectors_are_mapped_from_the_file_and_searched_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(1001, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    path = tmp_path / "vectors.faiss"
    write_vectors(path, vectors)
    opened = Vectors.open(path)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(path) in maps.read_text()
    assert np.array_equal(opened.read_rows(np.array([5, 1000])), vectors[[5, 1000]])
    chosen = rng.random(1001) < 0.3
    scores, rows = opened.search(vectors[17], 25, np.packbits(chosen, bitorder="little"))
    products = np.where(chosen, vectors @ vectors[17], -np.inf)
    assert np.array_equal(rows, np.argsort(-products)[:25])
    assert np.allclose(scores, np.sort(products)[::-1][:25], atol=1e-6)


def test_rejects_a_damaged_vector_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors.faiss"
    for content in (b"", b"nonsense" * 10):
        path.write_bytes(content)
        with pytest.raises(IndexUnavailableError, match="cannot be read"):
            Vectors.open(path)


def test_a_picked_lattice_replaces_the_found_one(retriever: Retriever) -> None:
    first, second = crystal(0), crystal(38)
    parts = [
        simulate_pattern(each, FlakePose(1.0, 0.0, angle)) for each, angle in ((first, 12.0), (second, 29.5))
    ]
    level = np.concatenate([each.intensity for each in parts if each.intensity is not None])
    both = Spots(np.concatenate([each.q_inv_angstrom for each in parts]), level)
    for each, part in zip((first, second), parts, strict=True):
        own = index_pattern(Observation.from_spots(part, 80.0))
        assert own is not None
        result = retriever.search(both, effort="verify", lattice=own.basis + 0.004)
        assert result.lattice is not None
        assert result.lattice.parameters == pytest.approx(own.parameters, rel=5e-3)
        assert result.candidates[0].entry.formula == each.formula


def test_only_crystals_that_fit_a_picked_lattice_are_candidates(retriever: Retriever) -> None:
    spots = simulate_pattern(crystal(7), FlakePose())
    own = index_pattern(Observation.from_spots(spots, 80.0))
    assert own is not None
    free = retriever.search(spots, effort="verify", top_k=40)
    picked = retriever.search(spots, effort="verify", top_k=40, lattice=own.basis)
    assert 0 < len(picked.candidates) < len(free.candidates)
    area = abs(np.linalg.det(own.direct))
    for candidate in picked.candidates:
        ratio = abs(np.linalg.det(candidate.entry.crystal.lattice)) / area
        assert ratio == pytest.approx(max(round(ratio), 1), rel=2 * SCALE_TOLERANCE)


def test_rejects_a_degenerate_picked_lattice(retriever: Retriever) -> None:
    with pytest.raises(OptionError, match="parallel"):
        retriever.search(
            simulate_pattern(crystal(7), FlakePose()),
            effort="verify",
            lattice=np.array([[0.3, 0.0], [0.6, 0.01]]),
        )
