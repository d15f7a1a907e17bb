"""The works cited by the starter library."""

import tomllib
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any

from model.errors import IndexUnavailableError

FIRST_YEAR, LAST_YEAR = 1912, 2026


@dataclass(frozen=True)
class Citation:
    """A published work.

    Attributes:
        key: name within the starter library.
        authors: the first author, or the first few, as printed.
        journal: abbreviated title, or a book's title.
        volume, page: as printed; empty for a book.
        year: of publication.
        doi: empty if uncertain.
        checked: whether first author, journal, volume, page and year were found together in a printed source.
    """

    key: str
    authors: str
    journal: str
    volume: str
    page: str
    year: int
    doi: str = ""
    checked: bool = False

    def __post_init__(self) -> None:
        if not (self.authors and self.journal):
            raise IndexUnavailableError(f"Citation {self.key} needs authors and a journal.")
        if not FIRST_YEAR <= self.year <= LAST_YEAR:
            raise IndexUnavailableError(
                f"Citation {self.key}: no crystal structure was published in {self.year}."
            )
        if self.doi and not self.doi.startswith("10."):
            raise IndexUnavailableError(f"Citation {self.key}: {self.doi!r} is not a DOI.")

    def __str__(self) -> str:
        where = f" {self.volume}, {self.page}" if self.volume else ""
        return f"{self.authors}, {self.journal}{where} ({self.year})"


def read_citations(file: Traversable) -> dict[str, Citation]:
    """Return the citations by key.

    Raises:
        IndexUnavailableError: a citation lacks a field or has an unknown one.
    """
    citations = {}
    for key, row in read_tables(file).items():
        try:
            citations[key] = Citation(key=key, **row)
        except TypeError as error:
            raise IndexUnavailableError(f"Citation {key}: {error}.") from error
    return citations


def read_tables(file: Traversable) -> dict[str, dict[str, Any]]:
    """Return the tables of a TOML file.

    Raises:
        IndexUnavailableError: not TOML, or a key is outside a table.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IndexUnavailableError(f"{file.name} is not TOML: {error}.") from error
    for key, table in document.items():
        if not isinstance(table, dict):
            raise IndexUnavailableError(f"{file.name}: {key} is outside a table.")
    return document
