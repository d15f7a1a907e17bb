"""The part of `bench/template_matching.py` that runs in an environment with pyxem: finds the best templates of images.

ENV/bin/python bench/pyxem_templates.py INPUT.npz OUTPUT.json
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
# Share of the templates that remains after the comparison of radial profiles.
SETTINGS = {"every template": 1.0, "fastest (2 % by radial profile)": 0.02}
GAMMA = 0.4
# Templates are matched in parts, because pyxem's memory grows with their number.
PART_TEMPLATES = 20_000


@dataclass(frozen=True)
class Template:
    """The attributes of a simulated pattern that pyxem reads: positions in pixels from the middle, and intensities."""

    calibrated_coordinates: Array
    intensities: Array


def main(input_file: Path, output_file: Path) -> None:
    data = np.load(input_file)
    ends = np.cumsum(data["counts"])[:-1]
    pairs = zip(np.split(data["positions"], ends), np.split(data["intensities"], ends), strict=True)
    templates = [Template(position, intensity) for position, intensity in pairs]
    answers = {}
    for name, share in SETTINGS.items():
        _match(data["images"][:1], templates[:PART_TEMPLATES], share)  # the first call compiles
        spent = [perf_counter()]
        for images in (data["images"][:1], data["images"]):
            best = _best(images, templates, share)
            spent.append(perf_counter())
        # Reading the templates takes the same time for one image and for many, and is not part of a query.
        queries = (spent[2] - spent[1]) - (spent[1] - spent[0])
        answers[name] = {"best": best.tolist(), "ms": 1e3 * queries / max(len(data["images"]) - 1, 1)}
    output_file.write_text(json.dumps(answers))


def _best(images: Array, templates: list[Template], share: float) -> Array:
    """Return (I, BEST) the indices of the templates most similar to each image, the best first."""
    places, likeness = [], []
    for first in range(0, len(templates), PART_TEMPLATES):
        found = _match(images, templates[first : first + PART_TEMPLATES], share)
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
