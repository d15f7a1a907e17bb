"""Pictures of candidates over their frames, kept for a while so that they can be fetched by the link in the answer."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from threading import Lock
from typing import Any, Self

from app.errors import NotFoundError
from app.presentation.frame_overlay import FramePicture, Shape

MOST_ANSWERS = 32
MOST_CANDIDATES = 10


def overlay_link(drawing_id: str, rank: int) -> str:
    """Where a candidate's picture is fetched."""
    return f"/overlays/{drawing_id}/{rank}"


@dataclass(frozen=True)
class Drawing:
    """A frame with each of its first candidates over it.

    Attributes:
        id: under which they are fetched; no client can choose or guess it.
        frame: with nothing over it.
        shapes: of each candidate, by rank.
    """

    id: str
    frame: FramePicture
    shapes: Mapping[int, list[Shape]]

    def packed(self) -> dict[str, Any]:
        """As JSON, but for the frame's own pixels."""
        shapes = {str(rank): [astuple(each) for each in listed] for rank, listed in self.shapes.items()}
        return {"id": self.id, "size": self.frame.size, "title": self.frame.title, "shapes": shapes}

    @classmethod
    def unpacked(cls, told: Mapping[str, Any], grey: bytes) -> Self:
        """From JSON and the frame's pixels as PNG."""
        shapes = {
            int(rank): [Shape(kind, tuple(numbers), *style) for kind, numbers, *style in listed]
            for rank, listed in told["shapes"].items()
        }
        return cls(told["id"], FramePicture(grey, tuple(told["size"]), (), told["title"]), shapes)


class Overlays:
    """The pictures of the last answers that asked for them; safe from several threads at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[str, Drawing] = OrderedDict()

    def keep(self, drawing: Drawing) -> None:
        """Keep an answer's pictures, and forget the oldest answer's where there are too many."""
        with self._lock:
            self._kept[drawing.id] = drawing
            self._kept.move_to_end(drawing.id)
            while len(self._kept) > MOST_ANSWERS:
                self._kept.popitem(last=False)

    def picture(self, drawing_id: str, rank: int) -> FramePicture:
        """One of them.

        Raises:
            NotFoundError: never kept, or forgotten.
        """
        with self._lock:
            drawing = self._kept.get(drawing_id)
        if drawing is None or rank not in drawing.shapes:
            raise NotFoundError(
                f"there is no such picture; those of the last {MOST_ANSWERS} answers with overlay=true are kept"
            )
        return replace(drawing.frame, shapes=drawing.shapes[rank])
