"""HDF5 files, each read in a process of its own: the HDF5 library may crash or hang on damaged files.

What that process does with the file is in `hdf5_content`.
"""

import json

import numpy as np

from model.pattern.formats.recorded_image import RecordedImage
from model.pattern.options import FrameSelection
from model.reader_process import ReaderProcess

CPU_S = 6.0
# The largest frame in double precision takes half of it, and in the precision of frames another quarter.
MAX_MEMORY_BYTES = 2**30
DAMAGED = "The HDF5 file is damaged and cannot be read; copy it again, or export the frame as 16-bit TIFF."

_process = ReaderProcess("model.pattern.formats.hdf5_content:parse_upload", DAMAGED, CPU_S, MAX_MEMORY_BYTES)


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
    reply = _process.read([_encode_selection(selection), b"\n", data])
    size = reply.index(b"\n")
    metadata = json.loads(reply[:size])
    counts = np.frombuffer(reply, metadata["type"], offset=size + 1).reshape(metadata["shape"])
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
