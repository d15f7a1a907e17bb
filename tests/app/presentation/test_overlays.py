"""The store of overlays keeps the latest ones."""

import pytest

from app.errors import NotFoundError
from app.presentation.frame_overlay import FramePicture, Marker
from app.presentation.overlays import MAX_ANSWERS, CandidateOverlays, OverlayStore


def overlays(id: str) -> CandidateOverlays:
    picture = FramePicture(b"", (1, 1), (), "frame")
    return CandidateOverlays(id, picture, {1: [Marker("circle", (0.0, 0.0, 1.0), "#fff")]})


def test_the_oldest_overlays_are_dropped() -> None:
    store = OverlayStore()
    for number in range(MAX_ANSWERS + 1):
        store.add(overlays(str(number)))
    assert store.find("1", 1).markers == [Marker("circle", (0.0, 0.0, 1.0), "#fff")]
    with pytest.raises(NotFoundError, match="latest"):
        store.find("0", 1)


def test_only_ranks_with_a_picture_have_a_path() -> None:
    assert overlays("a").path(1) == "/overlays/a/1"
    assert overlays("a").path(2) is None
    store = OverlayStore()
    store.add(overlays("a"))
    with pytest.raises(NotFoundError):
        store.find("a", 2)
