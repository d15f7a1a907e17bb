"""Structures of uploads, which are parsed in a process with limits of time and memory."""

from collections.abc import Sequence
from typing import Self

import msgspec
import numpy as np

from model.crystal.crystal import Crystal
from model.reader_process import ReaderProcess

CPU_S = 6.0
MAX_MEMORY_BYTES = 2**29
_FAILURE = (
    "A structure is damaged, in an unusual format, or takes too much time or memory to read; send a CIF or POSCAR that "
    "lists the atoms of one cell."
)


class StructureText(msgspec.Struct, frozen=True):
    """The text of a CIF or POSCAR, and a name for the crystal in it."""

    text: str
    name: str


class CrystalArrays(msgspec.Struct, frozen=True):
    """The arrays of a crystal as bytes, to pass from one process to another."""

    lattice: bytes
    numbers: bytes
    positions: bytes

    @classmethod
    def from_crystal(cls, crystal: Crystal) -> Self:
        """Return the arrays of a crystal."""
        return cls(crystal.lattice.tobytes(), crystal.numbers.tobytes(), crystal.positions.tobytes())

    def make_crystal(self, id: str, source: str) -> Crystal:
        """Return a crystal with these arrays."""
        lattice, positions = np.frombuffer(self.lattice), np.frombuffer(self.positions)
        numbers = np.frombuffer(self.numbers, np.int64)
        return Crystal(id, source, lattice.reshape(2, 2), numbers, positions.reshape(-1, 3))


_process = ReaderProcess("model.crystal.structure_parser:parse_upload", _FAILURE, CPU_S, MAX_MEMORY_BYTES)


def read_uploaded_structures(texts: Sequence[StructureText], source: str) -> list[Crystal]:
    """Return the crystal of each text; its id is the name.

    Args:
        texts: the uploads.
        source: of the crystals.

    Raises:
        DomainError: as `read_structure`, for the first text that cannot be used; the message begins with its name.
        UnreadableError: reading crashes, or exceeds a limit.
    """
    reply = _process.read([msgspec.msgpack.encode(list(texts))])
    crystals = msgspec.msgpack.decode(reply, type=list[CrystalArrays])
    return [arrays.make_crystal(text.name, source) for text, arrays in zip(texts, crystals, strict=True)]


def start_reading() -> None:
    """Start the process that reads structures, so that the first upload does not wait for its imports."""
    _process.start()
