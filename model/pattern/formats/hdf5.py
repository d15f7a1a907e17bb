"""HDF5 files, read in a process of their own: on damaged ones the HDF5 library may crash, or never return.

A process reads one file and ends. The next one is started beforehand, so that its imports cost no request any time;
it reads its input to the end, and so ends with this process too.
"""

import atexit
import io
import json
import subprocess
import sys
from threading import Lock

import numpy as np

from model import errors
from model.errors import DomainError, UnreadableError
from model.pattern.formats.recorded_image import Recorded
from model.pattern.options import Choice

LONGEST_S = 6.0
MOST_MEMORY_BYTES = 4 * 2**30
LONGEST_HEAD = 64 * 1024
_COMMAND = (sys.executable, "-P", "-c", "from model.pattern.formats.hdf5 import main; main()")
_DAMAGED = (
    "the HDF5 file is damaged so that it cannot be read; copy it again, or export the frame as 16-bit TIFF"
)


def is_hdf5(data: bytes) -> bool:
    """Whether the content is an HDF5 file."""
    return data[:8] == b"\x89HDF\r\n\x1a\n"


def read_hdf5(data: bytes, choice: Choice = None) -> Recorded:
    """The pattern of an HDF5 file.

    Args:
        data: the file.
        choice: of a stack or a scan.

    Raises:
        UnreadableError: damaged.
        NoSpotsError: no images in it.
        TooLargeError: more pixels than are read.
        OptionError: no such image.
    """
    with _readers.taken() as process:
        try:
            answer, _ = process.communicate(_packed(choice) + b"\n" + data, timeout=LONGEST_S)
        except subprocess.TimeoutExpired as error:
            raise UnreadableError(_DAMAGED) from error
        finally:
            process.kill()
    head, _, _ = answer[:LONGEST_HEAD].partition(b"\n")
    if process.returncode != 0 or not head:
        raise UnreadableError(_DAMAGED)
    stated = json.loads(head)
    if "error" in stated:
        kind = getattr(errors, stated["error"])
        raise kind(stated["message"])
    file = io.BytesIO(answer)
    file.seek(len(head) + 1)
    counts = np.load(file, allow_pickle=False)
    return Recorded(
        counts,
        stated["format"],
        stated["pixel_size"],
        stated["voltage_kv"],
        tuple(stated["warnings"]),
        images=stated["images"],
    )


def _packed(choice: Choice) -> bytes:
    """As JSON; of several images the first and the one after the last."""
    return json.dumps([choice.start, choice.stop] if isinstance(choice, range) else choice).encode()


def _unpacked(text: bytes) -> Choice:
    choice = json.loads(text or b"null")
    return range(*choice) if isinstance(choice, list) else choice


class _Readers:
    """Processes that wait for a file."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def taken(self) -> subprocess.Popen[bytes]:
        """One that waits, or a new one; another is started for the next file."""
        with self._lock:
            ready, self._waiting = self._waiting or self._started(), None
            self._waiting = self._started()
        return ready

    def close(self) -> None:
        """End the one that waits."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.kill()
                self._waiting.communicate()
                self._waiting = None

    @staticmethod
    def _started() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, close_fds=True
        )


_readers = _Readers()


def main() -> None:
    """What the process does: one file from its input, the image to its output."""
    from model.pattern.formats.hdf5_content import read_content

    _limit_memory()
    choice = _unpacked(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read()
    if not data:
        return
    try:
        found = read_content(data, choice)
    except Exception as error:
        known = error if isinstance(error, DomainError) else UnreadableError(_DAMAGED)
        told = {"error": type(known).__name__, "message": str(known)}
        sys.stdout.buffer.write(json.dumps(told).encode() + b"\n")
        return
    stated = {
        "format": found.source_format,
        "pixel_size": found.pixel_size_inv_angstrom,
        "voltage_kv": found.voltage_kv,
        "warnings": found.warnings,
        "images": found.images,
    }
    sys.stdout.buffer.write(json.dumps(stated).encode() + b"\n")
    counts = found.counts
    # The frame will be in single precision anyway; what passes the pipe should be no larger.
    if counts.dtype.kind not in "uib" or counts.dtype.itemsize > 4:
        counts = counts.astype(np.float32)
    np.save(sys.stdout.buffer, np.ascontiguousarray(counts), allow_pickle=False)


def _limit_memory() -> None:
    """Where the system can."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(LONGEST_S), int(LONGEST_S)))
