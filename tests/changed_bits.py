"""Damage to files."""

from pathlib import Path


def flip_bit(path: Path, place: float) -> None:
    """Change one bit of a file in place, as it is while the file is mapped."""
    with path.open("r+b") as stream:
        bit = int(place * 8 * path.stat().st_size)
        stream.seek(bit // 8)
        (byte,) = stream.read(1)
        stream.seek(bit // 8)
        stream.write(bytes([byte ^ 1 << bit % 8]))
