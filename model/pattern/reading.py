"""One way in for an uploaded pattern: what its content is decides how it is read."""

from model.errors import TooLargeError, UnknownFormatError
from model.pattern.frame_files import is_frame, read_frame
from model.pattern.options import PatternOptions
from model.pattern.point_clouds import read_point_cloud
from model.pattern.spot_finding import find_spots
from model.pattern.spots import Spots

MAXIMUM_TEXT_BYTES = 32 * 2**20


def read_pattern(data: bytes, filename: str, options: PatternOptions) -> Spots:
    """Spots of an upload, a point cloud or a camera frame, recognised by content.

    Args:
        data: the file.
        filename: only named in messages.
        options: what the user says; see `PatternOptions`.

    Raises:
        UnknownFormatError: content that is no known image and no text.
        UnreadableError: damaged content.
        TooLargeError: more points or pixels than are read.
        OptionError: the scale is unknown, or options contradict the content.
        NoSpotsError: nothing that can be identified.
    """
    if is_frame(data):
        return find_spots(read_frame(data), options)
    return read_point_cloud(_decode(data, filename), options)


def _decode(data: bytes, filename: str) -> str:
    if len(data) > MAXIMUM_TEXT_BYTES:
        raise TooLargeError(f"{filename} has {len(data)} bytes; a point cloud may have {MAXIMUM_TEXT_BYTES}")
    marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ["utf-16"] if marked else ["utf-8-sig", "cp1252"]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(ord(c) < 32 and c not in "\t\n\r\f\v" for c in text[:10_000]):
            return text
    raise UnknownFormatError(
        f"{filename} is neither a known image nor text; give a PNG or TIFF frame, or points as JSON or CSV"
    )
