"""Measure how far the canary's similarities differ between single and half precision.

    python -m bench.canary indexes/starter

Prints the largest deviation from the similarities stored in the manifest, as JSON. An index accepts
`index.storage.canary.MAX_DEVIATION`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from index.search.retriever import Retriever
from index.storage.canary import CANARY_VOLTAGE_KV, MAX_DEVIATION, make_canary_spots
from model.towers.checkpoint import load_towers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    towers = load_towers()
    with Retriever.open(parser.parse_args().index, towers) as retriever:
        candidates = retriever.manifest.canary
        rows = np.array([retriever.components.base.find_row(candidate.id) for candidate in candidates])
        crystals = retriever.components.vectors.read_rows(rows)
    stored = np.array([candidate.similarity for candidate in candidates])
    deviations = {"float32": _embed(torch.float32), "bfloat16": _embed(torch.bfloat16)}
    print(
        json.dumps(
            {
                "accepted": MAX_DEVIATION,
                **{
                    name: float(np.abs(crystals @ vector - stored).max())
                    for name, vector in deviations.items()
                },
            },
            indent=1,
        )
    )


def _embed(precision: torch.dtype) -> np.ndarray:
    """Return the (D,) vector of the canary, computed in a precision."""
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        (vector,) = load_towers().embed_spots([make_canary_spots()], [CANARY_VOLTAGE_KV])
    return np.asarray(vector)


if __name__ == "__main__":
    main()
