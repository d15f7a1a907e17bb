"""Read the images of a file that holds many, such as a 4D-STEM scan, a few at a time."""

from pathlib import Path
from threading import Lock

from model.errors import DomainError, OptionError, UnreadableError
from model.pattern.formats.read_frame import FrameSeries, is_frame, read_frames
from model.pattern.frame import Frame

_MAX_IMAGES_AT_ONCE = 16
_MAX_PIXELS_AT_ONCE = 2**24


def describe_open_error(error: OSError) -> UnreadableError:
    """Return why a file on disk cannot be opened, without revealing its path."""
    return UnreadableError(f"The file cannot be opened: {error.strerror or 'unknown reason'}.")


class ScanReader:
    """Reads the files of a batch; caches the last file and the images near the last one requested."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._path: Path | None = None
        self._data = b""
        self._first = 0
        self._images: FrameSeries | None = None

    def release_deleted_file(self) -> None:
        """Free the memory of a file that no longer exists because its batch has finished: up to 256 MiB."""
        if not self._lock.acquire(blocking=False):  # another thread is reading it
            return
        try:
            if self._path is not None and not self._path.exists():
                self._path, self._data, self._images = None, b"", None
        finally:
            self._lock.release()

    def read_data(self, path: Path) -> bytes:
        """Return the content of a file; UnreadableError if it cannot be opened."""
        with self._lock:
            self._open(path)
            return self._data

    def count_images(self, path: Path) -> int:
        """Return the number of images in a file.

        It is 1 for points, and for a file that cannot be read, whose error belongs to its answer.

        Raises:
            UnreadableError: the file cannot be opened.
            OptionError: the file holds more images than can be read.
        """
        with self._lock:
            self._open(path)
            if not is_frame(self._data):
                return 1
            try:
                return self._read_around(0).total
            except OptionError:  # too many images: none of them may be left out silently
                raise
            except DomainError:
                return 1

    def read_image(self, path: Path, number: int) -> Frame:
        """Return one image of a file, counted from 0; DomainError as `model.pattern.formats.read_frame.read_frames`."""
        with self._lock:
            self._open(path)
            images = self._read_around(number)
            return images.frames[number - self._first]

    def _open(self, path: Path) -> None:
        if path == self._path:
            return
        try:
            data = path.read_bytes()
        except OSError as error:  # the client has left and its files are deleted, or they are not readable
            raise describe_open_error(error) from None
        self._path, self._data, self._images = path, data, None

    def _read_around(self, number: int) -> FrameSeries:
        if self._images is None or not 0 <= number - self._first < len(self._images.frames):
            count = 1
            if self._images is not None:
                height, width = self._images.frames[0].shape
                count = min(_MAX_IMAGES_AT_ONCE, max(_MAX_PIXELS_AT_ONCE // (height * width), 1))
            self._images = read_frames(self._data, range(number, number + count))
            self._first = number
        return self._images
