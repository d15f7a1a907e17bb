"""Read an uploaded pattern: bytes to a frame to spots, or bytes to text to points to spots."""

from model.errors import TooLargeError, UnknownFormatError
from model.pattern.detection.spot_finding import find_spots
from model.pattern.formats.read_frame import is_frame, read_frame
from model.pattern.frame import Frame
from model.pattern.options import PatternOptions
from model.pattern.points.point_cloud import read_point_cloud
from model.pattern.spots import Spots

MAX_TEXT_BYTES = 16 * 2**20
# How files begin that users try but that cannot be read, with their names and what to do.
_UNSUPPORTED: dict[bytes, tuple[str, str]] = {
    b"GIF8": ("a GIF file", "Export the frame as 16-bit TIFF."),
    b"PK\x03\x04": ("a zip file", "Unpack it first."),
    b"\x1f\x8b": ("a gzip file", "Unpack it first."),
    b"%PDF": ("a PDF file", "Export the frame as 16-bit TIFF."),
}


def read_pattern(data: bytes, filename: str, options: PatternOptions) -> Spots:
    """Read the spots of an uploaded file, a camera frame or a point cloud, as its content decides.

    Args:
        data: content of the file.
        filename: name for messages; it has no other effect.
        options: what the user states about the pattern.

    Raises:
        UnknownFormatError: The content is neither a known image nor text.
        UnreadableError: The content is damaged.
        TooLargeError: The file has more points or pixels than the limit.
        OptionError: The scale is implausible, or options contradict the content.
        NoSpotsError: The pattern has too few spots, or is not a diffraction pattern of a crystal.
    """
    return read_pattern_and_frame(data, filename, options)[0]


def read_pattern_and_frame(data: bytes, filename: str, options: PatternOptions) -> tuple[Spots, Frame | None]:
    """Read the spots like `read_pattern`, and the frame in which they were found; None for a point cloud."""
    if is_frame(data):
        frame = read_frame(data, options.frame)
        return find_spots(frame, options), frame
    text = _decode_text(data, filename)
    return read_point_cloud(text, options), None


def _decode_text(data: bytes, filename: str) -> str:
    if len(data) > MAX_TEXT_BYTES:
        raise TooLargeError(
            f"The file {filename!r} is not in a known camera format, and a list of points may have at most "
            f"{MAX_TEXT_BYTES} bytes; it has {len(data)}. Send fewer points."
        )
    has_utf16_mark = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ["utf-16"] if has_utf16_mark else ["utf-8-sig", "cp1252"]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(ord(c) < 32 and c not in "\t\n\r\f\v" for c in text[:10_000]):
            return text
    for beginning, (name, advice) in _UNSUPPORTED.items():
        if data.startswith(beginning):
            raise UnknownFormatError(f"The file {filename!r} is {name}, which is not supported. {advice}")
    raise UnknownFormatError(
        f"The file {filename!r} is neither a known image nor text; upload a camera frame as TIFF, or points as JSON or "
        "CSV."
    )
