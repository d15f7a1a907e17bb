"""Compares the records of two runs: exactly on one machine, within tolerances between machines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tests.golden import renames
from tests.golden.records import Record
from tests.golden.translation import Segments, flatten, join_path, matches_path


@dataclass(frozen=True)
class Tolerance:
    """How far a number may lie from the recorded one; either limit suffices.

    Attributes:
        relative: limit as a fraction of the larger number.
        absolute: limit in the unit of the number.
        period: numbers that differ by a multiple of this are the same; 0 for none.
        signed: whether the sign counts.
    """

    relative: float
    absolute: float
    period: float = 0.0
    signed: bool = True

    def allows(self, one: float, other: float) -> bool:
        """Whether two numbers are the same within the limits."""
        if not self.signed:
            one, other = abs(one), abs(other)
        difference = abs(one - other)
        if self.period:
            difference = min(difference % self.period, -difference % self.period)
        return difference <= max(self.relative * max(abs(one), abs(other)), self.absolute)


# One machine computes the same numbers twice; the recording holds nine digits of them.
EXACT = Tolerance(1e-6, 1e-9)

# Between machines, by path; the first row that a path ends with or lies under counts. The crystals of an index are
# embedded in bfloat16 where the processor computes in it and in float32 elsewhere. This moves similarities by up to
# 0.011 and, as they are part of the evidence, probabilities by up to 0.013. Sums in another order lead a fit to another
# of the equivalent orientations of a symmetric crystal (multiples of 60 or 90 degrees), and end it elsewhere by a few
# per cent of its errors.
TOLERANCES: tuple[tuple[str, Tolerance], ...] = (
    ("similarity", Tolerance(0, 0.02)),
    ("probability", Tolerance(0, 0.04)),
    ("probability_then", Tolerance(0, 0.04)),
    ("probability_now", Tolerance(0, 0.04)),
    ("log_likelihood", Tolerance(0.01, 0.3)),
    ("log_ratio", Tolerance(0.05, 0.2)),
    ("rotation_deg", Tolerance(0, 0.05, period=30)),
    ("tilt_azimuth_deg", Tolerance(0, 2.0, period=30)),
    ("tilt_azimuth_sigma_deg", Tolerance(0.1, 0.3)),
    ("tilt_sigma_deg", Tolerance(0.1, 0.03)),
    ("tilt_deg", Tolerance(0.02, 0.06)),
    ("b_factor", Tolerance(0.02, 0.01)),
    ("r_factor", Tolerance(0.01, 0.001)),
    ("reciprocal", Tolerance(1e-3, 1e-4, signed=False)),
    ("match", Tolerance(0.02, 0.002)),
    ("deciding", Tolerance(0.02, 0.005)),
)
OTHERS = Tolerance(1e-5, 1e-6)

# Thresholds on probabilities decide these, so that a small difference may turn them. Exact comparisons include them.
UNSTEADY = ("in_set", "set.size", "group")
MATCH_PROBABILITY, VERDICT_MARGIN = 0.9, 0.03
# Candidates that differ by less may change places.
NEAR_PROBABILITY, NEAR_SIMILARITY = 0.04, 0.03


def compare_records(recorded: Record, found: Record, *, exact: bool) -> list[str]:
    """The differences between two records of a request, a line for each.

    Args:
        recorded: the record of the recording.
        found: the record of today, in the words of the recording.
        exact: whether numbers have to agree to 1e-6; otherwise to `TOLERANCES`, and candidates that are as likely may
            change places.
    """
    if exact:
        return list(_differences(recorded, found, exact=True))
    ranked = zip(_find_candidates(recorded), _find_candidates(found), strict=False)
    order = [line for one, other in ranked for line in _compare_order(one, other)]
    return [*order, *_differences(*_align(recorded, found), exact=False)]


def _differences(recorded: Record, found: Record, *, exact: bool) -> Iterator[str]:
    before, now = dict(flatten(recorded)), dict(flatten(found))
    for path, value in before.items():
        if path not in now:
            if not _lies_under_any(path, renames.REMOVED):
                yield f"{join_path(path)}: {value!r} is missing"
        elif not _is_same(path, value, now[path], exact):
            yield f"{join_path(path)}: {value!r} is now {now[path]!r}"
    for path, value in now.items():
        if path not in before and not _lies_under_any(path, renames.ADDED):
            yield f"{join_path(path)}: {value!r} is new"


def _is_same(path: Segments, recorded: Any, found: Any, exact: bool) -> bool:
    if not exact and any(matches_path(each, path) for each in UNSTEADY):
        return True
    if isinstance(recorded, bool) or isinstance(found, bool):
        return recorded is found
    if isinstance(recorded, int | float) and isinstance(found, int | float):
        if isinstance(recorded, int) and isinstance(found, int):
            return recorded == found
        return (EXACT if exact else _tolerance(path)).allows(recorded, found)
    return bool(recorded == found)


def _tolerance(path: Segments) -> Tolerance:
    return next((each for pattern, each in TOLERANCES if _lies_under_any(path, (pattern,))), OTHERS)


def _lies_under_any(path: Segments, patterns: Sequence[str]) -> bool:
    """Whether a leaf is at one of these paths or below it."""
    return any(matches_path(each, path[: end + 1]) for each in patterns for end in range(len(path)))


def _find_candidates(value: Any) -> Iterator[list[Record]]:
    """Every list of candidates in a record: a batch has several, a replay has one inside."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "candidates":
                yield each
            else:
                yield from _find_candidates(each)
    elif isinstance(value, list):
        for each in value:
            yield from _find_candidates(each)


def _compare_order(recorded: list[Record], found: list[Record]) -> Iterator[str]:
    """Candidates that came, went, or changed places without being as likely."""
    before, now = ({each["id"]: each for each in listed} for listed in (recorded, found))
    if bool(recorded) != bool(found):
        yield f"{len(recorded)} candidates are now {len(found)}"
    for one, other, what in ((before, now, "missing"), (now, before, "new")):
        for id, candidate in one.items():
            if id not in other and not is_near(candidate, list(one.values())[-1]):
                yield f"the candidate {id} is {what}"
    places = {id: place for place, id in enumerate(now)}
    for first, second in combinations([id for id in before if id in now], 2):
        if places[first] > places[second] and not is_near(before[first], before[second]):
            yield f"the candidates {first} and {second} changed places"


def is_near(one: Record, other: Record) -> bool:
    """Whether two candidates are so close that another processor may rank them otherwise."""
    probabilities = [one["probability"], other["probability"]]
    if None not in probabilities:
        return bool(abs(probabilities[0] - probabilities[1]) <= NEAR_PROBABILITY)
    return bool(abs(one["similarity"] - other["similarity"]) <= NEAR_SIMILARITY)


def _align(recorded: Any, found: Any) -> tuple[Any, Any]:
    """Two records whose candidates are objects by id, of those alone that are in both, without their ranks.

    `_compare_order` reports the other differences. A verdict near its threshold is left out.
    """
    if isinstance(recorded, list) and isinstance(found, list):
        pairs = [_align(one, other) for one, other in zip(recorded, found, strict=False)]
        ends = recorded[len(pairs) :], found[len(pairs) :]
        return [one for one, _ in pairs] + ends[0], [other for _, other in pairs] + ends[1]
    if not (isinstance(recorded, dict) and isinstance(found, dict)):
        return recorded, found
    before, now = dict(recorded), dict(found)
    if isinstance(before.get("candidates"), list) and isinstance(now.get("candidates"), list):
        if _is_near_threshold(before["candidates"]):
            before["verdict"] = now["verdict"] = None
        for each in (before, now):
            each["candidates"] = {f"[{one['id']}]": {**one, "rank": None} for one in each["candidates"]}
        shared = before["candidates"].keys() & now["candidates"].keys()
        for each in (before, now):
            each["candidates"] = {id: one for id, one in each["candidates"].items() if id in shared}
    for key in before.keys() & now.keys():
        before[key], now[key] = _align(before[key], now[key])
    return before, now


def _is_near_threshold(candidates: list[Record]) -> bool:
    likeliest = max((each["probability"] or 0.0 for each in candidates), default=0.0)
    return bool(abs(likeliest - MATCH_PROBABILITY) < VERDICT_MARGIN)
