"""Crystals of the library."""

from pydantic import Field

from app.presentation.schemas.schema import Schema


class UnitCell(Schema):
    """A unit cell: lengths in angstrom, angles in degrees. c is along the layer normal and includes vacuum."""

    a: float
    b: float
    c: float
    alpha: float
    beta: float
    gamma: float


class Structure(Schema):
    """A crystal of the library."""

    id: str
    source: str = Field(description="Name of the database.")
    license: str | None = Field(description="License of the entry.")
    reference: str | None = Field(
        description="The publication that describes the crystal. For the starter library, this also states what was "
        "not verified."
    )
    formula: str
    elements: list[str]
    layer_group: int = Field(description="Number of the layer group, 1 to 80.")
    layer_group_symbol: str
    space_group: int = Field(description="Number of the space group of the layer repeated along c, 1 to 230.")
    space_group_symbol: str
    lattice: UnitCell
    cif: str = Field(description="The structure as CIF.")


class UserStructureSchema(Structure):
    """A structure added to the library by a user."""

    same_as: list[str] = Field(
        description="Ids of the other entries of the library that are the same crystal."
    )
