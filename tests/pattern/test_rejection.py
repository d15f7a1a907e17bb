"""Frames that are not spot patterns are refused, and the message says what they are."""

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
from tests.pattern.foreign_frames import (
    render_columns_image,
    render_lattice_image,
    render_overlapping_discs,
)

Array = NDArray[np.float64]
FORMATS = SHARED / "data" / "patterns" / "formats"
SEEDS = range(900, 925)


def collect_reasons(render: Callable[[int], Array]) -> list[str]:
    """Return why the frames of the seeds are refused; an empty text for those that are not."""
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
    ("render", "words", "min_share"),
    [
        (render_overlapping_discs, "overlapping convergent-beam discs", 0.9),
        (render_columns_image, "real-space image", 0.9),
        (render_lattice_image, "real-space image", 0.2),
    ],
)
def test_the_message_says_what_a_refused_frame_is(
    render: Callable[[int], Array], words: str, min_share: float
) -> None:
    reasons = collect_reasons(render)
    assert sum(bool(each) for each in reasons) >= 0.95 * len(reasons)
    assert sum(words in each for each in reasons) >= min_share * len(reasons)


@pytest.mark.skipif(not FORMATS.is_dir(), reason="the shared patterns are not beside the project")
def test_refuses_recorded_rings_of_bismuth_as_rings() -> None:
    with pytest.raises(NoSpotsError, match="shows the rings"):
        read_pattern((FORMATS / "bismuth.dm4").read_bytes(), "bismuth.dm4", PatternOptions())
