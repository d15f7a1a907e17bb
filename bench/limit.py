"""Prints, as a table and as JSON, how often an oracle finds the crystal of a pattern: no method can do better.

    python bench/limit.py INDEX [--queries 100] [--seed 0]

The queries are those of `bench/accuracy.py` with the same seed. The oracle knows what no method can: the camera's
scale and ellipticity, the flake's tilt, its thermal motion, the displacement of the true crystal's atoms, the noise
and its limits. It scores every crystal whose lattice fits by the very likelihood that the patterns were drawn from
(multislice, either face, every rotation that lays the lattice on the spots), so what it misses is not in the data. It
is told no rotation, as that would name one setting of the true crystal and none of the others.
"""

import argparse
import json
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, replace
from math import log, pi
from pathlib import Path

import numpy as np
from accuracy import LEVELS, NOISE, held_out_entries, print_rows  # type: ignore[import-not-found]
from numpy.typing import NDArray
from queries import VOLTAGE_KV, Drawn, Instrument, drawn  # type: ignore[import-not-found]
from scipy.special import ndtr
from tqdm import tqdm

from index.build import CATALOGUE_NAME
from index.catalogue import Catalogue, Entry
from index.publishing import version_folder
from model.crystal import Crystal
from model.matching.lattice_table import LatticeTable
from model.matching.observation import Observation
from model.matching.settings import changes_of, lay_lattices, variants
from model.pattern import Spots
from model.physics.multislice import Conditions, dynamical_intensities
from model.physics.reciprocal import reciprocal_lattice

Array = NDArray[np.float64]

# A lattice that is off by more than this cannot be the true one: the scale is known.
SCALE_TOLERANCE = 0.01
# Candidates whose positions alone are this much less likely, as ln, are not computed.
HOPELESS = 40.0
REACH_SIGMAS = 4.5


@dataclass(frozen=True)
class Laid:
    """A candidate in one orientation.

    Attributes:
        turn: (2, 2) from rows of its frame to rows on the camera.
        hk: (N, 2) indices of the spots.
        met: (N,) spots on its lattice.
        positions: ln likelihood of the spots' positions, those that are met.
    """

    turn: Array
    hk: NDArray[np.int64]
    met: NDArray[np.bool_]
    positions: float


def main() -> None:
    options = _options()
    rng = np.random.default_rng(options.seed)
    with closing(Catalogue.open(version_folder(options.index) / CATALOGUE_NAME)) as catalogue:
        everything = list(catalogue)
        entries = held_out_entries(everything)
        table, groups = LatticeTable.of(catalogue.lattices()), catalogue.groups
    row_of = {entry.id: row for row, entry in enumerate(everything)}
    places: dict[tuple[float, str], list[int]] = defaultdict(list)
    for _ in tqdm(range(options.queries), unit="query"):
        truth = entries[int(rng.integers(len(entries)))]
        draw = int(rng.integers(2**32))
        for noise in NOISE:
            instrument = replace(Instrument(), intensity_noise=(noise, noise))
            query = _sorted(drawn(truth.crystal, instrument, np.random.default_rng(draw)))
            score = _scores(query, truth, everything, table, instrument)
            own = int(groups[row_of[truth.id]])
            for asked in ("blind", "elements known"):
                best: dict[int, float] = {}
                for row, value in score.items():
                    if asked == "blind" or everything[row].elements == truth.elements:
                        best[int(groups[row])] = max(value, best.get(int(groups[row]), -np.inf))
                mine = best.get(own, -np.inf)
                places[noise, asked].append(sum(value > mine for value in best.values()))
    shares = [
        {"noise": noise, "asked": asked, "by": "oracle", "n": len(found)}
        | {f"top{k}": round(float((np.array(found) < k).mean()), 4) for k in LEVELS}
        for (noise, asked), found in places.items()
    ]
    print_rows(shares)
    print(json.dumps({"rows": shares, "seed": options.seed}))


def _scores(
    query: Drawn, truth: Entry, everything: list[Entry], table: LatticeTable, instrument: Instrument
) -> dict[int, float]:
    """ln likelihood of the candidates that can be the crystal, by row."""
    q = _undone(query)
    observed = Observation.of(Spots(q, query.spots.intensity), VOLTAGE_KV)
    own = reciprocal_lattice(query.flake.lattice)
    rows = np.unique(table.fitting(own, SCALE_TOLERANCE).crystal)
    settings = lay_lattices(np.stack([everything[row].crystal.lattice for row in rows.tolist()]), observed)
    laid: list[tuple[int, Laid]] = []
    for place, candidate in enumerate(settings.candidate.tolist()):
        row = int(rows[candidate])
        lattice = reciprocal_lattice(everything[row].crystal.lattice)
        (changes,) = changes_of(lattice[None])
        bases, _ = variants(settings.basis[place], settings.hk[place], changes)
        laid += [(row, _laid(lattice, basis, q, instrument)) for basis in bases]
    if not laid:
        return {}
    hope = max(each.positions for _, each in laid) - HOPELESS
    found: dict[int, float] = {}
    for row in {row for row, each in laid if each.positions > hope}:
        ways = [each for other, each in laid if other == row and each.positions > hope]
        entry = everything[row]
        found[row] = _best(query, entry.crystal, ways, instrument, known=entry.id == truth.id)
    return found


def _sorted(query: Drawn) -> Drawn:
    """The strongest spots first, so that nothing tells which are false ones."""
    assert query.spots.intensity is not None
    order = np.argsort(-query.spots.intensity)
    spots = Spots(query.spots.q_inv_angstrom[order], query.spots.intensity[order])
    return replace(query, spots=spots)


def _undone(query: Drawn) -> Array:
    """(N, 2) positions without what camera and tilt did to them."""
    q = query.spots.q_inv_angstrom / query.camera.stretch
    tangent2 = float(query.tilt @ query.tilt)
    if tangent2 == 0:
        return np.asarray(q)
    direction = query.tilt / np.sqrt(tangent2)
    return np.asarray(q - np.outer(q @ direction, direction) * (1 - 1 / np.sqrt(1 + tangent2)))


def _laid(lattice: Array, basis: Array, q: Array, instrument: Instrument) -> Laid:
    """The orientation nearest to a seen basis, without its strain."""
    left, _, right = np.linalg.svd(np.linalg.solve(lattice, basis))
    turn = left @ right
    fractional = q @ np.linalg.inv(lattice @ turn)
    hk = np.rint(fractional)
    square = (((fractional - hk) @ (lattice @ turn)) ** 2).sum(axis=1)
    sigma = instrument.position_noise
    met = (square < (REACH_SIGMAS * sigma) ** 2) & hk.any(axis=1)
    # The strongest of several spots at one beam is the beam, the others are false ones.
    _, first = np.unique(hk, axis=0, return_index=True)
    met &= np.isin(np.arange(len(q)), first)
    false = log(instrument.false_spots / 2 / (pi * instrument.q_max[1] ** 2) / log(10))
    density = -square / (2 * sigma**2) - log(2 * pi * sigma**2) + log(1 - instrument.lost)
    return Laid(turn, hk.astype(np.int64), met, float(np.where(met, density, false).sum()))


def _best(query: Drawn, crystal: Crystal, ways: list[Laid], instrument: Instrument, *, known: bool) -> float:
    """ln likelihood of the best orientation and face."""
    best = -np.inf
    # The other face is the layer reflected in its plane, where orientations are mirrored.
    for face_down in (False, True):
        positions = crystal.positions * ([1.0, 1.0, -1.0] if face_down else [1.0, 1.0, 1.0])
        if known and face_down == query.face_down:
            positions = query.flake.positions * ([1.0, -1.0, 1.0] if face_down else [1.0, 1.0, 1.0])
        shown = replace(crystal, positions=positions)
        tilts = np.array([way.turn @ query.tilt for way in ways])
        conditions = Conditions(
            np.full(len(ways), VOLTAGE_KV),
            tilts,
            np.zeros((len(ways), len(shown.numbers), 3)),
            np.full(len(ways), query.b_iso),
        )
        hk, _, intensity = dynamical_intensities(shown, conditions, query.camera.q_max)
        for way, level in zip(ways, np.log(intensity / intensity.max(axis=1, keepdims=True)), strict=True):
            best = max(best, way.positions + _intensities(query, hk, level, way, instrument))
    return best


def _intensities(
    query: Drawn, hk: NDArray[np.int64], level: Array, way: Laid, instrument: Instrument
) -> float:
    """ln likelihood of the intensities of the spots that are met, and of the beams that were not seen."""
    camera = query.camera
    assert query.spots.intensity is not None
    place = {tuple(index): row for row, index in enumerate(hk.tolist())}
    rows = np.array([place.get(tuple(index), -1) for index in way.hk.tolist()])
    met = way.met & (rows >= 0)
    residual = np.log(query.spots.intensity[met]) - level[rows[met]]
    seen = -(residual**2) / (2 * camera.noise**2) - log(camera.noise * np.sqrt(2 * pi))
    absent = np.full(len(hk), True)
    absent[rows[met]] = False
    hidden = instrument.lost + (1 - instrument.lost) * ndtr(
        (log(camera.faintest) - level[absent]) / camera.noise
    )
    return float(seen.sum() + np.log(hidden).sum()) - 20.0 * int((way.met & (rows < 0)).sum())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
