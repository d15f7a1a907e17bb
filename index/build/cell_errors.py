"""Standard uncertainties of cell lengths, as given when an index is built."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from index.starter.cell import CELL_SIGMA as STARTER_CELL_SIGMA
from index.starter.cell import SOURCE as STARTER_SOURCE
from model.errors import OptionError

MIN_CELL_SIGMA, MAX_CELL_SIGMA = 0.0005, 0.05


@dataclass(frozen=True)
class CellErrors:
    """rms errors of the logarithm of cell lengths.

    Attributes:
        general: of all sources without a value of their own; None if not given.
        by_source: of single sources, by the name that their crystals state.

    Raises:
        OptionError: an error is out of range.
    """

    general: float | None = None
    by_source: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for sigma in (*self.by_source.values(), *([] if self.general is None else [self.general])):
            if not MIN_CELL_SIGMA <= sigma <= MAX_CELL_SIGMA:
                raise OptionError(
                    f"The cell error {sigma} is out of range; it must be a fraction from {MIN_CELL_SIGMA} to "
                    f"{MAX_CELL_SIGMA}."
                )

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """Parse words such as "0.01" and "C2DB=0.005".

        Raises:
            OptionError: a word has neither form, or a value is given twice.
        """
        values: dict[str, float] = {}
        for word in words:
            source, _, text = word.rpartition("=")
            try:
                sigma = float(text)
            except ValueError:
                raise OptionError(
                    f"{word[:60]!r} is not a cell error; write 0.01, or SOURCE=0.005 for the cells of one source."
                ) from None
            if source in values:
                raise OptionError(
                    f"The cell error of {source or 'all sources'} is given twice; give it once."
                )
            values[source] = sigma
        return cls(values.pop("", None), values)

    def select(self, sources: Iterable[str]) -> dict[str, float]:
        """Return the errors of these sources, excluding those equal to the default for computed cells."""
        errors = {}
        for source in sources:
            sigma = self.by_source.get(source, self.general)
            if sigma is None and source == STARTER_SOURCE:
                sigma = STARTER_CELL_SIGMA
            if sigma is not None:
                errors[source] = sigma
        return errors


DEFAULT_CELL_ERRORS = CellErrors()
