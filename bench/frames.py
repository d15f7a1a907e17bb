"""Prints, as a table and as JSON, how well frames are turned into spots, defect by defect.

    python -m bench.frames INDEX [--frames 40] [--seed 0] [--kinds NAME ...] [--part test] [--large 4096]

Frames (`bench/scenes.py`) are of held-out crystals of 2DMatPedia; what is tuned is tuned on `--part validation`. Told
are: the error of the centre; of the spots five sigma above the noise recall, precision and position error; how often
the crystal is found (`effort=verify`, scale known to 1.3 %, elements known and blind); and the time from the file's
bytes to the spots, and of a whole blind request; its median over the frames of all kinds that show the direct beam's
place too. Then, of one frame of `--large` pixels a side, the time of a whole
blind request and by how many times the file's size memory grows during it, in a process of its own.
"""

import argparse
import json
import multiprocessing
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from tqdm import tqdm

from bench.accuracy import held_out_entries
from bench.queries import VOLTAGE_KV
from bench.scenes import KINDS, Kind, Rendered, rendered
from index.chemistry.elements import ElementFilter
from index.search.retriever import Retriever
from index.storage.catalog import Catalog, Entry
from index.storage.layout import CATALOG_NAME
from index.storage.versions import find_version_folder
from model.errors import DomainError
from model.pattern.options import PatternOptions
from model.pattern.read import read_pattern
from model.pattern.spots import Spots
from model.towers.checkpoint import load_towers
from model.towers.workers import limit_threads
from model.training.split import SplitPart

NEAR_CENTRE_PX = 1.5
OFF_FRAME = "beam off the frame"
COLUMNS = (
    "| frames | refused | centre ≤ 1.5 px | recall | precision | position px | blind | elements | read ms | "
    "whole ms |"
)


@dataclass(frozen=True)
class Found:
    """Spots against the truth; the centre None where the frame was refused."""

    centre: float | None
    found: int
    wanted: int
    true: int = 0
    reported: int = 0
    positions: tuple[float, ...] = ()


@dataclass(frozen=True)
class Told:
    """What became of one frame."""

    spots: Found
    blind: bool
    with_elements: bool
    read_s: float
    whole_s: float


def main() -> None:
    options = _options()
    limit_threads(1)
    with closing(Catalog.open(find_version_folder(options.index) / CATALOG_NAME)) as catalog:
        entries = held_out_entries(catalog, SplitPart(options.part))
    rows, on_frame = [], []
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
            if not name.startswith(OFF_FRAME):
                on_frame += told
    print(COLUMNS)
    print("|" + "---|" * (COLUMNS.count("|") - 1))
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    if on_frame:
        print(
            f"all but {OFF_FRAME}: {1e3 * np.median([each.whole_s for each in on_frame]):.0f} ms a whole request"
        )
    large = _large(options.index, entries[0], options.large, options.seed) if options.large else None
    if large is not None:
        print(
            f"{options.large} x {options.large}: {large['whole_ms']:.0f} ms, memory grew by {large['memory']:.1f} files"
        )
    print(json.dumps({"rows": rows, "large": large, "frames": options.frames, "seed": options.seed}))


def _summary(told: list[Told]) -> dict[str, float]:
    spots = [each.spots for each in told]
    seen = [each for each in spots if each.centre is not None]
    positions = [each for one in seen for each in one.positions]

    def share(good: int, all_: int) -> float:
        return round(100 * good / max(all_, 1), 1)

    return {
        "refused": len(told) - len(seen),
        "centre": share(
            sum(each.centre is not None and each.centre <= NEAR_CENTRE_PX for each in seen), len(told)
        ),
        "recall": share(sum(each.found for each in spots), sum(each.wanted for each in spots)),
        "precision": share(sum(each.true for each in seen), sum(each.reported for each in seen)),
        "position": round(float(np.median(positions)) if positions else float("nan"), 3),
        "blind": share(sum(each.blind for each in told), len(told)),
        "elements": share(sum(each.with_elements for each in told), len(told)),
        "read_ms": round(1e3 * float(np.median([each.read_s for each in told])), 1),
        "whole_ms": round(1e3 * float(np.median([each.whole_s for each in told])), 1),
    }


def _asked(retriever: Retriever, truth: Entry, kind: Kind, seed: int) -> Told:
    frame = rendered(truth, kind, seed)
    begun = perf_counter()
    try:
        spots = _read(frame)
    except DomainError:
        spent = perf_counter() - begun
        return Told(Found(None, 0, len(frame.wanted)), False, False, spent, spent)
    read = perf_counter()
    blind = _is_first(retriever, spots, truth, None)
    whole = perf_counter()
    known = frozenset(truth.elements)
    elements = _is_first(retriever, spots, truth, ElementFilter(all=tuple(known), only=tuple(known)))
    return Told(compared(spots, frame), blind, elements, read - begun, whole - begun)


def _read(frame: Rendered) -> Spots:
    return read_pattern(frame.data, "frame", PatternOptions(pixel_size_inv_angstrom=frame.pixel_size))


def compared(spots: Spots, frame: Rendered) -> Found:
    """Spots against the truth."""
    assert spots.pixels is not None
    assert spots.center_px is not None
    reach = max(3.0, 2 * frame.width)
    off = np.linalg.norm(spots.pixels[:, None] - frame.wanted, axis=2)
    nearest = off.min(axis=0) if len(frame.wanted) else np.empty(0)
    true = (np.linalg.norm(spots.pixels[:, None] - frame.likely, axis=2) < reach).any(axis=1)
    return Found(
        centre=float(np.hypot(*(np.array(spots.center_px) - frame.centre))),
        found=int((nearest < reach).sum()),
        wanted=len(frame.wanted),
        true=int(true.sum()),
        reported=len(spots),
        positions=tuple(nearest[nearest < reach].tolist()),
    )


def _is_first(retriever: Retriever, spots: Spots, truth: Entry, elements: ElementFilter | None) -> bool:
    candidates = retriever.search(
        spots, voltage_kv=VOLTAGE_KV, elements=elements, top_k=10, effort="verify"
    ).candidates
    return bool(candidates) and truth.id in (candidates[0].entry.id, *candidates[0].same_as)


def _large(index: Path, truth: Entry, side: int, seed: int) -> dict[str, float]:
    """Time of a whole request, ms, and growth of memory, over the file's size, of one large frame."""
    frame, small = rendered(truth, KINDS["plain"], seed, side), rendered(truth, KINDS["plain"], seed)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_request, (index, truth, small, frame))


def _request(index: Path, truth: Entry, small: Rendered, frame: Rendered) -> dict[str, float]:
    limit_threads(1)
    with Retriever.open(index, load_towers()) as retriever:
        _is_first(retriever, _read(small), truth, None)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        before = _resident("VmRSS")
        begun = perf_counter()
        _is_first(retriever, _read(frame), truth, None)
        spent = perf_counter() - begun
        grown = _resident("VmHWM") - before
    return {"whole_ms": round(1e3 * spent, 1), "memory": round(grown / len(frame.data) + 1, 2)}


def _resident(name: str) -> int:
    """Bytes, of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--part", choices=[each.value for each in SplitPart], default=SplitPart.TEST.value)
    parser.add_argument("--large", type=int, default=4096, help="side of the large frame; 0 for none")
    return parser.parse_args()


if __name__ == "__main__":
    main()
