"""Images of a file with many, as of a 4D-STEM scan, read some at a time."""

from pathlib import Path
from threading import Lock

from model.errors import DomainError, OptionError, UnreadableError
from model.pattern.formats.read_frame import FrameSeries, is_frame, read_frames
from model.pattern.frame import Frame

_MOST_TOGETHER = 16
_MOST_PIXELS_TOGETHER = 2**24


def unopened(error: OSError) -> UnreadableError:
    """Why a file on the disk cannot be read, without its path."""
    return UnreadableError(f"the file cannot be opened: {error.strerror or 'unknown reason'}")


class Scan:
    """The file that is being read: its content is kept, and the images around the last one that was asked for."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._path: Path | None = None
        self._data = b""
        self._first = 0
        self._images: FrameSeries | None = None

    def forget_gone(self) -> None:
        """Let go of a file that lies on the disk no more, as when its batch has ended: up to 256 MiB."""
        if not self._lock.acquire(blocking=False):  # another thread reads one
            return
        try:
            if self._path is not None and not self._path.exists():
                self._path, self._data, self._images = None, b"", None
        finally:
            self._lock.release()

    def data(self, path: Path) -> bytes:
        """The whole file.

        Raises:
            UnreadableError: it cannot be opened.
        """
        with self._lock:
            self._open(path)
            return self._data

    def count(self, path: Path) -> int:
        """How many images a file holds; 1 for points, and for what cannot be read: its error comes with its answer.

        Raises:
            UnreadableError: it cannot be opened.
            OptionError: more images than are read.
        """
        with self._lock:
            self._open(path)
            if not is_frame(self._data):
                return 1
            try:
                return self._around(0).total
            except OptionError:  # more images than are read: none may go unheard
                raise
            except DomainError:
                return 1

    def image(self, path: Path, number: int) -> Frame:
        """One image, counted from 0.

        Raises:
            DomainError: see `model.pattern.read_frames`.
        """
        with self._lock:
            self._open(path)
            images = self._around(number)
            return images.frames[number - self._first]

    def _open(self, path: Path) -> None:
        if path == self._path:
            return
        try:
            data = path.read_bytes()
        except OSError as error:  # the client has left and its files with it, or they are not ours to read
            raise unopened(error) from None
        self._path, self._data, self._images = path, data, None

    def _around(self, number: int) -> FrameSeries:
        if self._images is None or not 0 <= number - self._first < len(self._images.frames):
            together = 1
            if self._images is not None:
                height, width = self._images.frames[0].shape
                together = min(_MOST_TOGETHER, max(_MOST_PIXELS_TOGETHER // (height * width), 1))
            self._images = read_frames(self._data, range(number, number + together))
            self._first = number
        return self._images
