"""What is no pattern of spots is refused, and the sentence says what it is."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import NoSpotsError
from model.pattern.detection.spot_finding import find_spots
from model.pattern.frame import Frame, find_saturation_level
from model.pattern.options import PatternOptions
from model.pattern.read import read_pattern
from tests.paths import SHARED
from tests.pattern.formats.foreign_frames import columns_image, convergent_beam, lattice_image

Array = NDArray[np.float64]
FORMATS = SHARED / "data" / "patterns" / "formats"
SEEDS = range(900, 925)


def told(render: Callable[[int], Array]) -> list[str]:
    """Why the frames of the seeds are refused; an empty text for those that are not."""
    reasons = []
    for seed in SEEDS:
        counts = render(seed).astype(np.float32)
        try:
            find_spots(Frame(counts, saturation_level=find_saturation_level(counts)), PatternOptions())
        except NoSpotsError as error:
            reasons.append(str(error))
        else:
            reasons.append("")
    return reasons


@pytest.mark.parametrize(
    ("render", "words", "named"),
    [
        (convergent_beam, "overlapping discs of a convergent beam", 0.9),
        (columns_image, "image of real space", 0.9),
        (lattice_image, "image of real space", 0.2),
    ],
)
def test_frames_without_spots_are_refused_as_what_they_are(
    render: Callable[[int], Array], words: str, named: float
) -> None:
    reasons = told(render)
    assert sum(bool(each) for each in reasons) >= 0.95 * len(reasons)
    assert sum(words in each or "real-space" in each for each in reasons) >= named * len(reasons)


@pytest.mark.skipif(not FORMATS.is_dir(), reason="the shared patterns are not beside the project")
def test_recorded_rings_of_bismuth_are_refused_as_rings() -> None:
    with pytest.raises(NoSpotsError, match="shows rings"):
        read_pattern((FORMATS / "bismuth.dm4").read_bytes(), "bismuth.dm4", PatternOptions())
