"""Vectors do not depend on the description of a crystal or on the orientation of its pattern."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.pattern.spots import Spots
from model.physics.kinematic import Geometry, ThermalMotion, compute_kinematic_spots
from model.towers.encoder import Towers
from tests.crystal.descriptions import CHANGES
from tests.crystal.layers import NAMES, Cell, layers

CELLS = layers()
TILTED = Geometry(tilt_deg=3.0, tilt_azimuth_deg=25.0)


def crystal_of(cell: Cell) -> Crystal:
    return Crystal.from_cell(*cell, id="some", source="test")


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(one[0] @ other[0])


@pytest.mark.parametrize("name", NAMES)
@given(change=st.sampled_from(CHANGES), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=6)
def test_descriptions_of_a_crystal(
    towers: Towers, name: str, change: Callable[[Cell, np.random.Generator], Cell], seed: int
) -> None:
    cell = CELLS[name]
    one, other = crystal_of(cell), crystal_of(change(cell, np.random.default_rng(seed)))
    assert cosine(towers.embed_crystals([one]), towers.embed_crystals([other])) > 0.999
    ours, theirs = compute_kinematic_spots(one, TILTED), compute_kinematic_spots(other, TILTED)
    np.testing.assert_allclose(ours.q_inv_angstrom, theirs.q_inv_angstrom, atol=1e-4)
    assert cosine(towers.embed_spots([ours]), towers.embed_spots([theirs])) > 0.999


@pytest.mark.parametrize("name", NAMES)
@given(degrees=st.floats(0, 360), mirrored=st.booleans(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=6)
def test_the_pattern_turned_mirrored_and_in_another_order(
    towers: Towers, name: str, degrees: float, mirrored: bool, seed: int
) -> None:
    crystal = crystal_of(CELLS[name])
    oriented = compute_kinematic_spots(
        crystal, Geometry(tilt_deg=3.0, rotation_deg=degrees, mirrored=mirrored)
    )
    order = np.random.default_rng(seed).permutation(len(oriented))
    assert oriented.intensity is not None
    shuffled = Spots(oriented.q_inv_angstrom[order], oriented.intensity[order] * 7.0, voltage_kv=80)
    straight = compute_kinematic_spots(crystal, Geometry(tilt_deg=3.0))
    assert cosine(towers.embed_spots([straight]), towers.embed_spots([shuffled])) > 0.999


def test_different_crystals_and_tilts_differ(towers: Towers, crystals: list[Crystal]) -> None:
    vectors = towers.embed_crystals(crystals)
    assert (vectors @ vectors.T - 2 * np.eye(len(vectors))).max() < 0.9999
    thick = next(crystal for crystal in crystals if crystal.id == "black phosphorus")
    straight, tilted = (compute_kinematic_spots(thick, Geometry(tilt_deg=tilt)) for tilt in (0.0, 4.0))
    assert cosine(towers.embed_spots([straight]), towers.embed_spots([tilted])) < 0.9999


def test_a_crystals_vector_does_not_depend_on_its_company(towers: Towers, crystals: list[Crystal]) -> None:
    together = towers.embed_crystals(crystals)
    alone = np.concatenate([towers.embed_crystals([crystal]) for crystal in crystals])
    np.testing.assert_allclose(together, alone, atol=2e-5)
    patterns = [compute_kinematic_spots(crystal, thermal=ThermalMotion(0.5, 0.5)) for crystal in crystals]
    together = towers.embed_spots(patterns)
    alone = np.concatenate([towers.embed_spots([pattern]) for pattern in patterns])
    np.testing.assert_allclose(together, alone, atol=2e-5)
