"""Which crystals can have a pattern's lattice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.indexing.lattice_table import LatticeTable

CELLS = np.array(
    [
        [[3.16, 0.0], [-1.58, 1.58 * np.sqrt(3)]],
        [[3.16, 0.0], [0.0, 5.47]],
        [[3.6, 0.0], [-0.9, 5.1]],
        [[3.0, 0.0], [0.0, 21.0]],
    ]
)
TABLE = LatticeTable.from_cells(CELLS)
UNIMODULAR = st.sampled_from(
    [((1, 0), (0, 1)), ((1, 3), (0, 1)), ((2, 1), (1, 1)), ((0, 1), (1, 0)), ((1, 0), (-4, 1))]
)


@settings(max_examples=80, deadline=None)
@given(
    row=st.integers(0, 3),
    change=UNIMODULAR,
    angle=st.floats(0, 360),
    scale=st.floats(0.5, 2.0),
    strain=st.floats(-0.01, 0.01),
    mirrored=st.booleans(),
)
def test_any_basis_rotated_mirrored_and_slightly_strained_matches_its_crystal(
    row: int, change: tuple[tuple[int, int], ...], angle: float, scale: float, strain: float, mirrored: bool
) -> None:
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[cosine, sine], [-sine, cosine]]) * ([-1, 1] if mirrored else [1, 1])
    strained = np.diag([1 + strain, 1 - strain])
    basis = np.array(change) @ np.linalg.inv(CELLS[row]).T @ strained @ turn * scale
    matches = TABLE.find_matches(basis)
    (own,) = np.flatnonzero((matches.crystal == row) & np.isclose(matches.scale, scale, rtol=1e-3))
    assert matches.scale[own] == pytest.approx(scale, rel=1e-3)


def test_a_lattice_with_extinctions_matches_its_crystal() -> None:
    basis = np.array([[1, 0], [0, 2]]) @ np.linalg.inv(CELLS[2]).T
    assert 2 in TABLE.find_matches(basis, 0.045).crystal


def test_other_crystals_do_not_match() -> None:
    hexagonal = TABLE.find_matches(np.linalg.inv(CELLS[0]).T, 0.045)
    # Every second spot of the rectangular cell is this lattice: it is orthohexagonal.
    assert set(hexagonal.crystal.tolist()) == {0, 1}
    assert set(TABLE.find_matches(np.linalg.inv(CELLS[0]).T * 1.1, 0.045).crystal.tolist()) == set()
    assert set(TABLE.find_matches(np.linalg.inv(CELLS[3]).T, 0.045).crystal.tolist()) == {3}
