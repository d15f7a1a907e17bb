"""The orientations in which lattices lie on spots."""

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


def observe(spots: Spots) -> Observation:
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
def test_the_true_lattice_meets_its_spots_in_any_orientation(
    name: str, rotation: float, mirrored: bool, scale: float, ellipticity: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    spots = simulate_pattern(LAYERS[name], FlakePose(0.0, 0.0, rotation, mirrored, scale), rng)
    stretched = Spots(
        spots.q_inv_angstrom * np.array([1 + ellipticity, 1 - ellipticity]), spots.intensity, voltage_kv=80.0
    )
    orientations = find_orientations(LAYERS[name].lattice[None], observe(stretched))
    assert len(orientations) >= 1
    seen = min(len(stretched), MAX_SPOTS)
    assert (
        orientations.on_lattice.sum(axis=1).max() >= seen - 4
    )  # two spots are false, two more may be far off
    best = orientations.basis[orientations.score.argmax()]
    area = 1 / abs(np.linalg.det(LAYERS[name].lattice))
    assert abs(np.linalg.det(best)) == pytest.approx(area * scale**2, rel=0.01)


def test_lattices_that_do_not_fit_meet_few_spots() -> None:
    spots = simulate_pattern(LAYERS["graphene"], FlakePose(rotation_deg=5.0))
    orientations = find_orientations(
        np.stack([LAYERS["graphene"].lattice, LAYERS["black phosphorus"].lattice]), observe(spots)
    )
    best = [orientations.score[orientations.candidate == row].max(initial=0.0) for row in (0, 1)]
    assert best[0] > len(spots) - 1
    assert best[1] < len(spots) / 2


@pytest.mark.parametrize(
    ("name", "count"), [("graphene", 12), ("black phosphorus", 4), ("oblique", 2), ("nearly rectangular", 4)]
)
def test_a_lattice_has_the_symmetries_of_its_system(name: str, count: int) -> None:
    crystal = LAYERS[name]
    basis = reciprocal_lattice(crystal.lattice)
    spots = simulate_pattern(crystal, FlakePose())
    hk = np.rint(spots.q_inv_angstrom @ np.linalg.inv(basis)).astype(np.int64)
    (changes,) = find_lattice_symmetries(basis[None])
    bases, indices = changes @ basis, hk @ invert_changes(changes)
    assert len(bases) == count
    for variant, own in zip(bases, indices, strict=True):
        assert np.allclose(own @ variant, hk @ basis)
    assert any(np.array_equal(own, hk) for own in indices)


def test_only_the_strongest_spots_within_range_are_compared() -> None:
    rng = np.random.default_rng(0)
    q = rng.uniform(-1.1, 1.1, (300, 2))
    intensity = rng.uniform(0.1, 1.0, 300)
    q[0], intensity[0] = (0.001, 0.0), 50.0  # the direct beam, listed among the spots
    q[1], intensity[1] = (3.0, 0.0), 20.0
    observation = observe(Spots(q, intensity))
    assert len(observation) == MAX_SPOTS
    assert observation.log_intensity[0] == 0.0
    assert np.linalg.norm(observation.q_inv_angstrom, axis=1).max() < 1.6


def test_a_crystal_and_its_supercell_meet_the_same_spots(crystal: Crystal) -> None:
    spots = simulate_pattern(crystal, FlakePose(rotation_deg=12.0))
    lattices = np.stack([crystal.lattice, crystal.lattice * 2])
    orientations = find_orientations(lattices, observe(spots))
    for row in (0, 1):
        assert orientations.on_lattice[orientations.candidate == row].sum(axis=1).max() == len(observe(spots))
    # The denser lattice would meet more by chance, so it scores lower.
    assert (
        orientations.score[orientations.candidate == 0].max()
        > orientations.score[orientations.candidate == 1].max()
    )
