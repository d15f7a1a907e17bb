"""Crystals and a measured composition."""

from pathlib import Path

import numpy as np
import pytest

from index.chemistry.composition import Composition, CompositionTable
from index.chemistry.elements import ElementFilter
from index.search.query import Effort
from index.search.retriever import Retriever
from model.errors import OptionError
from tests.index.layers import crystal
from tests.index.stand_in import RadialEncoder, pattern_of

# MoS2, MoS, a hydrogenated MoS2, WS2 and solid hydrogen.
TABLE = CompositionTable(
    [np.array(each) for each in ([42, 16, 16], [42, 16], [42, 16, 16, 1], [74, 16, 16], [1, 1])]
)


def test_the_likelihood_has_normal_errors_of_the_fractions() -> None:
    likelihood = TABLE.compute_log_likelihood(Composition({"Mo": 0.30, "S": 0.70}, sigma=0.05))
    deviation = 1 / 3 - 0.30
    assert likelihood[0] == pytest.approx(-(deviation**2) / 0.05**2)
    assert likelihood[1] == pytest.approx(-(0.2**2) / 0.05**2)
    assert likelihood[2] == pytest.approx(likelihood[0])
    assert likelihood[3] == pytest.approx(-(0.3**2 + (1 / 3) ** 2 + deviation**2) / (2 * 0.05**2))
    assert TABLE.list_possible(likelihood).tolist() == [0, 2]


def test_amounts_may_have_any_unit_and_hydrogen_counts_where_given() -> None:
    percent = TABLE.compute_log_likelihood(Composition({"Mo": 33, "S": 66}))
    assert percent[0] == pytest.approx(0, abs=1e-9)
    huge = TABLE.compute_log_likelihood(Composition({"Mo": 5e307, "S": 1e308}))
    assert huge[0] == pytest.approx(0, abs=1e-9)
    with_hydrogen = TABLE.compute_log_likelihood(Composition({"Mo": 1, "S": 2, "H": 1}))
    assert with_hydrogen[2] == pytest.approx(0, abs=1e-9)
    assert with_hydrogen[0] < -5


@pytest.mark.parametrize(
    ("fractions", "sigma", "message"),
    [
        ({}, 0.05, "empty"),
        ({"Xx": 0.5}, 0.05, "'Xx' in composition is not a chemical element"),
        ({"mo": 0.5}, 0.05, "write Mo"),
        ({"Mo": -1.0}, 0.05, "positive"),
        ({"Mo": float("nan")}, 0.05, "positive"),
        ({"Mo": 1.0}, 0.0, "composition_sigma"),
    ],
)
def test_rejects_an_invalid_composition(fractions: dict[str, float], sigma: float, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Composition(fractions, sigma)


@pytest.mark.parametrize("effort", ["search", "verify"])
def test_a_search_admits_and_prefers_crystals_that_agree(
    built: Path, encoder: RadialEncoder, effort: Effort
) -> None:
    right = crystal(7)
    fractions = {symbol: float(sum(right.numbers == number)) for symbol, number in (("V", 23), ("S", 16))}
    assert all(fractions.values())
    with Retriever.open(built, encoder) as retriever:
        found = retriever.search(
            pattern_of(right), effort=effort, composition=Composition(fractions, 0.02), top_k=40
        )
        free = retriever.search(pattern_of(right), effort="search", top_k=40)
        none = retriever.search(pattern_of(right), effort=effort, composition=Composition({"Cf": 1.0}))
        both = retriever.search(
            pattern_of(right), composition=Composition(fractions, 0.02), elements=ElementFilter(all=("Mo",))
        )
    assert found.candidates
    assert {candidate.entry.formula for candidate in found.candidates} == {"VS2"}
    assert len(free.candidates) > len(found.candidates)
    similarity = {candidate.entry.id: candidate.similarity for candidate in free.candidates}
    for candidate in found.candidates:
        assert candidate.similarity == pytest.approx(similarity[candidate.entry.id], abs=1e-5)
    assert (none.candidates, none.verdict) == ((), "no_match")
    assert (both.candidates, both.verdict) == ((), "no_match")
