"""Databases of crystals, a file a format."""

from index.sources.recognition import STARTER, check_source, open_source, source_records
from index.sources.record import CellRecord, CrystalRecord, Record, Rejected, TextRecord, crystal_of

__all__ = [
    "STARTER",
    "CellRecord",
    "CrystalRecord",
    "Record",
    "Rejected",
    "TextRecord",
    "check_source",
    "crystal_of",
    "open_source",
    "source_records",
]
