"""Measure how often an oracle finds the crystal of a pattern, which no method can surpass; print a table and JSON.

    python -m bench.limit INDEX [--queries 200] [--seed 0] [--scale unknown] [--displacement 0.02]

The queries are those of `bench/accuracy.py` with the same seed. The oracle knows what no method can know: the scale and
ellipticity of the camera, the tilt of the flake, its thermal motion, the displacements of the true crystal's atoms, and
the noise with its limits. It scores every crystal whose lattice fits by the likelihood from which the patterns were
drawn (multislice, both faces, every rotation that maps the lattice onto the spots), so what it misses is not in the
data. It does not know the rotation, which would favor one orientation of the true crystal.

With `--scale unknown` the oracle does not know scale and ellipticity. It fits both to the positions, with their true
distributions as priors.

The displacements of the true crystal's atoms distinguish it from all others, even where the library's atoms do not.
With `--displacement 0` all atoms are at their positions in the library.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from math import log, pi

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from tqdm import tqdm

from bench.accuracy import (
    CHEMISTRY,
    LEVELS,
    NOISE,
    add_displacement_option,
    build_instrument,
    print_rows,
)
from bench.library import SOURCE, build_parser, compute_top_shares, open_catalog, select_part
from bench.queries import Q_MAX, VOLTAGE_KV, Instrument, SimulatedPattern, simulate_pattern
from index.storage.catalog import Entry
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

# With the scale known, a lattice that deviates by more than this is not the true one.
SCALE_TOLERANCE = 0.01
# Largest scale error, in units of its rms.
MAX_SCALE_SIGMAS = 3.5
# Candidates whose positions have a ln likelihood this much below that of the true crystal are skipped: intensities
# drawn from the true crystal favor another one by e^20 in at most one of e^20 cases.
MAX_POSITION_DEFICIT = 20.0
REACH_SIGMAS = 4.5
# If the camera shortens lengths, reflections from beyond its radius appear.
Q_MARGIN = 1.07
# Candidates this much less likely than the true crystal, roughly, need no exact likelihood.
ROUGH_MARGIN = 15.0


@dataclass(frozen=True)
class OrientedCandidate:
    """A candidate in one orientation.

    Attributes:
        turn: (2, 2) matrix from row vectors of its frame to row vectors on the camera.
        basis: (2, 2) reciprocal basis on the camera, with the distortion of the camera.
        hk: (N, 2) Miller indices of the spots.
        indexed: (N,) whether a spot is on the lattice.
        positions: ln likelihood of the positions.
    """

    turn: Array
    basis: Array
    hk: NDArray[np.int64]
    indexed: NDArray[np.bool_]
    positions: float


def main() -> None:
    options = _parse_options()
    rng = np.random.default_rng(options.seed)
    with open_catalog(options.index) as catalog:
        everything = list(catalog)
        entries = select_part(everything, source_prefix=SOURCE)
        table, groups = LatticeTable.from_cells(catalog.read_lattices()), catalog.groups
    row_of = {entry.id: row for row, entry in enumerate(everything)}
    ranks: dict[tuple[float, str], list[int | None]] = defaultdict(list)
    for _ in tqdm(range(options.queries), unit="query"):
        truth = entries[int(rng.integers(len(entries)))]
        draw = int(rng.integers(2**32))
        for noise in NOISE:
            instrument = build_instrument(noise, options.displacement)
            query = _sort_spots(simulate_pattern(truth.crystal, instrument, np.random.default_rng(draw)))
            score = _score_candidates(
                query, truth, everything, table, instrument, scale_known=options.scale == "known"
            )
            own = int(groups[row_of[truth.id]])
            for chemistry in CHEMISTRY:
                best: dict[int, float] = {}
                for row, value in score.items():
                    if chemistry == "no chemistry" or everything[row].elements == truth.elements:
                        best[int(groups[row])] = max(value, best.get(int(groups[row]), -np.inf))
                mine = best.get(own, -np.inf)
                ranks[noise, chemistry].append(sum(value > mine for value in best.values()))
    method = "oracle" if options.scale == "known" else "oracle, scale unknown"
    if options.displacement == 0:
        method += ", no displacements"
    shares: list[dict[str, object]] = [
        {"noise": noise, "chemistry": chemistry, "method": method, "n": len(own)}
        | compute_top_shares(own, LEVELS)
        for (noise, chemistry), own in ranks.items()
    ]
    print_rows(shares)
    print(json.dumps({"rows": shares, "seed": options.seed, "displacement": options.displacement}))


def _score_candidates(
    query: SimulatedPattern,
    truth: Entry,
    everything: list[Entry],
    table: LatticeTable,
    instrument: Instrument,
    *,
    scale_known: bool,
) -> dict[int, float]:
    """Return the ln likelihood of each possible candidate, by row."""
    q = _undo_distortions(query, scale_known=scale_known)
    observed = Observation.from_spots(Spots(q, query.spots.intensity), VOLTAGE_KV)
    own = reciprocal_lattice(query.flake.lattice)
    if not scale_known:
        own = own * np.sqrt(np.prod(query.camera.stretch))
    tolerance = SCALE_TOLERANCE if scale_known else MAX_SCALE_SIGMAS * instrument.scale_sigma
    rows = np.unique(table.find_matches(own, tolerance).crystal)
    settings = find_orientations(
        np.stack([everything[row].crystal.lattice for row in rows.tolist()]), observed
    )
    oriented: list[tuple[int, OrientedCandidate]] = []
    for place, candidate in enumerate(settings.candidate.tolist()):
        row = int(rows[candidate])
        lattice = reciprocal_lattice(everything[row].crystal.lattice)
        (changes,) = find_lattice_symmetries(lattice[None])
        bases = changes @ settings.basis[place]
        oriented += [
            (row, _orient(lattice, basis, q, query, instrument, scale_known=scale_known)) for basis in bases
        ]
    if not oriented:
        return {}
    own_row = {row for row, _ in oriented if everything[row].id == truth.id}
    threshold = (
        max(each.positions for row, each in oriented if row in own_row or not own_row) - MAX_POSITION_DEFICIT
    )
    ways: dict[int, list[OrientedCandidate]] = defaultdict(list)
    for row, each in oriented:
        if each.positions > threshold:
            ways[row].append(each)
    # The true crystal comes first: clearly less likely candidates need no exact likelihood.
    found: dict[int, float] = {}
    limit = -np.inf
    for row in sorted(ways, key=lambda row: everything[row].id != truth.id):
        entry = everything[row]
        known = entry.id == truth.id
        found[row] = _score_best(query, entry.crystal, ways[row], instrument, known=known, limit=limit)
        if known:
            limit = found[row] - ROUGH_MARGIN
    return found


def _sort_spots(query: SimulatedPattern) -> SimulatedPattern:
    """Sort the spots by intensity, so that their order does not reveal the false ones."""
    assert query.spots.intensity is not None
    order = np.argsort(-query.spots.intensity)
    spots = Spots(query.spots.q_inv_angstrom[order], query.spots.intensity[order])
    return replace(query, spots=spots)


def _undo_distortions(query: SimulatedPattern, *, scale_known: bool) -> Array:
    """Return (N, 2) positions without the effects of the tilt and, if its scale is known, of the camera."""
    q = query.spots.q_inv_angstrom / (query.camera.stretch if scale_known else 1.0)
    tangent2 = float(query.tilt @ query.tilt)
    if tangent2 == 0:
        return np.asarray(q)
    direction = query.tilt / np.sqrt(tangent2)
    return np.asarray(q - np.outer(q @ direction, direction) * (1 - 1 / np.sqrt(1 + tangent2)))


def _orient(
    lattice: Array,
    basis: Array,
    q: Array,
    query: SimulatedPattern,
    instrument: Instrument,
    *,
    scale_known: bool,
) -> OrientedCandidate:
    """Return the orientation nearest to an observed basis, without strain or with the likeliest camera distortion."""
    left, _, right = np.linalg.svd(np.linalg.solve(lattice, basis))
    turn = left @ right
    seen: Array = lattice @ turn
    prior, camera_stretch = 0.0, query.camera.stretch
    if not scale_known:
        camera_stretch = np.ones(2)
        stretch, prior = _fit_stretch(seen, basis, q, instrument)
        seen = seen * stretch
    fractional = q @ np.linalg.inv(seen)
    hk = np.rint(fractional)
    square = (((fractional - hk) @ seen) ** 2).sum(axis=1)
    sigma = instrument.position_noise
    indexed = (square < (REACH_SIGMAS * sigma) ** 2) & hk.any(axis=1)
    # Of several spots at one reflection the strongest is true, the others are false.
    _, first = np.unique(hk @ [1000.0, 1.0], return_index=True)
    indexed &= np.isin(np.arange(len(q)), first)
    false = log(instrument.false_spots / 2 / (pi * instrument.q_max[1] ** 2) / log(10))
    density = -square / (2 * sigma**2) - log(2 * pi * sigma**2) + log(1 - instrument.lost)
    return OrientedCandidate(
        turn,
        seen * camera_stretch,
        hk.astype(np.int64),
        indexed,
        float(np.where(indexed, density, false).sum()) + prior,
    )


def _fit_stretch(oriented: Array, basis: Array, q: Array, instrument: Instrument) -> tuple[Array, float]:
    """Return the likeliest (2,) stretch along x and y from an oriented lattice to the spots, and its ln prior."""
    fractional = q @ np.linalg.inv(basis)
    hk = np.rint(fractional)
    near = ((((fractional - hk) @ basis) ** 2).sum(axis=1) < LAST_REACH_INV_ANGSTROM**2) & hk.any(axis=1)
    expected = hk[near] @ oriented
    precision = (expected**2).sum(axis=0) / instrument.position_noise**2
    fitted = (expected * q[near]).sum(axis=0) / np.maximum((expected**2).sum(axis=0), 1e-12) - 1
    # The errors along x and y are scale + ellipticity and scale - ellipticity.
    part = np.array([[1.0, 1.0], [1.0, -1.0]])
    prior = np.diag([instrument.scale_sigma**-2, instrument.ellipticity_sigma**-2])
    off = np.linalg.solve(part.T @ np.diag(precision) @ part + prior, part.T @ (precision * fitted))
    return 1 + part @ off, float(-off @ prior @ off / 2)


def _score_best(
    query: SimulatedPattern,
    crystal: Crystal,
    ways: list[OrientedCandidate],
    instrument: Instrument,
    *,
    known: bool,
    limit: float,
) -> float:
    """Return the ln likelihood of the best orientation and face; a rough one if it is below a limit."""
    best = -np.inf
    # The other face is the layer reflected in its plane, with mirrored orientations.
    for face_down in (False, True):
        positions = crystal.positions * ([1.0, 1.0, -1.0] if face_down else [1.0, 1.0, 1.0])
        if known and face_down == query.face_down:
            positions = query.flake.positions * ([1.0, -1.0, 1.0] if face_down else [1.0, 1.0, 1.0])
        shown = replace(crystal, positions=positions)
        tilts = np.array([way.turn @ query.tilt for way in ways])
        hopeful = np.full(len(ways), True)
        if np.isfinite(limit):
            rough = _compute_likelihoods(query, *_compute_roughly(query, shown, tilts), ways, instrument)
            hopeful = rough > limit
            best = max(best, float(rough[~hopeful].max(initial=-np.inf)))
        if hopeful.any():
            exact = [way for way, close in zip(ways, hopeful, strict=True) if close]
            levels = _compute_exactly(query, shown, tilts[hopeful])
            best = max(best, float(_compute_likelihoods(query, *levels, exact, instrument).max()))
    return best


def _compute_roughly(
    query: SimulatedPattern, shown: Crystal, tilts: Array
) -> tuple[NDArray[np.int64], Array]:
    """Return hk (M, 2) and ln intensities (S, M) under tilts, from a static layer with damping by thermal motion."""
    hk = list_reflections(shown.lattice, Q_MARGIN * query.camera.q_max)
    q2 = ((hk @ reciprocal_lattice(shown.lattice)) ** 2).sum(axis=1)
    sheets = StaticMultislice.from_crystal(shown, VOLTAGE_KV, Q_MARGIN * query.camera.q_max, query.b_iso)
    still = sheets.compute_intensities(hk, tilts)
    return hk, np.log(np.maximum(still, 1e-30)) - query.b_iso * q2 / 2


def _compute_exactly(
    query: SimulatedPattern, shown: Crystal, tilts: Array
) -> tuple[NDArray[np.int64], Array]:
    """Return hk and ln intensities as the patterns were drawn; see `_compute_roughly`."""
    count = len(tilts)
    conditions = Conditions(
        np.full(count, VOLTAGE_KV),
        tilts,
        np.zeros((count, len(shown.numbers), 3)),
        np.full(count, query.b_iso),
    )
    hk, _, intensity = compute_dynamical_intensities(shown, conditions, Q_MAX)
    return hk, np.log(np.maximum(intensity, 1e-30))


def _compute_likelihoods(
    query: SimulatedPattern,
    hk: NDArray[np.int64],
    level: Array,
    ways: list[OrientedCandidate],
    instrument: Instrument,
) -> Array:
    """Return the (S,) ln likelihoods of oriented candidates with ln intensities (S, M)."""
    level = level - level.max(axis=1, keepdims=True)
    middle = np.abs(hk).max(axis=0, initial=0)
    place = np.full(2 * middle + 1, -1)
    place[hk[:, 0] + middle[0], hk[:, 1] + middle[1]] = np.arange(len(hk))
    return np.array(
        [
            way.positions + _score_intensities(query, hk, place, own, way, instrument)
            for way, own in zip(ways, level, strict=True)
        ]
    )


def _score_intensities(
    query: SimulatedPattern,
    hk: NDArray[np.int64],
    place: NDArray[np.int64],
    level: Array,
    way: OrientedCandidate,
    instrument: Instrument,
) -> float:
    """Return the ln likelihood of the indexed spots' intensities and of the missing reflections.

    `place` (2 H + 1, 2 K + 1) is the row of each reflection, -1 where there is none.
    """
    camera, (high, wide) = query.camera, place.shape
    middle = np.array([high // 2, wide // 2])
    assert query.spots.intensity is not None
    inside = np.asarray((np.abs(way.hk) <= middle).all(axis=1))
    at = np.where(inside[:, None], way.hk, 0) + middle
    rows = np.where(inside, place[at[:, 0], at[:, 1]], -1)
    indexed = way.indexed & (rows >= 0)
    residual = np.log(query.spots.intensity[indexed]) - level[rows[indexed]]
    seen = -(residual**2) / (2 * camera.noise**2) - log(camera.noise * np.sqrt(2 * pi))
    missing = np.hypot(*(hk @ way.basis).T) < camera.q_max
    missing[rows[indexed]] = False
    hidden = instrument.lost + (1 - instrument.lost) * ndtr(
        (log(camera.faintest) - level[missing]) / camera.noise
    )
    return float(seen.sum() + np.log(hidden).sum()) - 20.0 * int((way.indexed & (rows < 0)).sum())


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    add_displacement_option(parser)
    parser.add_argument("--scale", choices=["known", "unknown"], default="known")
    return parser.parse_args()


if __name__ == "__main__":
    main()
