"""Reads the starter library: the entries of `families/*.toml` and the works they cite, both checked strictly."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable

from index.starter.citations import Citation, read_citations, read_tables
from index.starter.prototypes import PROTOTYPES, Prototype
from model.crystal.crystal import Crystal
from model.errors import CrystalError, IndexUnavailableError

Value = float | tuple[float, ...]
LIBRARY: Traversable = files("index.starter")
# What an entry may say of itself beside its parameters.
_REMARKS = frozenset({"elements", "cite", "checked", "note"})
CHECKABLE = ("lattice", "coordinates")


@dataclass(frozen=True)
class StarterEntry:
    """One crystal of the library, as it is written.

    Attributes:
        name: unique, such as "MoS2-1H".
        family: the file it stands in.
        prototype_name: its key in `PROTOTYPES`.
        elements: symbols in the order of the prototype's roles.
        values: the prototype's parameters.
        citation: where the crystal, or its measured structure, is described.
        checked: which of `CHECKABLE` agree within half a percent with a text other than the writer's memory.
        note: what else a user should know.
    """

    name: str
    family: str
    prototype_name: str
    elements: tuple[str, ...]
    values: dict[str, Value]
    citation: Citation
    checked: tuple[str, ...]
    note: str

    def __post_init__(self) -> None:
        prototype = self.prototype
        if len(self.elements) != len(prototype.roles):
            raise IndexUnavailableError(
                f"{self.name}: {self.prototype_name} takes the elements {prototype.roles}"
            )
        missing, surplus = prototype.parameters - set(self.values), set(self.values) - prototype.parameters
        if missing or surplus:
            raise IndexUnavailableError(
                f"{self.name}: {self.prototype_name} takes {sorted(prototype.parameters)}; "
                f"missing {sorted(missing)}, unknown {sorted(surplus)}"
            )
        if not set(self.checked) <= set(CHECKABLE):
            raise IndexUnavailableError(f"{self.name}: checked may hold {CHECKABLE}, not {self.checked}")

    @property
    def prototype(self) -> Prototype:
        """Raises IndexUnavailableError for a name that is no prototype's."""
        try:
            return PROTOTYPES[self.prototype_name]
        except KeyError:
            raise IndexUnavailableError(
                f"{self.name}: no prototype is called {self.prototype_name!r}"
            ) from None

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What nobody has compared with a source yet: any of "lattice", "coordinates", "citation"."""
        parts = tuple(part for part in CHECKABLE if part not in self.checked)
        return parts if self.citation.checked else (*parts, "citation")

    @property
    def reference(self) -> str:
        """The citation, and what of the entry was not compared with a printed source."""
        return (
            f"{self.citation} (not checked: {', '.join(self.unchecked)})"
            if self.unchecked
            else str(self.citation)
        )

    @cached_property
    def crystal(self) -> Crystal:
        """The layer.

        Raises:
            IndexUnavailableError: the numbers draw no possible crystal.
        """
        try:
            return self.prototype.draw(self.elements, self.values).crystal(self.name)
        except (ValueError, CrystalError) as error:
            raise IndexUnavailableError(f"{self.name}: {error}") from error


def starter_entries(folder: Traversable = LIBRARY) -> Iterator[StarterEntry]:
    """Every entry of the library, in the order of the files.

    Args:
        folder: holds `citations.toml` and `families/*.toml`.

    Raises:
        IndexUnavailableError: an entry names an unknown prototype or citation, repeats a name, or lacks a number.
    """
    citations = read_citations(folder / "citations.toml")
    names: set[str] = set()
    for file in sorted((folder / "families").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            for entry in _read_family(file, citations):
                if entry.name in names:
                    raise IndexUnavailableError(f"two entries are called {entry.name}")
                names.add(entry.name)
                yield entry


def starter_crystals() -> Iterator[Crystal]:
    """The library's crystals, ids "starter/NAME", source "starter"."""
    for entry in starter_entries():
        yield entry.crystal


def _read_family(file: Traversable, citations: dict[str, Citation]) -> Iterator[StarterEntry]:
    family = file.name.removesuffix(".toml")
    for prototype, rows in read_tables(file).items():
        for name, row in rows.items():
            if not isinstance(row, dict):
                raise IndexUnavailableError(
                    f"{file.name}: {name} is no entry; write it as {{ elements = ..., a = ... }}"
                )
            yield _entry(name, family, prototype, row, citations)


def _entry(
    name: str, family: str, prototype: str, row: dict[str, object], citations: dict[str, Citation]
) -> StarterEntry:
    key = str(row.get("cite", ""))
    if key not in citations:
        raise IndexUnavailableError(f"{name}: citations.toml has no {key!r}")
    checked = row.get("checked", [])
    if not isinstance(checked, list):
        raise IndexUnavailableError(f"{name}: checked must be a list")
    return StarterEntry(
        name=name,
        family=family,
        prototype_name=prototype,
        elements=tuple(str(row.get("elements", "")).split()),
        values={label: _number(name, label, value) for label, value in row.items() if label not in _REMARKS},
        citation=citations[key],
        checked=tuple(str(part) for part in checked),
        note=str(row.get("note", "")),
    )


def _number(name: str, label: str, value: object) -> Value:
    if isinstance(value, float):
        return value
    if isinstance(value, list) and value and all(isinstance(part, float) for part in value):
        return tuple(value)
    raise IndexUnavailableError(f"{name}: {label} must be a decimal number or a list of them, not {value!r}")
