"""How lattices are laid on spots."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.crystal.crystal import Crystal
from model.indexing.orientations import find_lattice_symmetries, find_orientations, invert_changes
from model.pattern.observation import MAX_SPOTS, Observation
from model.pattern.spots import Spots
from model.physics.reciprocal import reciprocal_lattice
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern


def observed(spots: Spots) -> Observation:
    return Observation.from_spots(spots, 80.0)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(list(LAYERS)),
    rotation=st.floats(0, 360),
    mirrored=st.booleans(),
    scale=st.floats(0.97, 1.03),
    ellipticity=st.floats(-0.01, 0.01),
    seed=st.integers(0, 1000),
)
def test_the_true_lattice_meets_its_spots_however_they_lie(
    name: str, rotation: float, mirrored: bool, scale: float, ellipticity: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    spots = simulate_pattern(LAYERS[name], FlakePose(0.0, 0.0, rotation, mirrored, scale), rng)
    stretched = Spots(
        spots.q_inv_angstrom * np.array([1 + ellipticity, 1 - ellipticity]), spots.intensity, voltage_kv=80.0
    )
    found = find_orientations(LAYERS[name].lattice[None], observed(stretched))
    assert len(found) >= 1
    seen = min(len(stretched), MAX_SPOTS)
    assert found.on_lattice.sum(axis=1).max() >= seen - 4  # two spots are false, others may be far off
    best = found.basis[found.score.argmax()]
    area = 1 / abs(np.linalg.det(LAYERS[name].lattice))
    assert abs(np.linalg.det(best)) == pytest.approx(area * scale**2, rel=0.01)


def test_lattices_that_do_not_fit_meet_few_spots() -> None:
    spots = simulate_pattern(LAYERS["graphene"], FlakePose(rotation_deg=5.0))
    found = find_orientations(
        np.stack([LAYERS["graphene"].lattice, LAYERS["black phosphorus"].lattice]), observed(spots)
    )
    best = [found.score[found.candidate == row].max(initial=0.0) for row in (0, 1)]
    assert best[0] > len(spots) - 1
    assert best[1] < len(spots) / 2


@pytest.mark.parametrize(
    ("name", "count"), [("graphene", 12), ("black phosphorus", 4), ("oblique", 2), ("nearly rectangular", 4)]
)
def test_variants_are_those_of_the_lattices_symmetry(name: str, count: int) -> None:
    crystal = LAYERS[name]
    basis = reciprocal_lattice(crystal.lattice)
    spots = simulate_pattern(crystal, FlakePose())
    hk = np.rint(spots.q_inv_angstrom @ np.linalg.inv(basis)).astype(np.int64)
    (changes,) = find_lattice_symmetries(basis[None])
    bases, indices = changes @ basis, hk @ invert_changes(changes)
    assert len(bases) == count
    for own, again in zip(bases, indices, strict=True):
        assert np.allclose(again @ own, hk @ basis)
    assert any(np.array_equal(again, hk) for again in indices)


def test_only_the_strongest_spots_within_range_count() -> None:
    rng = np.random.default_rng(0)
    q = rng.uniform(-1.1, 1.1, (300, 2))
    intensity = rng.uniform(0.1, 1.0, 300)
    q[0], intensity[0] = (0.001, 0.0), 50.0  # the direct beam, listed among the spots
    q[1], intensity[1] = (3.0, 0.0), 20.0
    found = observed(Spots(q, intensity))
    assert len(found) == MAX_SPOTS
    assert found.log_intensity[0] == 0.0
    assert np.linalg.norm(found.q_inv_angstrom, axis=1).max() < 1.6


def test_a_crystal_and_its_supercell_meet_the_same_spots(crystal: Crystal) -> None:
    spots = simulate_pattern(crystal, FlakePose(rotation_deg=12.0))
    lattices = np.stack([crystal.lattice, crystal.lattice * 2])
    found = find_orientations(lattices, observed(spots))
    for row in (0, 1):
        assert found.on_lattice[found.candidate == row].sum(axis=1).max() == len(observed(spots))
    # The denser lattice would meet more by chance, so it scores lower.
    assert found.score[found.candidate == 0].max() > found.score[found.candidate == 1].max()
