"""Pictures of candidates over their frames, kept for a while so that they can be fetched by the link in the answer."""

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock

from app.errors import NotFoundError
from app.frame_picture import FramePicture

MOST_ANSWERS = 32
MOST_CANDIDATES = 10


def overlay_link(drawing_id: str, rank: int) -> str:
    """Where a candidate's picture is fetched."""
    return f"/overlays/{drawing_id}/{rank}"


class Overlays:
    """The pictures of the last answers that asked for them; safe from several threads at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[str, Mapping[int, FramePicture]] = OrderedDict()

    def keep(self, drawing_id: str, pictures: Mapping[int, FramePicture]) -> None:
        """Keep an answer's pictures, by rank, and forget the oldest answer's where there are too many."""
        with self._lock:
            self._kept[drawing_id] = pictures
            self._kept.move_to_end(drawing_id)
            while len(self._kept) > MOST_ANSWERS:
                self._kept.popitem(last=False)

    def picture(self, drawing_id: str, rank: int) -> FramePicture:
        """One of them.

        Raises:
            NotFoundError: never kept, or forgotten.
        """
        with self._lock:
            pictures = self._kept.get(drawing_id, {})
        if rank not in pictures:
            raise NotFoundError(
                f"there is no such picture; those of the last {MOST_ANSWERS} answers with overlay=true are kept"
            )
        return pictures[rank]
