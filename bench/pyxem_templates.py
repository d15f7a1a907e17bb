"""pyxem's half of `bench/template_matching.py`, run by a Python that has pyxem: images in, the best templates out.

ENV/bin/python bench/pyxem_templates.py GIVEN.npz ANSWERED.json
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from pyxem.signals import ElectronDiffraction2D
from pyxem.utils.indexation_utils import index_dataset_with_template_rotation

BEST = 420
# Of all templates, and of the share that its quick comparison of radial profiles leaves.
SETTINGS = {"every template": 1.0, "fastest (2 % by radial profile)": 0.02}
GAMMA = 0.4


@dataclass(frozen=True)
class Template:
    """What pyxem reads of a simulated pattern: positions in pixels from the middle, and intensities."""

    calibrated_coordinates: np.ndarray[Any, Any]
    intensities: np.ndarray[Any, Any]


def main(given: Path, answered: Path) -> None:
    data = np.load(given)
    ends = np.cumsum(data["counts"])[:-1]
    parts = zip(np.split(data["positions"], ends), np.split(data["intensities"], ends), strict=True)
    library = {
        "all": {
            "simulations": [Template(position, intensity) for position, intensity in parts],
            "orientations": np.zeros((len(data["counts"]), 3)),
        }
    }
    answers = {}
    for name, share in SETTINGS.items():
        _match(data["images"][:1], library, share)  # compiled by Numba at its first call
        spent = [perf_counter()]
        for images in (data["images"][:1], data["images"]):
            found = _match(images, library, share)
            spent.append(perf_counter())
        # Reading the templates in is the same for one image and for many, and no part of a query.
        queries = (spent[2] - spent[1]) - (spent[1] - spent[0])
        answers[name] = {
            "best": found["template_index"][0].tolist(),
            "ms": 1e3 * queries / max(len(data["images"]) - 1, 1),
        }
    answered.write_text(json.dumps(answers))


def _match(images: np.ndarray[Any, Any], library: dict[str, Any], share: float) -> dict[str, Any]:
    found, _ = index_dataset_with_template_rotation(
        ElectronDiffraction2D(images[None]),  # a scan of one row: series fail in pyxem 0.21
        library,
        n_best=BEST,
        frac_keep=share,
        intensity_transform_function=lambda intensity: intensity**GAMMA,
        normalize_images=True,
        chunks=(1, 1, None, None),
        parallel_workers=2,
        precision=np.float32,
    )
    return dict(found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
