"""Pictures of candidates over their frame. The service keeps those of the latest answers, which link to them."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Self
from uuid import uuid4

from app.errors import NotFoundError
from app.presentation.frame_overlay import FramePicture, Marker, draw_frame, mark_match
from model.matching.match import Match
from model.pattern.frame import Frame
from model.pattern.spots import Spots

MAX_ANSWERS = 32
MAX_CANDIDATES = 10


@dataclass(frozen=True)
class CandidateOverlays:
    """A frame and the markers of each candidate drawn over it.

    Attributes:
        id: random, so that clients cannot guess it.
        picture: the frame without markers.
        markers: of each candidate, by rank.
    """

    id: str
    picture: FramePicture
    markers: Mapping[int, Sequence[Marker]]

    @classmethod
    def draw(cls, frame: Frame, spots: Spots, matches: Sequence[Match | None]) -> Self | None:
        """Draw the candidates that have a match; return None if there are none.

        Args:
            frame: the frame.
            spots: found in it.
            matches: of the candidates in the order of their ranks.
        """
        markers = {
            rank: mark_match(spots, match, frame.shape)
            for rank, match in enumerate(matches[:MAX_CANDIDATES], start=1)
            if match is not None
        }
        if not markers:
            return None
        return cls(uuid4().hex, draw_frame(frame, spots, None).with_markers(()), markers)

    def path(self, rank: int) -> str | None:
        """Return the path of a candidate's picture; None if it has no picture."""
        return f"/overlays/{self.id}/{rank}" if rank in self.markers else None


class OverlayStore:
    """Keeps the overlays of the latest answers. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._overlays: OrderedDict[str, CandidateOverlays] = OrderedDict()

    def add(self, overlays: CandidateOverlays) -> None:
        """Keep the overlays of an answer; drop the oldest if there are too many."""
        with self._lock:
            self._overlays[overlays.id] = overlays
            self._overlays.move_to_end(overlays.id)
            while len(self._overlays) > MAX_ANSWERS:
                self._overlays.popitem(last=False)

    def find(self, id: str, rank: int) -> FramePicture:
        """Return the picture of a candidate.

        Raises:
            NotFoundError: it was never stored, or is no longer kept.
        """
        with self._lock:
            overlays = self._overlays.get(id)
        if overlays is None or rank not in overlays.markers:
            raise NotFoundError(
                f"There is no such picture; only those of the latest {MAX_ANSWERS} answers with overlay=true are kept."
            )
        return overlays.picture.with_markers(overlays.markers[rank])
