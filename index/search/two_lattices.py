"""Two searches, for each of two lattices in one pattern, made one answer."""

from collections.abc import Sequence
from dataclasses import replace
from math import log

from index.chemistry.composition import Composition
from index.chemistry.elements import ElementFilter
from index.search.results import Candidate, SearchResult
from model.matching.next_measurement import NextMeasurement
from model.matching.overlapping_lattices import OverlappingLattices, Twist

# Of each of two layers, so many candidates are tried as partners.
MOST_PAIRED = 20
_TWO_LATTICES = (
    "The spots are those of two lattices: two layers, or two flakes in the beam. The candidates of both follow; "
    "`lattice_number` says which lattice each one explains, and `query.twists` gives the twist angle."
)


def interleaved(
    layers: Sequence[SearchResult],
    overlap: OverlappingLattices,
    elements: ElementFilter | None,
    composition: Composition | None,
    top_k: int,
) -> SearchResult | None:
    """The candidates of two layers: the likeliest pair that meets all that is known, then what is next likeliest.

    Args:
        layers: what was found of each.
        overlap: the pattern taken apart.
        elements: that both together meet.
        composition: of both together, whatever the share of either.
        top_k: how many candidates are wanted.

    Returns:
        None where no pair meets the conditions.
    """
    first, second = layers
    # A set of candidates is one of a single crystal.
    told = (
        [replace(candidate, lattice_number=1, in_confidence_set=None) for candidate in first.candidates],
        [replace(candidate, lattice_number=2, in_confidence_set=None) for candidate in second.candidates],
    )
    pairs = [
        (place, partner)
        for place, candidate in enumerate(told[0][:MOST_PAIRED])
        for partner, other in enumerate(told[1][:MOST_PAIRED])
        if _meets({*candidate.entry.elements, *other.entry.elements}, elements, composition)
    ]
    if not pairs:
        return None
    best = max(pairs, key=lambda pair: _log_share(told[0], pair[0]) + _log_share(told[1], pair[1]))
    for candidates, place in zip(told, best, strict=True):
        candidates.insert(0, candidates.pop(place))
    twist = _twist_of(told[0][:1], told[1][:1])
    leaders = [candidate for candidates in told for candidate in candidates[:1]]
    others = [
        (_log_share(candidates, place), place, candidate)
        for candidates in told
        for place, candidate in enumerate(candidates)
        if place
    ]
    # Each layer's own order holds; between them the likelier goes first.
    others.sort(key=lambda other: (-other[0], other[1]))
    merged = [*leaders, *(candidate for _, _, candidate in others)]
    verdicts = [layer.verdict for layer in layers]
    measurements = [layer.next_measurement for layer in layers]
    return SearchResult(
        candidates=tuple(merged[:top_k]),
        timing_ms={
            name: sum(layer.timing_ms.get(name, 0.0) for layer in layers) for name in layers[0].timing_ms
        },
        verdict=None if None in verdicts else "match" if set(verdicts) == {"match"} else "ambiguous",
        lattice=overlap.lattices[0],
        next_measurement=next((_of_layer(each, n) for n, each in enumerate(measurements, 1) if each), None),
        warnings=(_TWO_LATTICES,),
        overlap=overlap,
        twist=twist,
    )


def _of_layer(measurement: NextMeasurement, number: int) -> NextMeasurement:
    """What would part the candidates of one of the layers."""
    return replace(measurement, advice=f"For layer {number}: {measurement.advice}")


def _meets(present: set[str], elements: ElementFilter | None, composition: Composition | None) -> bool:
    """Whether two crystals with these elements together can be what is known; the share of either is not."""
    if elements is not None and not elements.admits(present):
        return False
    return composition is None or present.issuperset(composition.fractions)


def _twist_of(first: Sequence[Candidate], second: Sequence[Candidate]) -> Twist | None:
    """Of the leading candidates."""
    for candidate, other in zip(first, second, strict=False):
        if candidate.match and other.match:
            return Twist.between(
                (candidate.entry.crystal, other.entry.crystal), (candidate.match, other.match)
            )
    return None


def _log_share(candidates: Sequence[Candidate], place: int) -> float:
    """ln of how likely a candidate is among those of its layer; where that is not known, by its place."""
    total = sum(candidate.probability or 0.0 for candidate in candidates)
    probability = candidates[place].probability
    return -20.0 - place if not probability else max(log(probability / total), -20.0)
