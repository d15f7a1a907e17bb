"""The starter library: two-dimensional crystals that have been synthesized, each with its literature citation.

It contains single layers, few-layer stacks, and the layers of crystals that cleave. An entry states which of its
numbers, and whether its citation, were compared with a printed source (`StarterEntry.unchecked`); the others are from
memory.
"""
