"""pyxem's half of `bench/template_matching.py`, run by a Python that has pyxem: images in, the best templates out.

ENV/bin/python -m bench.pyxem_templates GIVEN.npz ANSWERED.json
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

Array = np.ndarray[Any, Any]

BEST = 420
# Of all templates, and of the share that its quick comparison of radial profiles leaves.
SETTINGS = {"every template": 1.0, "fastest (2 % by radial profile)": 0.02}
GAMMA = 0.4
# So many templates are matched at once, and the best of all parts kept: pyxem's memory grows with them.
TEMPLATES_OF_A_PART = 20_000


@dataclass(frozen=True)
class Template:
    """What pyxem reads of a simulated pattern: positions in pixels from the middle, and intensities."""

    calibrated_coordinates: Array
    intensities: Array


def main(given: Path, answered: Path) -> None:
    data = np.load(given)
    ends = np.cumsum(data["counts"])[:-1]
    pairs = zip(np.split(data["positions"], ends), np.split(data["intensities"], ends), strict=True)
    templates = [Template(position, intensity) for position, intensity in pairs]
    answers = {}
    for name, share in SETTINGS.items():
        _match(data["images"][:1], templates[:TEMPLATES_OF_A_PART], share)  # Numba compiles at its first call
        spent = [perf_counter()]
        for images in (data["images"][:1], data["images"]):
            best = _best(images, templates, share)
            spent.append(perf_counter())
        # Reading the templates in is the same for one image and for many, and no part of a query.
        queries = (spent[2] - spent[1]) - (spent[1] - spent[0])
        answers[name] = {"best": best.tolist(), "ms": 1e3 * queries / max(len(data["images"]) - 1, 1)}
    answered.write_text(json.dumps(answers))


def _best(images: Array, templates: list[Template], share: float) -> Array:
    """(I, BEST) which templates are most like each of the images, the best first."""
    places, likeness = [], []
    for first in range(0, len(templates), TEMPLATES_OF_A_PART):
        found = _match(images, templates[first : first + TEMPLATES_OF_A_PART], share)
        places.append(found["template_index"][0] + first)
        likeness.append(found["correlation"][0])
    order = np.argsort(-np.concatenate(likeness, axis=1), axis=1, kind="stable")[:, :BEST]
    return np.asarray(np.take_along_axis(np.concatenate(places, axis=1), order, axis=1))


def _match(images: Array, templates: list[Template], share: float) -> dict[str, Any]:
    library = {"all": {"simulations": templates, "orientations": np.zeros((len(templates), 3))}}
    found, _ = index_dataset_with_template_rotation(
        ElectronDiffraction2D(images[None]),  # a scan of one row: series fail in pyxem 0.21
        library,
        n_best=min(BEST, len(templates)),
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
