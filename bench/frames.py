"""Prints, as a table and as JSON, how well frames are turned into spots, defect by defect.

    python bench/frames.py INDEX [--frames 40] [--seed 0] [--kinds NAME ...]

Frames of 1024 pixels are rendered from multislice patterns (`bench/queries.py`) of held-out crystals of 2DMatPedia,
with what cameras do to them. Told are: the error of the centre; of the spots five sigma above the noise (of a matched
filter) recall, precision and position error; how often the crystal is found (`effort=verify`, scale known to 1.3 %,
elements known and blind); and the time from the file's bytes to the spots, and of a whole blind request. A found spot
counts as true if any computed beam above two sigma lies within a spot's width of it.
"""

import argparse
import io
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from math import pi
from pathlib import Path
from time import perf_counter

import numpy as np
import scipy.ndimage
import tifffile
from accuracy import held_out_entries  # type: ignore[import-not-found]
from numpy.typing import NDArray
from PIL import Image
from queries import VOLTAGE_KV, Instrument, pattern_of  # type: ignore[import-not-found]
from tqdm import tqdm

from index.build import CATALOGUE_NAME
from index.catalogue import Catalogue, Entry
from index.elements import ElementFilter
from index.publishing import version_folder
from index.retrieve import Retriever
from model.errors import DomainError
from model.pattern import PatternOptions, Spots, read_pattern
from model.towers import load_towers
from model.towers.threads import use_threads

SIDE, Q_MAX = 1024, 1.55
DETECTED, CERTAIN = 2.0, 5.0
NEAR_CENTRE_PX = 1.5
Array = NDArray[np.float64]


@dataclass
class Scene:
    """A frame on its way.

    Attributes:
        image: (S, S) expected counts.
        q: (N, 2) beams, in pixels from the centre.
        level: (N,) their heights, counts.
        centre: (2,) x, y.
        width: Gaussian deviation of a spot, pixels.
        rng: of this frame.
        hidden: (S, S) where nothing is seen.
        radius: of discs in pixels; 0 for points.
    """

    image: Array
    q: Array
    level: Array
    centre: Array
    width: float
    rng: np.random.Generator
    hidden: NDArray[np.bool_]
    radius: float = 0.0

    def distance(self) -> Array:
        """(S, S) from the centre, pixels."""
        y, x = np.mgrid[:SIDE, :SIDE]
        return np.asarray(np.hypot(x - self.centre[0], y - self.centre[1]))

    def draw(self, q: Array, level: Array) -> None:
        """Add spots."""
        reach = int(6 * self.width + self.radius) + 2
        for (dx, dy), height in zip(q, level, strict=True):
            x, y = self.centre[0] + dx, self.centre[1] + dy
            columns = slice(max(0, int(x) - reach), min(SIDE, int(x) + reach + 1))
            rows = slice(max(0, int(y) - reach), min(SIDE, int(y) + reach + 1))
            if columns.start >= columns.stop or rows.start >= rows.stop:
                continue
            yy, xx = np.mgrid[rows, columns]
            away = np.hypot(xx - x, yy - y)
            if self.radius:
                self.image[rows, columns] += height / (1 + np.exp((away - self.radius) / 0.7))
            else:
                self.image[rows, columns] += height * np.exp(-(away**2) / (2 * self.width**2))


Defect = Callable[[Scene], None]
Encoding = Callable[[NDArray[np.uint16]], bytes]


def _beam_stop(scene: Scene) -> None:
    distance, turn = scene.distance(), scene.rng.uniform(0, 2 * pi)
    y, x = np.mgrid[:SIDE, :SIDE] - scene.centre[::-1, None, None]
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    disc = scene.rng.uniform(0.02, 0.04) * SIDE
    scene.hidden |= (distance < disc) | ((along > 0) & (np.abs(across) < disc / 2))
    scene.image[scene.hidden] = 2.0


def _gradient(scene: Scene) -> None:
    scene.image += 30 * np.linspace(0, 1, SIDE)[:, None]
    scene.image *= np.linspace(0.8, 1.2, SIDE)


def _hot_pixels(scene: Scene) -> None:
    rows, columns = scene.rng.integers(0, SIDE, (2, 60))
    scene.image[rows, columns] += scene.rng.uniform(200, 20_000, 60)


def _blooming(scene: Scene) -> None:
    scene.image *= 8
    scene.level *= 8
    full = scene.image > 60_000
    for column in np.flatnonzero(full.any(axis=0)):
        spilt = np.clip(scene.image[:, column] - 60_000, 0, None).sum() / 60_000
        middle = int(np.flatnonzero(full[:, column]).mean())
        reach = int(min(spilt / 2 + 2, 60))
        scene.image[max(0, middle - reach) : middle + reach, column] = 60_001


def _discs(scene: Scene) -> None:
    scene.image[:] = 0
    scene.radius = 6.0
    scene.draw(scene.q, scene.level)
    scene.draw(np.zeros((1, 2)), np.array([30_000.0]))
    scene.image += 20


def _carbon(scene: Scene) -> None:
    q = scene.distance() * Q_MAX / (SIDE / 2)
    for middle, width, height in ((0.28, 0.05, 20.0), (0.48, 0.06, 60.0), (0.86, 0.09, 30.0)):
        scene.image += height * np.exp(-((q - middle) ** 2) / (2 * width**2))


def _gold(scene: Scene) -> None:
    q = scene.distance() * Q_MAX / (SIDE / 2)
    for squared, height in ((3, 40.0), (4, 20.0), (8, 15.0), (11, 15.0), (12, 6.0)):
        scene.image += height * np.exp(-((q - np.sqrt(squared) / 4.078) ** 2) / (2 * 0.006**2))


def _second_flake(scene: Scene) -> None:
    turn = scene.rng.uniform(0.15, 0.4)
    turned = scene.q @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    scene.draw(turned, 0.2 * scene.level)
    scene.q, scene.level = np.concatenate([scene.q, turned]), np.concatenate([scene.level, 0.2 * scene.level])


def _tiff(counts: NDArray[np.uint16]) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, counts)
    return buffer.getvalue()


def _clipped(counts: NDArray[np.uint16]) -> NDArray[np.uint8]:
    clipped: NDArray[np.uint8] = np.clip(counts / np.percentile(counts, 99.9) * 255, 0, 255).astype(np.uint8)
    return clipped


def _picture(kind: str, **options: int) -> Encoding:
    def encode(counts: NDArray[np.uint16]) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(_clipped(counts)).save(buffer, format=kind, **options)
        return buffer.getvalue()

    return encode


@dataclass(frozen=True)
class Kind:
    """A kind of frame: what is done to the scene, how the file is written, where the centre lies."""

    defects: tuple[Defect, ...] = ()
    encode: Encoding = _tiff
    off_centre: float = 0.01
    ellipticity: float = 0.003


KINDS = {
    "plain": Kind(),
    "beam stop": Kind((_beam_stop,)),
    "5 % off centre": Kind(off_centre=0.05),
    "gradients": Kind((_gradient,)),
    "hot pixels": Kind((_hot_pixels,)),
    "saturation and blooming": Kind((_blooming,)),
    "8 bits, clipped (PNG)": Kind(encode=_picture("PNG")),
    "JPEG": Kind(encode=_picture("JPEG", quality=85)),
    "discs": Kind((_discs,)),
    "2 % elliptic": Kind(ellipticity=0.01),
    "carbon film": Kind((_carbon,)),
    "gold rings": Kind((_gold,)),
    "second flake": Kind((_second_flake,)),
}


@dataclass(frozen=True)
class Told:
    """What became of one frame; None where it was refused."""

    centre: float | None
    found: int
    wanted: int
    true: int
    reported: int
    positions: tuple[float, ...]
    blind: bool
    with_elements: bool
    read_s: float
    whole_s: float


def main() -> None:
    options = _options()
    use_threads(1)
    with closing(Catalogue.open(version_folder(options.index) / CATALOGUE_NAME)) as catalogue:
        entries = held_out_entries(catalogue)
    rows = []
    with Retriever.open(options.index, load_towers()) as retriever:
        for name in options.kinds:
            rng = np.random.default_rng(options.seed)  # the same crystals for each kind
            told = [
                _asked(
                    retriever, entries[int(rng.integers(len(entries)))], KINDS[name], int(rng.integers(2**32))
                )
                for _ in tqdm(range(options.frames), desc=name)
            ]
            rows.append({"kind": name, **_summary(told)})
    print(
        "| frames | refused | centre ≤ 1.5 px | recall | precision | position px | blind | elements | read ms | "
        "whole ms |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    print(json.dumps({"rows": rows, "frames": options.frames, "seed": options.seed}))


def _summary(told: list[Told]) -> dict[str, float]:
    seen = [each for each in told if each.centre is not None]
    positions = [each for one in seen for each in one.positions]

    def share(good: int, all_: int) -> float:
        return round(100 * good / max(all_, 1), 1)

    return {
        "refused": len(told) - len(seen),
        "centre": share(
            sum(each.centre is not None and each.centre <= NEAR_CENTRE_PX for each in told), len(told)
        ),
        "recall": share(sum(each.found for each in told), sum(each.wanted for each in told)),
        "precision": share(sum(each.true for each in seen), sum(each.reported for each in seen)),
        "position": round(float(np.median(positions)) if positions else float("nan"), 3),
        "blind": share(sum(each.blind for each in told), len(told)),
        "elements": share(sum(each.with_elements for each in told), len(told)),
        "read_ms": round(1e3 * float(np.median([each.read_s for each in told])), 1),
        "whole_ms": round(1e3 * float(np.median([each.whole_s for each in told])), 1),
    }


def _asked(retriever: Retriever, truth: Entry, kind: Kind, seed: int) -> Told:
    scene, pixel_size = _scene(truth, kind, seed)
    for defect in kind.defects:
        defect(scene)
    noisy = scene.rng.poisson(np.clip(scene.image, 0, 1e6)) + scene.rng.normal(20, 2, scene.image.shape)
    data = kind.encode(np.clip(noisy, 0, 60_000).astype(np.uint16))
    wanted, likely = _visible(scene)
    begun = perf_counter()
    try:
        spots = read_pattern(data, "frame", PatternOptions(pixel_size_inv_angstrom=pixel_size))
    except DomainError:
        spent = perf_counter() - begun
        return Told(None, 0, len(wanted), 0, 0, (), False, False, spent, spent)
    read = perf_counter()
    blind = _is_first(retriever, spots, truth, None)
    whole = perf_counter()
    known = frozenset(truth.elements)
    elements = _is_first(retriever, spots, truth, ElementFilter(all=tuple(known), only=tuple(known)))
    assert spots.pixels is not None
    assert spots.center_px is not None
    reach = max(3.0, 2 * scene.width)
    off = (
        np.linalg.norm(spots.pixels[:, None] - wanted, axis=2)
        if len(wanted)
        else np.full((len(spots), 1), np.inf)
    )
    nearest = off.min(axis=0) if len(wanted) else np.empty(0)
    true = (np.linalg.norm(spots.pixels[:, None] - likely, axis=2) < reach).any(axis=1)
    return Told(
        centre=float(np.hypot(*(np.array(spots.center_px) - scene.centre))),
        found=int((nearest < reach).sum()),
        wanted=len(wanted),
        true=int(true.sum()),
        reported=len(spots),
        positions=tuple(nearest[nearest < reach].tolist()),
        blind=blind,
        with_elements=elements,
        read_s=read - begun,
        whole_s=whole - begun,
    )


def _scene(truth: Entry, kind: Kind, seed: int) -> tuple[Scene, float]:
    """The scene and what the user believes a pixel to be, 1/angstrom."""
    rng = np.random.default_rng(seed)
    perfect = Instrument(
        intensity_noise=(0.1, 0.1),
        scale_sigma=0.013,
        ellipticity_sigma=0.0,
        position_noise=0.0,
        q_max=(Q_MAX, Q_MAX),
        range_decades=(4.0, 4.0),
        lost=0.0,
        false_spots=0,
    )
    spots = pattern_of(truth.crystal, perfect, rng)
    assert spots.intensity is not None
    pixel_size = 2 * Q_MAX / SIDE
    stretch = np.array([1 + kind.ellipticity, 1 - kind.ellipticity])
    centre = SIDE / 2 + rng.uniform(-kind.off_centre, kind.off_centre, 2) * SIDE
    level = spots.intensity / spots.intensity.max() * 10 ** rng.uniform(3.3, 4.3)
    q = spots.q_inv_angstrom / pixel_size * stretch
    blank = np.zeros((SIDE, SIDE), dtype=bool)
    scene = Scene(np.full((SIDE, SIDE), 3.0), q, level, centre, rng.uniform(1.6, 3.2), rng, blank)
    scene.draw(q, level)
    distance = scene.distance()
    scene.image += rng.uniform(40, 200) / (1 + (distance / rng.uniform(30, 90)) ** 2) ** 1.3
    scene.image += 3e5 * np.exp(-(distance**2) / (2 * (1.4 * scene.width) ** 2))
    scene.image += 300 / (1 + (distance / scene.width / 3) ** 2) ** 1.5
    return scene, pixel_size


def _visible(scene: Scene) -> tuple[Array, Array]:
    """Pixels of the spots five and two sigma above their ground's noise, those under a beam stop left out."""
    at = scene.centre + scene.q
    inside = ((at > 3) & (at < SIDE - 4)).all(axis=1)
    at, level = at[inside], scene.level[inside]
    columns, rows = np.rint(at).astype(int).T
    hidden = scipy.ndimage.binary_dilation(scene.hidden, iterations=int(3 * scene.width))[rows, columns]
    ground = np.sqrt(np.maximum(scene.image[rows, columns] - level, 1.0) + 4.0)
    area = pi * max(scene.radius, scene.width) ** 2
    strength = level * np.sqrt(area) / ground
    apart = np.hypot(*scene.q[inside].T) > 12 * scene.width
    usable = ~hidden & apart
    return at[usable & (strength > CERTAIN)], at[strength > DETECTED]


def _is_first(retriever: Retriever, spots: Spots, truth: Entry, elements: ElementFilter | None) -> bool:
    hits = retriever.search(spots, voltage_kv=VOLTAGE_KV, elements=elements, top_k=10, effort="verify").hits
    return bool(hits) and truth.id in (hits[0].entry.id, *hits[0].also)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
