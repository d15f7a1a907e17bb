"""Conditions on the elements of a crystal, evaluated for all crystals of an index."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import MAX_ATOMIC_NUMBER, element_symbol
from model.errors import IndexUnavailableError, OptionError

Bitmap = NDArray[np.uint8]


@cache
def get_atomic_numbers() -> Mapping[str, int]:
    """Return the atomic number of each symbol, H to Cf."""
    return MappingProxyType({element_symbol(number): number for number in range(1, MAX_ATOMIC_NUMBER + 1)})


@dataclass(frozen=True)
class ElementFilter:
    """A condition on the elements of a crystal, in the terms of OPTIMADE; an empty tuple means no condition.

    Attributes:
        all: HAS ALL, all of these are present.
        only: HAS ONLY, no others are present; not all of these need be.
        any: HAS ANY, at least one of these is present.
        none: none of these is present.

    Raises:
        OptionError: a symbol is not an element, or no crystal can meet the conditions.
    """

    all: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            symbols = getattr(self, field.name)
            if isinstance(symbols, str):
                raise OptionError(
                    f"elements_{field.name} must be a list of symbols, not the text {symbols!r}."
                )
            for symbol in symbols:
                check_symbol(symbol, f"elements_{field.name}")
            object.__setattr__(self, field.name, tuple(dict.fromkeys(symbols)))
        self._check_contradictions()

    def __bool__(self) -> bool:
        return bool(self.all or self.only or self.any or self.none)

    def _check_contradictions(self) -> None:
        allowed = set(self.only or get_atomic_numbers()) - set(self.none)
        if not allowed:
            raise OptionError(
                "elements_none excludes every element that elements_only allows; change one of them."
            )
        impossible = [symbol for symbol in self.all if symbol not in allowed]
        if impossible:
            raise OptionError(
                f"elements_all requires {', '.join(impossible)}, which elements_only or elements_none excludes; change "
                "one of them."
            )
        if self.any and not allowed & set(self.any):
            raise OptionError(
                f"elements_any requires one of {', '.join(self.any)}, but elements_only or elements_none excludes them "
                "all; change one of them."
            )

    def admits(self, elements: Iterable[str]) -> bool:
        """Return whether a crystal of these elements meets the condition."""
        present = set(elements)
        return (
            present.issuperset(self.all)
            and (not self.only or present.issubset(self.only))
            and (not self.any or not present.isdisjoint(self.any))
            and present.isdisjoint(self.none)
        )


def check_symbol(symbol: object, option: str) -> None:
    """Reject a symbol that is not an element.

    Args:
        symbol: to check.
        option: its option, for the message.

    Raises:
        OptionError: it is not an element.
    """
    if isinstance(symbol, str) and symbol in get_atomic_numbers():
        return
    proper = symbol.strip().capitalize() if isinstance(symbol, str) else ""
    hint = f"; write {proper}." if proper in get_atomic_numbers() else "; give symbols from H to Cf."
    raise OptionError(f"{symbol!r} in {option} is not a chemical element{hint}")


class ElementBits:
    """One bit for each element and crystal; an index is filtered with a few operations on packed bits.

    Args:
        bits: (98, ceil(N / 8)); row Z - 1 is element Z, crystal i is bit i % 8 of byte i // 8.
        count: number N of crystals.
    """

    def __init__(self, bits: Bitmap, count: int) -> None:
        if bits.shape != (MAX_ATOMIC_NUMBER, (count + 7) // 8) or bits.dtype != np.uint8:
            raise IndexUnavailableError(
                f"The element table does not have {count} crystals; build the index again."
            )
        self.bits = bits
        self.count = count

    @classmethod
    def from_numbers(cls, numbers: Iterable[NDArray[np.integer]]) -> Self:
        """Make the table from the atomic numbers of each crystal."""
        kinds = [np.unique(each) for each in numbers]
        table = np.zeros((MAX_ATOMIC_NUMBER, len(kinds)), dtype=np.bool_)
        for row, present in enumerate(kinds):
            table[present - 1, row] = True
        return cls(np.packbits(table, axis=1, bitorder="little"), len(kinds))

    @classmethod
    def open(cls, path: Path, count: int) -> Self:
        """Map a table into memory, read-only.

        Raises:
            IndexUnavailableError: missing, damaged, or with another number of crystals.
        """
        try:
            bits = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise IndexUnavailableError(
                f"The elements in {path.name} cannot be read; build the index again."
            ) from error
        return cls(bits, count)

    def append(self, numbers: Sequence[NDArray[np.integer]]) -> "ElementBits":
        """Return a copy (12 bytes per crystal) with further crystals appended, given by their atomic numbers."""
        count = self.count + len(numbers)
        bits = np.zeros((MAX_ATOMIC_NUMBER, (count + 7) // 8), dtype=np.uint8)
        bits[:, : self.bits.shape[1]] = self.bits
        for row, present in enumerate(numbers, start=self.count):
            bits[np.unique(present) - 1, row // 8] |= np.uint8(1 << row % 8)
        return ElementBits(bits, count)

    def write(self, path: Path) -> None:
        """Write the table as a .npy file."""
        np.save(path, self.bits, allow_pickle=False)

    def select(self, condition: ElementFilter) -> Bitmap | None:
        """Return (ceil(N / 8),) packed bits, set for crystals that meet the condition; None without a condition."""
        if not condition:
            return None
        allowed = np.full(self.bits.shape[1], 0xFF, dtype=np.uint8)
        for symbol in condition.all:
            allowed &= self.bits[get_atomic_numbers()[symbol] - 1]
        if condition.any:
            allowed &= np.bitwise_or.reduce(self._get_rows(condition.any))
        forbidden = set(condition.none)
        if condition.only:
            forbidden |= get_atomic_numbers().keys() - set(condition.only)
        if forbidden:
            allowed &= ~np.bitwise_or.reduce(self._get_rows(forbidden))
        if self.count % 8:
            allowed[-1] &= (1 << self.count % 8) - 1
        return allowed

    def list_rows(self, allowed: Bitmap | None) -> NDArray[np.int64]:
        """Return the rows of the crystals that `select` allows; None allows all."""
        if allowed is None:
            return np.arange(self.count)
        return np.flatnonzero(np.unpackbits(allowed, count=self.count, bitorder="little"))

    def pack_rows(self, rows: NDArray[np.int64]) -> Bitmap:
        """Return packed bits, one per crystal, set for these rows."""
        is_set = np.zeros(self.count, dtype=np.bool_)
        is_set[rows] = True
        return np.packbits(is_set, bitorder="little")

    def _get_rows(self, symbols: Iterable[str]) -> Bitmap:
        rows: Bitmap = self.bits[[get_atomic_numbers()[symbol] - 1 for symbol in symbols]]
        return rows
