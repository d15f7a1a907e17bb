"""CIF and POSCAR files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from index.sources.record import Record, TextRecord, encode_text
from index.sources.source_file import SourceFile

MAX_STRUCTURE_BYTES = 16 * 2**20

_DATA_BLOCK = re.compile(r"data_(\S*)", re.IGNORECASE)
_CELL = re.compile(r"\s*_cell[_.]length_a\b", re.IGNORECASE)


def read_structure_text(text: str, file: SourceFile) -> Iterator[Record]:
    """Yield the structures in the text of a CIF, which may have several data blocks, or of a POSCAR."""
    blocks = [block for block in _split_data_blocks(text) if block.has_cell]
    if len(blocks) < 2:
        yield TextRecord(encode_text(file.stem), file.source, "".join(blocks[0].lines) if blocks else text)
        return
    for block in blocks:
        yield TextRecord(encode_text(f"{file.stem}#{block.name}"), file.source, "".join(block.lines))


@dataclass
class _DataBlock:
    """A data block of a CIF, and whether it states a cell."""

    name: str
    lines: list[str] = field(default_factory=list)
    has_cell: bool = False


def _split_data_blocks(text: str) -> list[_DataBlock]:
    """Return the data blocks of a CIF; the content of text fields (between lines that begin with `;`) is no CIF."""
    blocks: list[_DataBlock] = []
    in_text_field = False
    for line in text.splitlines(keepends=True):
        in_text_field ^= line.startswith(";")
        heading = None if in_text_field else _DATA_BLOCK.match(line)
        if heading:
            blocks.append(_DataBlock(heading.group(1)))
        if blocks:
            blocks[-1].lines.append(line)
            blocks[-1].has_cell |= not in_text_field and bool(_CELL.match(line))
    return blocks
