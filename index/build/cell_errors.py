"""How far the cells of a library are off, as it is said when an index is built."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from index.starter.cell import CELL_SIGMA as STARTER_CELL_SIGMA
from index.starter.cell import SOURCE as STARTER_SOURCE
from model.errors import OptionError

CELL_SIGMA_RANGE = (0.0005, 0.05)


@dataclass(frozen=True)
class CellErrors:
    """rms errors of the logarithm of the lengths of cells.

    Attributes:
        general: of sources that are not named; None where nothing is said of them.
        named: by source, as crystals state it.

    Raises:
        OptionError: an error that is impossible.
    """

    general: float | None = None
    named: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        least, most = CELL_SIGMA_RANGE
        for each in (*self.named.values(), *([] if self.general is None else [self.general])):
            if not least <= each <= most:
                raise OptionError(f"the error of cells is a fraction between {least} and {most}, not {each}")

    @classmethod
    def parsed(cls, words: Sequence[str]) -> Self:
        """From words such as "0.01" and "C2DB=0.005".

        Raises:
            OptionError: a word that is neither, or something is said twice.
        """
        said: dict[str, float] = {}
        for word in words:
            source, _, value = word.rpartition("=")
            try:
                number = float(value)
            except ValueError:
                raise OptionError(
                    f"{word[:60]!r} is no error of cells; write 0.01, or SOURCE=0.005 for those of one source"
                ) from None
            if source in said:
                raise OptionError(
                    f"the error of the cells of {source or 'all sources'} is given twice; give it once"
                )
            said[source] = number
        return cls(said.pop("", None), said)

    def of(self, sources: Iterable[str]) -> dict[str, float]:
        """By source, of those of which something is known beside that they are computed."""
        known = {}
        for source in sources:
            sigma = self.named.get(source, self.general)
            if sigma is None and source == STARTER_SOURCE:
                sigma = STARTER_CELL_SIGMA
            if sigma is not None:
                known[source] = sigma
        return known


NOTHING_SAID = CellErrors()
