"""Two searches, for each of two lattices in one pattern, made one answer."""

from collections.abc import Sequence
from dataclasses import replace
from math import log

from index.chemistry.composition import Composition
from index.chemistry.elements import ElementFilter
from index.search.results import Hit, SearchResult
from model.matching.next_measurement import Measurement
from model.matching.overlapping_lattices import Overlap, Twist

# Of each of two layers, so many hits are tried as partners.
MOST_PAIRED = 20
_TWO_LATTICES = (
    "The spots are those of two lattices: two layers, or two flakes in the beam. The candidates of both follow; "
    "`layer` says of which they are, and `query.twist` how they lie to each other."
)


def interleaved(
    layers: Sequence[SearchResult],
    overlap: Overlap,
    elements: ElementFilter | None,
    composition: Composition | None,
    top_k: int,
) -> SearchResult | None:
    """The hits of two layers: the likeliest pair that meets all that is known, then what is next likeliest.

    Args:
        layers: what was found of each.
        overlap: the pattern taken apart.
        elements: that both together meet.
        composition: of both together, whatever the share of either.
        top_k: how many hits are wanted.

    Returns:
        None where no pair meets the conditions.
    """
    first, second = layers
    # A set of candidates is one of a single crystal.
    told = (
        [replace(hit, layer=1, in_set=None) for hit in first.hits],
        [replace(hit, layer=2, in_set=None) for hit in second.hits],
    )
    pairs = [
        (place, partner)
        for place, hit in enumerate(told[0][:MOST_PAIRED])
        for partner, other in enumerate(told[1][:MOST_PAIRED])
        if _meets({*hit.entry.elements, *other.entry.elements}, elements, composition)
    ]
    if not pairs:
        return None
    best = max(pairs, key=lambda pair: _log_share(told[0], pair[0]) + _log_share(told[1], pair[1]))
    for hits, place in zip(told, best, strict=True):
        hits.insert(0, hits.pop(place))
    twist = _twist_of(told[0][:1], told[1][:1])
    leaders = [hit for hits in told for hit in hits[:1]]
    others = [
        (_log_share(hits, place), place, hit) for hits in told for place, hit in enumerate(hits) if place
    ]
    # Each layer's own order holds; between them the likelier goes first.
    others.sort(key=lambda other: (-other[0], other[1]))
    merged = [*leaders, *(hit for _, _, hit in others)]
    verdicts = [layer.verdict for layer in layers]
    measurements = [layer.measurement for layer in layers]
    return SearchResult(
        hits=tuple(merged[:top_k]),
        timing_ms={
            name: sum(layer.timing_ms.get(name, 0.0) for layer in layers) for name in layers[0].timing_ms
        },
        verdict=None if None in verdicts else "match" if set(verdicts) == {"match"} else "ambiguous",
        lattice=overlap.lattices[0],
        measurement=next((_of_layer(each, n) for n, each in enumerate(measurements, 1) if each), None),
        warnings=(_TWO_LATTICES,),
        overlap=overlap,
        twist=twist,
    )


def _of_layer(measurement: Measurement, number: int) -> Measurement:
    """What would part the candidates of one of the layers."""
    return replace(measurement, text=f"For layer {number}: {measurement.text}")


def _meets(present: set[str], elements: ElementFilter | None, composition: Composition | None) -> bool:
    """Whether two crystals with these elements together can be what is known; the share of either is not."""
    if elements is not None and not elements.admits(present):
        return False
    return composition is None or present.issuperset(composition.fractions)


def _twist_of(first: Sequence[Hit], second: Sequence[Hit]) -> Twist | None:
    """Of the leading hits."""
    for hit, other in zip(first, second, strict=False):
        if hit.match and other.match:
            return Twist.of((hit.entry.crystal, other.entry.crystal), (hit.match, other.match))
    return None


def _log_share(hits: Sequence[Hit], place: int) -> float:
    """ln of how likely a hit is among those of its layer; where that is not known, by its place."""
    total = sum(hit.probability or 0.0 for hit in hits)
    probability = hits[place].probability
    return -20.0 - place if not probability else max(log(probability / total), -20.0)
