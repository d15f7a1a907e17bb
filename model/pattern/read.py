"""One way in for an uploaded pattern: what its content is decides how it is read."""

from model.errors import TooLargeError, UnknownFormatError
from model.pattern.detection.spot_finding import find_spots
from model.pattern.formats.read_frame import is_frame, read_frame
from model.pattern.frame import Frame
from model.pattern.options import PatternOptions
from model.pattern.points.point_cloud import read_point_cloud
from model.pattern.spots import Spots

MAX_TEXT_BYTES = 16 * 2**20
# How files begin that people try, and what to do with them.
_FOREIGN: dict[bytes, tuple[str, str]] = {
    b"GIF8": ("GIF", "export the frame as 16-bit TIFF"),
    b"PK\x03\x04": ("zip", "unpack it first"),
    b"\x1f\x8b": ("gzip", "unpack it first"),
    b"%PDF": ("PDF", "export the frame as 16-bit TIFF"),
}


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
        OptionError: the scale cannot be right, or options contradict the content.
        NoSpotsError: nothing that can be identified.
    """
    return read_pattern_and_frame(data, filename, options)[0]


def read_pattern_and_frame(data: bytes, filename: str, options: PatternOptions) -> tuple[Spots, Frame | None]:
    """As `read_pattern`, with the frame that the spots were found in; None for a point cloud."""
    if is_frame(data):
        frame = read_frame(data, options.frame)
        return find_spots(frame, options), frame
    return read_point_cloud(_decode(data, filename), options), None


def _decode(data: bytes, filename: str) -> str:
    if len(data) > MAX_TEXT_BYTES:
        raise TooLargeError(
            f"{filename} is no known camera frame, and its {len(data)} bytes are too many for points, which may have "
            f"{MAX_TEXT_BYTES}; send fewer of them"
        )
    marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ["utf-16"] if marked else ["utf-8-sig", "cp1252"]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(ord(c) < 32 and c not in "\t\n\r\f\v" for c in text[:10_000]):
            return text
    for beginning, (name, advice) in _FOREIGN.items():
        if data.startswith(beginning):
            raise UnknownFormatError(f"{filename} is a {name} file, which cannot be read yet; {advice}")
    raise UnknownFormatError(
        f"{filename} is neither a known image nor text; give a camera frame as TIFF, or points as JSON or CSV"
    )
