"""Two indexes of the same weights, a small and a large one, to replace each other."""

from pathlib import Path

from index.build.build import build_index
from tests.index.layers import document, write_lines
from tests.index.stand_in import RadialEncoder

SMALL, LARGE = 6, 9


def build_two(folder: Path) -> dict[int, Path]:
    """Build both and return their folders by the number of crystals."""
    for count in (SMALL, LARGE):
        source = write_lines(folder / f"source {count}", [document(i) for i in range(count)])
        build_index([source], folder / f"{count}", RadialEncoder())
    return {count: folder / f"{count}" for count in (SMALL, LARGE)}
