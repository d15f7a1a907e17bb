"""Number of candidates computed, fitted and refined at each effort."""

from dataclasses import dataclass
from typing import Literal

VerificationEffort = Literal["verify", "full"]


@dataclass(frozen=True)
class Depth:
    """Limits of a verification.

    Attributes:
        pool: candidates that the towers propose, and as many again that have the pattern's lattice.
        max_computed: candidates whose intensities are computed, of those whose lattice fits, the most similar first.
        min_computed: this many are computed in any case.
        max_similarity_gap: beyond those, only candidates less similar than the most similar by no more are computed.
        rough_fits: computed candidates that are fitted roughly.
        max_refined: candidates that are refined, of those fitted roughly.
        min_refined: this many are refined however poor their rough fits are.
        starts: places of the grid from which each orientation is fitted.
        max_matches: leaders of the ranking that have a match though they were not refined.
    """

    pool: int
    max_computed: int
    min_computed: int
    max_similarity_gap: float
    rough_fits: int
    max_refined: int
    min_refined: int
    starts: int
    max_matches: int


_VERIFY = Depth(
    pool=64,
    max_computed=20,
    min_computed=6,
    max_similarity_gap=0.12,
    rough_fits=18,
    max_refined=10,
    min_refined=3,
    starts=3,
    max_matches=10,
)
_FULL = Depth(
    pool=2000,
    max_computed=1500,
    min_computed=30,
    max_similarity_gap=0.12,
    rough_fits=400,
    max_refined=150,
    min_refined=30,
    starts=8,
    max_matches=100,
)
# Without intensities the towers are less reliable, and there is nothing to fit, which saves time.
_WITHOUT_INTENSITIES = Depth(
    pool=400,
    max_computed=400,
    min_computed=400,
    max_similarity_gap=2.0,
    rough_fits=60,
    max_refined=60,
    min_refined=60,
    starts=1,
    max_matches=60,
)
DEPTHS: dict[tuple[VerificationEffort, bool], Depth] = {
    ("verify", True): _VERIFY,
    ("full", True): _FULL,
    ("verify", False): _WITHOUT_INTENSITIES,
    ("full", False): _WITHOUT_INTENSITIES,
}
"""Limits by effort, and by whether the pattern has intensities."""
