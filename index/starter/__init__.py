"""Two-dimensional crystals that people have made, written from the literature, each with its citation.

Single layers, few-layer stacks, and the layers of crystals that cleave. An entry says which of its numbers and
whether its citation were compared with a printed source (`StarterEntry.unchecked`); what was not is from memory.
"""
