"""Prints, as a table and as JSON, how often an oracle finds the crystal of a pattern: no method can do better.

    python -m bench.limit INDEX [--queries 200] [--seed 0] [--scale unknown] [--displacement 0.02]

The queries are those of `bench/accuracy.py` with the same seed. The oracle knows what no method can: the camera's
scale and ellipticity, the flake's tilt, its thermal motion, the displacement of the true crystal's atoms, the noise
and its limits. It scores every crystal whose lattice fits by the very likelihood that the patterns were drawn from
(multislice, either face, every rotation that lays the lattice on the spots), so what it misses is not in the data. It
is told no rotation, as that would name one setting of the true crystal and none of the others.

With `--scale unknown` it is told everything but scale and ellipticity, of which it knows no more than how the camera's
were drawn: it fits both to the positions, under that as prior.

Where the true crystal's atoms were displaced to tells it apart from any other, by patterns that the library's atoms
alone would not part. With `--displacement 0` there is nothing of that to know: atoms are where the library has them.
"""

import argparse
import json
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, replace
from math import log, pi
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from tqdm import tqdm

from bench.accuracy import (
    LEVELS,
    NOISE,
    add_displacement,
    held_out_entries,
    print_rows,
    seen_with,
)
from bench.queries import Q_MAX, VOLTAGE_KV, Drawn, Instrument, drawn
from index.storage.catalog import Catalog, Entry
from index.storage.layout import CATALOG_NAME
from index.storage.versions import find_version_folder
from model.crystal.crystal import Crystal
from model.indexing.lattice_table import LatticeTable
from model.indexing.orientations import (
    LAST_REACH_INV_ANGSTROM,
    find_lattice_symmetries,
    find_orientations,
)
from model.pattern.observation import Observation
from model.pattern.spots import Spots
from model.physics.multislice import Conditions, compute_dynamical_intensities
from model.physics.reciprocal import list_reflections, reciprocal_lattice
from model.physics.static_multislice import StaticMultislice

Array = NDArray[np.float64]

# A lattice that is off by more than this cannot be the true one: the scale is known.
SCALE_TOLERANCE = 0.01
# So many times the scale's rms error.
FARTHEST_SCALE = 3.5
# Candidates whose positions alone are this much less likely than the true one's, as ln, are not computed: intensities
# that were drawn from the true one are e^20 times likelier by another in one of e^20 cases at most.
HOPELESS = 20.0
REACH_SIGMAS = 4.5
# A camera that shows lengths too short shows beams of farther out.
BEYOND = 1.07
# What is roughly as much less likely than the true crystal needs no exact figure.
CLEARLY_WORSE = 15.0


@dataclass(frozen=True)
class Laid:
    """A candidate in one orientation.

    Attributes:
        turn: (2, 2) from rows of its frame to rows on the camera.
        seen: (2, 2) its reciprocal basis on the camera, stretched as that stretches it.
        hk: (N, 2) indices of the spots.
        met: (N,) spots on its lattice.
        positions: ln likelihood of the spots' positions, those that are met.
    """

    turn: Array
    seen: Array
    hk: NDArray[np.int64]
    met: NDArray[np.bool_]
    positions: float


def main() -> None:
    options = _options()
    rng = np.random.default_rng(options.seed)
    with closing(Catalog.open(find_version_folder(options.index) / CATALOG_NAME)) as catalog:
        everything = list(catalog)
        entries = held_out_entries(everything)
        table, groups = LatticeTable.from_cells(catalog.read_lattices()), catalog.groups
    row_of = {entry.id: row for row, entry in enumerate(everything)}
    places: dict[tuple[float, str], list[int]] = defaultdict(list)
    for _ in tqdm(range(options.queries), unit="query"):
        truth = entries[int(rng.integers(len(entries)))]
        draw = int(rng.integers(2**32))
        for noise in NOISE:
            instrument = seen_with(noise, options.displacement)
            query = _sorted(drawn(truth.crystal, instrument, np.random.default_rng(draw)))
            score = _scores(query, truth, everything, table, instrument, scale_known=options.scale == "known")
            own = int(groups[row_of[truth.id]])
            for asked in ("blind", "elements known"):
                best: dict[int, float] = {}
                for row, value in score.items():
                    if asked == "blind" or everything[row].elements == truth.elements:
                        best[int(groups[row])] = max(value, best.get(int(groups[row]), -np.inf))
                mine = best.get(own, -np.inf)
                places[noise, asked].append(sum(value > mine for value in best.values()))
    by = "oracle" if options.scale == "known" else "oracle, scale unknown"
    if options.displacement == 0:
        by += ", no displacements"
    shares = [
        {"noise": noise, "asked": asked, "by": by, "n": len(found)}
        | {f"top{k}": round(float((np.array(found) < k).mean()), 4) for k in LEVELS}
        for (noise, asked), found in places.items()
    ]
    print_rows(shares)
    print(json.dumps({"rows": shares, "seed": options.seed, "displacement": options.displacement}))


def _scores(
    query: Drawn,
    truth: Entry,
    everything: list[Entry],
    table: LatticeTable,
    instrument: Instrument,
    *,
    scale_known: bool,
) -> dict[int, float]:
    """ln likelihood of the candidates that can be the crystal, by row."""
    q = _undone(query, scale_known=scale_known)
    observed = Observation.from_spots(Spots(q, query.spots.intensity), VOLTAGE_KV)
    own = reciprocal_lattice(query.flake.lattice)
    if not scale_known:
        own = own * np.sqrt(np.prod(query.camera.stretch))
    tolerance = SCALE_TOLERANCE if scale_known else FARTHEST_SCALE * instrument.scale_sigma
    rows = np.unique(table.find_matches(own, tolerance).crystal)
    settings = find_orientations(
        np.stack([everything[row].crystal.lattice for row in rows.tolist()]), observed
    )
    laid: list[tuple[int, Laid]] = []
    for place, candidate in enumerate(settings.candidate.tolist()):
        row = int(rows[candidate])
        lattice = reciprocal_lattice(everything[row].crystal.lattice)
        (changes,) = find_lattice_symmetries(lattice[None])
        bases = changes @ settings.basis[place]
        laid += [
            (row, _laid(lattice, basis, q, query, instrument, scale_known=scale_known)) for basis in bases
        ]
    if not laid:
        return {}
    own_row = {row for row, _ in laid if everything[row].id == truth.id}
    hope = max(each.positions for row, each in laid if row in own_row or not own_row) - HOPELESS
    ways: dict[int, list[Laid]] = defaultdict(list)
    for row, each in laid:
        if each.positions > hope:
            ways[row].append(each)
    # The truth first: what is surely less likely needs no exact figure.
    found: dict[int, float] = {}
    limit = -np.inf
    for row in sorted(ways, key=lambda row: everything[row].id != truth.id):
        entry = everything[row]
        known = entry.id == truth.id
        found[row] = _best(query, entry.crystal, ways[row], instrument, known=known, limit=limit)
        if known:
            limit = found[row] - CLEARLY_WORSE
    return found


def _sorted(query: Drawn) -> Drawn:
    """The strongest spots first, so that nothing tells which are false ones."""
    assert query.spots.intensity is not None
    order = np.argsort(-query.spots.intensity)
    spots = Spots(query.spots.q_inv_angstrom[order], query.spots.intensity[order])
    return replace(query, spots=spots)


def _undone(query: Drawn, *, scale_known: bool) -> Array:
    """(N, 2) positions without what the tilt, and the camera if that is known, did to them."""
    q = query.spots.q_inv_angstrom / (query.camera.stretch if scale_known else 1.0)
    tangent2 = float(query.tilt @ query.tilt)
    if tangent2 == 0:
        return np.asarray(q)
    direction = query.tilt / np.sqrt(tangent2)
    return np.asarray(q - np.outer(q @ direction, direction) * (1 - 1 / np.sqrt(1 + tangent2)))


def _laid(
    lattice: Array, basis: Array, q: Array, query: Drawn, instrument: Instrument, *, scale_known: bool
) -> Laid:
    """The orientation nearest to a seen basis, without its strain or with that which the camera may have."""
    left, _, right = np.linalg.svd(np.linalg.solve(lattice, basis))
    turn = left @ right
    seen: Array = lattice @ turn
    prior, camera_stretch = 0.0, query.camera.stretch
    if not scale_known:
        camera_stretch = np.ones(2)
        stretch, prior = _stretch(seen, basis, q, instrument)
        seen = seen * stretch
    fractional = q @ np.linalg.inv(seen)
    hk = np.rint(fractional)
    square = (((fractional - hk) @ seen) ** 2).sum(axis=1)
    sigma = instrument.position_noise
    met = (square < (REACH_SIGMAS * sigma) ** 2) & hk.any(axis=1)
    # The strongest of several spots at one beam is the beam, the others are false ones.
    _, first = np.unique(hk @ [1000.0, 1.0], return_index=True)
    met &= np.isin(np.arange(len(q)), first)
    false = log(instrument.false_spots / 2 / (pi * instrument.q_max[1] ** 2) / log(10))
    density = -square / (2 * sigma**2) - log(2 * pi * sigma**2) + log(1 - instrument.lost)
    return Laid(
        turn,
        seen * camera_stretch,
        hk.astype(np.int64),
        met,
        float(np.where(met, density, false).sum()) + prior,
    )


def _stretch(laid: Array, basis: Array, q: Array, instrument: Instrument) -> tuple[Array, float]:
    """The likeliest stretch (2,) along x and y between a lattice as it lies and the spots, and its ln prior."""
    fractional = q @ np.linalg.inv(basis)
    hk = np.rint(fractional)
    near = ((((fractional - hk) @ basis) ** 2).sum(axis=1) < LAST_REACH_INV_ANGSTROM**2) & hk.any(axis=1)
    expected = hk[near] @ laid
    precision = (expected**2).sum(axis=0) / instrument.position_noise**2
    fitted = (expected * q[near]).sum(axis=0) / np.maximum((expected**2).sum(axis=0), 1e-12) - 1
    # x and y are off by scale + ellipticity and scale - ellipticity.
    part = np.array([[1.0, 1.0], [1.0, -1.0]])
    prior = np.diag([instrument.scale_sigma**-2, instrument.ellipticity_sigma**-2])
    off = np.linalg.solve(part.T @ np.diag(precision) @ part + prior, part.T @ (precision * fitted))
    return 1 + part @ off, float(-off @ prior @ off / 2)


def _best(
    query: Drawn, crystal: Crystal, ways: list[Laid], instrument: Instrument, *, known: bool, limit: float
) -> float:
    """ln likelihood of the best orientation and face; roughly, if that is below a limit."""
    best = -np.inf
    # The other face is the layer reflected in its plane, where orientations are mirrored.
    for face_down in (False, True):
        positions = crystal.positions * ([1.0, 1.0, -1.0] if face_down else [1.0, 1.0, 1.0])
        if known and face_down == query.face_down:
            positions = query.flake.positions * ([1.0, -1.0, 1.0] if face_down else [1.0, 1.0, 1.0])
        shown = replace(crystal, positions=positions)
        tilts = np.array([way.turn @ query.tilt for way in ways])
        hopeful = np.full(len(ways), True)
        if np.isfinite(limit):
            rough = _likelihoods(query, *_roughly(query, shown, tilts), ways, instrument)
            hopeful = rough > limit
            best = max(best, float(rough[~hopeful].max(initial=-np.inf)))
        if hopeful.any():
            exact = [way for way, close in zip(ways, hopeful, strict=True) if close]
            levels = _exactly(query, shown, tilts[hopeful])
            best = max(best, float(_likelihoods(query, *levels, exact, instrument).max()))
    return best


def _roughly(query: Drawn, shown: Crystal, tilts: Array) -> tuple[NDArray[np.int64], Array]:
    """Beams (M, 2) and ln intensities (S, M) under tilts; thermal motion only damps what a still layer scatters."""
    hk = list_reflections(shown.lattice, BEYOND * query.camera.q_max)
    q2 = ((hk @ reciprocal_lattice(shown.lattice)) ** 2).sum(axis=1)
    sheets = StaticMultislice.from_crystal(shown, VOLTAGE_KV, BEYOND * query.camera.q_max, query.b_iso)
    still = sheets.compute_intensities(hk, tilts)
    return hk, np.log(np.maximum(still, 1e-30)) - query.b_iso * q2 / 2


def _exactly(query: Drawn, shown: Crystal, tilts: Array) -> tuple[NDArray[np.int64], Array]:
    """As `_roughly`, as the patterns were drawn."""
    count = len(tilts)
    conditions = Conditions(
        np.full(count, VOLTAGE_KV),
        tilts,
        np.zeros((count, len(shown.numbers), 3)),
        np.full(count, query.b_iso),
    )
    hk, _, intensity = compute_dynamical_intensities(shown, conditions, Q_MAX)
    return hk, np.log(np.maximum(intensity, 1e-30))


def _likelihoods(
    query: Drawn, hk: NDArray[np.int64], level: Array, ways: list[Laid], instrument: Instrument
) -> Array:
    """(S,) ln likelihood of each way, given its beams' ln intensities (S, M)."""
    level = level - level.max(axis=1, keepdims=True)
    middle = np.abs(hk).max(axis=0, initial=0)
    place = np.full(2 * middle + 1, -1)
    place[hk[:, 0] + middle[0], hk[:, 1] + middle[1]] = np.arange(len(hk))
    return np.array(
        [
            way.positions + _intensities(query, hk, place, own, way, instrument)
            for way, own in zip(ways, level, strict=True)
        ]
    )


def _intensities(
    query: Drawn,
    hk: NDArray[np.int64],
    place: NDArray[np.int64],
    level: Array,
    way: Laid,
    instrument: Instrument,
) -> float:
    """ln likelihood of the intensities of the spots that are met, and of the beams that were not seen.

    `place` (2 H + 1, 2 K + 1) is the row of each beam, -1 where there is none.
    """
    camera, (high, wide) = query.camera, place.shape
    middle = np.array([high // 2, wide // 2])
    assert query.spots.intensity is not None
    inside = np.asarray((np.abs(way.hk) <= middle).all(axis=1))
    at = np.where(inside[:, None], way.hk, 0) + middle
    rows = np.where(inside, place[at[:, 0], at[:, 1]], -1)
    met = way.met & (rows >= 0)
    residual = np.log(query.spots.intensity[met]) - level[rows[met]]
    seen = -(residual**2) / (2 * camera.noise**2) - log(camera.noise * np.sqrt(2 * pi))
    absent = np.hypot(*(hk @ way.seen).T) < camera.q_max
    absent[rows[met]] = False
    hidden = instrument.lost + (1 - instrument.lost) * ndtr(
        (log(camera.faintest) - level[absent]) / camera.noise
    )
    return float(seen.sum() + np.log(hidden).sum()) - 20.0 * int((way.met & (rows < 0)).sum())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    add_displacement(parser)
    parser.add_argument("--scale", choices=["known", "unknown"], default="known")
    return parser.parse_args()


if __name__ == "__main__":
    main()
