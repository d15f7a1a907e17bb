"""The starter library: entries from `families/*.toml` with the works that they cite, both strictly validated."""

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
# Keys of an entry beside its parameters.
_REMARKS = frozenset({"elements", "cite", "checked", "note"})
CHECKABLE = ("lattice", "coordinates")


@dataclass(frozen=True)
class StarterEntry:
    """One crystal of the library.

    Attributes:
        name: unique, such as "MoS2-1H".
        family: name of its file.
        prototype_name: its key in `PROTOTYPES`.
        elements: symbols in the order of the prototype's roles.
        values: the prototype's parameters.
        citation: the work that describes the crystal, or its measured structure.
        checked: those of `CHECKABLE` that agree with a printed source within half a percent.
        note: a remark for users.
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
                f"{self.name}: {self.prototype_name} takes the elements {prototype.roles}."
            )
        missing = prototype.parameters - set(self.values)
        unknown = set(self.values) - prototype.parameters
        if missing or unknown:
            raise IndexUnavailableError(
                f"{self.name}: {self.prototype_name} takes {sorted(prototype.parameters)}; "
                f"missing {sorted(missing)}, unknown {sorted(unknown)}."
            )
        if not set(self.checked) <= set(CHECKABLE):
            raise IndexUnavailableError(f"{self.name}: checked may contain {CHECKABLE}, not {self.checked}.")

    @property
    def prototype(self) -> Prototype:
        """The prototype.

        Raises:
            IndexUnavailableError: there is none of this name.
        """
        try:
            return PROTOTYPES[self.prototype_name]
        except KeyError:
            raise IndexUnavailableError(
                f"{self.name}: there is no prototype {self.prototype_name!r}."
            ) from None

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Which of "lattice", "coordinates" and "citation" have not been compared with the publication."""
        unchecked = tuple(item for item in CHECKABLE if item not in self.checked)
        return unchecked if self.citation.checked else (*unchecked, "citation")

    @property
    def reference(self) -> str:
        """The citation, and what has not been compared with the publication."""
        return (
            f"{self.citation} (not checked: {', '.join(self.unchecked)})"
            if self.unchecked
            else str(self.citation)
        )

    @cached_property
    def crystal(self) -> Crystal:
        """The layer; IndexUnavailableError if the parameters make no possible crystal."""
        try:
            return self.prototype.make_cell(self.elements, self.values).make_crystal(self.name)
        except (ValueError, CrystalError) as error:
            raise IndexUnavailableError(f"{self.name}: {error}") from error


def read_starter_entries(folder: Traversable = LIBRARY) -> Iterator[StarterEntry]:
    """Yield all entries of the library, in the order of the files.

    Args:
        folder: contains `citations.toml` and `families/*.toml`.

    Raises:
        IndexUnavailableError: an entry names an unknown prototype or citation, repeats a name, or lacks a number.
    """
    citations = read_citations(folder / "citations.toml")
    names: set[str] = set()
    for file in sorted((folder / "families").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            for entry in _read_family(file, citations):
                if entry.name in names:
                    raise IndexUnavailableError(f"Two entries have the name {entry.name}.")
                names.add(entry.name)
                yield entry


def _read_family(file: Traversable, citations: dict[str, Citation]) -> Iterator[StarterEntry]:
    family = file.name.removesuffix(".toml")
    for prototype, rows in read_tables(file).items():
        for name, row in rows.items():
            if not isinstance(row, dict):
                raise IndexUnavailableError(
                    f"{file.name}: {name} is not an entry; write it as {{ elements = ..., a = ... }}."
                )
            yield _make_entry(name, family, prototype, row, citations)


def _make_entry(
    name: str, family: str, prototype: str, row: dict[str, object], citations: dict[str, Citation]
) -> StarterEntry:
    key = str(row.get("cite", ""))
    if key not in citations:
        raise IndexUnavailableError(f"{name}: citations.toml has no {key!r}.")
    checked = row.get("checked", [])
    if not isinstance(checked, list):
        raise IndexUnavailableError(f"{name}: checked must be a list.")
    return StarterEntry(
        name=name,
        family=family,
        prototype_name=prototype,
        elements=tuple(str(row.get("elements", "")).split()),
        values={
            label: _check_value(name, label, value) for label, value in row.items() if label not in _REMARKS
        },
        citation=citations[key],
        checked=tuple(str(item) for item in checked),
        note=str(row.get("note", "")),
    )


def _check_value(name: str, label: str, value: object) -> Value:
    if isinstance(value, float):
        return value
    if isinstance(value, list) and value and all(isinstance(item, float) for item in value):
        return tuple(value)
    raise IndexUnavailableError(f"{name}: {label} must be a decimal number or a list of them, not {value!r}.")
