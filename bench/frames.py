"""Measure how well spots are found in frames, for each kind of defect; print a table and JSON.

    python -m bench.frames INDEX [--frames 40] [--seed 0] [--kinds NAME ...] [--part test] [--large 4096]

The frames (`bench/scenes.py`) show held-out crystals of 2DMatPedia; parameters are tuned on `--part validation`. The
columns are: error of the center; recall, precision and position error of spots five sigma above the noise; share of
crystals that are ranked first (`effort=verify`, scale known to 1.3 %) without chemistry and with known elements; time
from the bytes of the file to the spots, and of a whole request without chemistry. The median time is over the frames
of all kinds that contain the direct beam. For one frame of `--large` pixels a side, a process of its own measures the
time of a whole request and the growth of its memory in multiples of the file size.
"""

import argparse
import json
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from tqdm import tqdm

from bench.library import SOURCE, build_parser, is_candidate_of, open_catalog, select_part
from bench.queries import VOLTAGE_KV
from bench.scenes import KINDS, Kind, RenderedFrame, render_frame
from index.chemistry.elements import ElementFilter
from index.search.retriever import Retriever
from index.storage.catalog import Entry
from model.errors import DomainError
from model.pattern.options import PatternOptions
from model.pattern.read import read_pattern
from model.pattern.spots import Spots
from model.towers.checkpoint import load_towers
from model.towers.workers import limit_threads
from model.training.split import SplitPart

MAX_CENTER_ERROR_PX = 1.5
OFF_FRAME = "beam off the frame"
COLUMNS = (
    "| frames | rejected | center ≤ 1.5 px | recall | precision | position px | no chemistry | elements known | "
    "read ms | request ms |"
)


@dataclass(frozen=True)
class FoundSpots:
    """Spots compared with the truth; the center error is None if the frame was rejected."""

    center_error: float | None
    found: int
    expected: int
    true: int = 0
    reported: int = 0
    positions: tuple[float, ...] = ()


@dataclass(frozen=True)
class FrameResult:
    """Result of one frame."""

    spots: FoundSpots
    first_without_chemistry: bool
    first_with_elements: bool
    read_s: float
    whole_s: float


def main() -> None:
    options = _parse_options()
    limit_threads(1)
    with open_catalog(options.index) as catalog:
        entries = select_part(catalog, SplitPart(options.part), SOURCE)
    rows, on_frame = [], []
    with Retriever.open(options.index, load_towers()) as retriever:
        for name in options.kinds:
            rng = np.random.default_rng(options.seed)  # the same crystals for each kind
            results = [
                _evaluate_frame(
                    retriever, entries[int(rng.integers(len(entries)))], KINDS[name], int(rng.integers(2**32))
                )
                for _ in tqdm(range(options.frames), desc=name)
            ]
            rows.append({"kind": name, **_summarize(results)})
            if not name.startswith(OFF_FRAME):
                on_frame += results
    print(COLUMNS)
    print("|" + "---|" * (COLUMNS.count("|") - 1))
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    if on_frame:
        print(
            f"all but {OFF_FRAME}: {1e3 * np.median([each.whole_s for each in on_frame]):.0f} ms per request"
        )
    large = (
        _measure_large_frame(options.index, entries[0], options.large, options.seed)
        if options.large
        else None
    )
    if large is not None:
        print(
            f"{options.large} x {options.large}: {large['whole_ms']:.0f} ms, memory grew by {large['memory']:.1f} files"
        )
    print(json.dumps({"rows": rows, "large": large, "frames": options.frames, "seed": options.seed}))


def _summarize(results: list[FrameResult]) -> dict[str, float]:
    spots = [each.spots for each in results]
    seen = [each for each in spots if each.center_error is not None]
    positions = [each for one in seen for each in one.positions]

    def share(good: int, total: int) -> float:
        return round(100 * good / max(total, 1), 1)

    return {
        "rejected": len(results) - len(seen),
        "center": share(
            sum(each.center_error is not None and each.center_error <= MAX_CENTER_ERROR_PX for each in seen),
            len(results),
        ),
        "recall": share(sum(each.found for each in spots), sum(each.expected for each in spots)),
        "precision": share(sum(each.true for each in seen), sum(each.reported for each in seen)),
        "position": round(float(np.median(positions)) if positions else float("nan"), 3),
        "no_chemistry": share(sum(each.first_without_chemistry for each in results), len(results)),
        "elements_known": share(sum(each.first_with_elements for each in results), len(results)),
        "read_ms": round(1e3 * float(np.median([each.read_s for each in results])), 1),
        "request_ms": round(1e3 * float(np.median([each.whole_s for each in results])), 1),
    }


def _evaluate_frame(retriever: Retriever, truth: Entry, kind: Kind, seed: int) -> FrameResult:
    frame = render_frame(truth, kind, seed)
    begun = perf_counter()
    try:
        spots = _read(frame)
    except DomainError:
        spent = perf_counter() - begun
        return FrameResult(FoundSpots(None, 0, len(frame.expected)), False, False, spent, spent)
    read = perf_counter()
    without_chemistry = _is_first(retriever, spots, truth, None)
    whole = perf_counter()
    known = frozenset(truth.elements)
    with_elements = _is_first(retriever, spots, truth, ElementFilter(all=tuple(known), only=tuple(known)))
    return FrameResult(_compare(spots, frame), without_chemistry, with_elements, read - begun, whole - begun)


def _read(frame: RenderedFrame) -> Spots:
    return read_pattern(frame.data, "frame", PatternOptions(pixel_size_inv_angstrom=frame.pixel_size))


def _compare(spots: Spots, frame: RenderedFrame) -> FoundSpots:
    """Compare spots with the truth."""
    assert spots.pixels is not None
    assert spots.center_px is not None
    reach = max(3.0, 2 * frame.width)
    off = np.linalg.norm(spots.pixels[:, None] - frame.expected, axis=2)
    nearest = off.min(axis=0) if len(frame.expected) else np.empty(0)
    true = (np.linalg.norm(spots.pixels[:, None] - frame.likely, axis=2) < reach).any(axis=1)
    return FoundSpots(
        center_error=float(np.hypot(*(np.array(spots.center_px) - frame.center))),
        found=int((nearest < reach).sum()),
        expected=len(frame.expected),
        true=int(true.sum()),
        reported=len(spots),
        positions=tuple(nearest[nearest < reach].tolist()),
    )


def _is_first(retriever: Retriever, spots: Spots, truth: Entry, elements: ElementFilter | None) -> bool:
    candidates = retriever.search(
        spots, voltage_kv=VOLTAGE_KV, elements=elements, top_k=10, effort="verify"
    ).candidates
    return bool(candidates) and is_candidate_of(candidates[0], truth.id)


def _measure_large_frame(index: Path, truth: Entry, side: int, seed: int) -> dict[str, float]:
    """Return the time of a request with a large frame, in ms, and the growth of memory over the file size."""
    frame, small = render_frame(truth, KINDS["plain"], seed, side), render_frame(truth, KINDS["plain"], seed)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_request, (index, truth, small, frame))


def _measure_request(
    index: Path, truth: Entry, small: RenderedFrame, frame: RenderedFrame
) -> dict[str, float]:
    limit_threads(1)
    with Retriever.open(index, load_towers()) as retriever:
        _is_first(retriever, _read(small), truth, None)
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = _read_resident_bytes("VmRSS")
        begun = perf_counter()
        _is_first(retriever, _read(frame), truth, None)
        spent = perf_counter() - begun
        grown = _read_resident_bytes("VmHWM") - before
    return {"whole_ms": round(1e3 * spent, 1), "memory": round(grown / len(frame.data) + 1, 2)}


def _read_resident_bytes(name: str) -> int:
    """Return a memory figure from /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--part", choices=[each.value for each in SplitPart], default=SplitPart.TEST.value)
    parser.add_argument("--large", type=int, default=4096, help="side of the large frame; 0 to omit it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
