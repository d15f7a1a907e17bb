"""What the process that `uploaded_structures` starts does with an upload; only that process imports this module."""

import msgspec
import pymatgen.io.vasp.inputs  # noqa: F401  imported by the template, so that no upload waits for it

from model.crystal.bounded_cif import BoundedCifParser  # noqa: F401  for the same reason
from model.crystal.crystal import Crystal
from model.crystal.structure_files import read_structure
from model.crystal.uploaded_structures import CrystalArrays, StructureText
from model.errors import DomainError
from model.reader_process import Buffer

# One atom in a flat square cell.
_SMALLEST_CIF = """data_x
_cell_length_a 2
_cell_length_b 2
_cell_length_c 20
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
C 0 0 0
"""


def parse_upload(upload: bytearray) -> list[Buffer]:
    """Read structures, as `read_uploaded_structures` encodes them.

    Raises:
        DomainError: as there.
    """
    texts = msgspec.msgpack.decode(upload, type=list[StructureText])
    return [msgspec.msgpack.encode([CrystalArrays.from_crystal(_read(each)) for each in texts])]


def _read(text: StructureText) -> Crystal:
    try:
        return read_structure(text.text, id=text.name, source="upload", bounded=True)
    except DomainError as error:
        raise type(error)(f"{text.name}: {error}") from error


# pymatgen reads its tables with the first structure; the processes that are forked later inherit them.
_read(StructureText(_SMALLEST_CIF, "smallest"))
