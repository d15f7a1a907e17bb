"""Two-dimensional crystals that people have made, written from the literature, each with its citation.

Single layers, few-layer stacks, and the layers of crystals that cleave. An entry says which of its numbers and
whether its citation were compared with a printed source (`StarterEntry.unchecked`); what was not is from memory.
"""

from index.starter.cell import CELL_SIGMA, SOURCE
from index.starter.library import StarterEntry, starter_crystals, starter_entries

__all__ = ["CELL_SIGMA", "SOURCE", "StarterEntry", "starter_crystals", "starter_entries"]
