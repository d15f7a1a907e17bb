"""HDF5 files, each read in a process of its own: the HDF5 library may crash or hang on damaged files.

A process reads one file and ends. The next one starts beforehand, so that its imports delay no request. It reads its
input to the end, and therefore ends when this process ends. What the process does with the file is in `hdf5_content`.
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
from model.pattern.formats.recorded_image import RecordedImage
from model.pattern.options import FrameSelection

TIMEOUT_S = 6.0
MAX_MEMORY_BYTES = 4 * 2**30
MAX_METADATA_BYTES = 64 * 1024
_COMMAND = (sys.executable, "-P", "-c", "from model.pattern.formats.hdf5 import main; main()")
_DAMAGED = "The HDF5 file is damaged and cannot be read; copy it again, or export the frame as 16-bit TIFF."


def read_hdf5(data: bytes, selection: FrameSelection = None) -> RecordedImage:
    """Read the pattern of an HDF5 file in a separate process.

    Args:
        data: content of the file.
        selection: which image of a stack or a scan.

    Raises:
        UnreadableError: The file is damaged.
        NoSpotsError: The file contains no images.
        TooLargeError: The image has more pixels than the limit.
        OptionError: The file has no such image.
    """
    with _processes.take() as process:
        try:
            reply, _ = process.communicate(_encode_selection(selection) + b"\n" + data, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise UnreadableError(_DAMAGED) from error
        finally:
            process.kill()
    line, _, _ = reply[:MAX_METADATA_BYTES].partition(b"\n")
    if process.returncode != 0 or not line:
        raise UnreadableError(_DAMAGED)
    metadata = json.loads(line)
    if "error" in metadata:
        error_class = getattr(errors, metadata["error"])
        raise error_class(metadata["message"])
    file = io.BytesIO(reply)
    file.seek(len(line) + 1)
    counts = np.load(file, allow_pickle=False)
    return RecordedImage(
        counts,
        metadata["format"],
        metadata["pixel_size"],
        metadata["voltage_kv"],
        tuple(metadata["warnings"]),
        image_count=metadata["image_count"],
    )


def _encode_selection(selection: FrameSelection) -> bytes:
    """Encode a selection as JSON; a range becomes a list of its start and stop."""
    return json.dumps(
        [selection.start, selection.stop] if isinstance(selection, range) else selection
    ).encode()


def _decode_selection(text: bytes) -> FrameSelection:
    selection = json.loads(text or b"null")
    return range(*selection) if isinstance(selection, list) else selection


class _ReaderProcesses:
    """Starts the processes; one always waits for the next file."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def take(self) -> subprocess.Popen[bytes]:
        """Return the waiting process, or a new one, and start another for the next file."""
        with self._lock:
            process, self._waiting = self._waiting or self._start(), None
            self._waiting = self._start()
        return process

    def close(self) -> None:
        """End the waiting process."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.kill()
                self._waiting.communicate()
                self._waiting = None

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, close_fds=True
        )


_processes = _ReaderProcesses()


def main() -> None:
    """Run the process: read one file from standard input, and write its image to standard output."""
    from model.pattern.formats.hdf5_content import read_content

    _limit_resources()
    selection = _decode_selection(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read()
    if not data:
        return
    try:
        recorded = read_content(data, selection)
    except Exception as error:
        known = error if isinstance(error, DomainError) else UnreadableError(_DAMAGED)
        failure = {"error": type(known).__name__, "message": str(known)}
        sys.stdout.buffer.write(json.dumps(failure).encode() + b"\n")
        return
    metadata = {
        "format": recorded.source_format,
        "pixel_size": recorded.pixel_size_inv_angstrom,
        "voltage_kv": recorded.voltage_kv,
        "warnings": recorded.warnings,
        "image_count": recorded.image_count,
    }
    sys.stdout.buffer.write(json.dumps(metadata).encode() + b"\n")
    counts = recorded.counts
    # The frame will be in single precision; what passes through the pipe need not be larger.
    if counts.dtype.kind not in "uib" or counts.dtype.itemsize > 4:
        counts = counts.astype(np.float32)
    np.save(sys.stdout.buffer, np.ascontiguousarray(counts), allow_pickle=False)


def _limit_resources() -> None:
    """Limit memory and time of the process where the system can."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(TIMEOUT_S), int(TIMEOUT_S)))
