import numpy as np
import pytest
from numpy.typing import NDArray

from model.pattern.beam_center.spot_lattice import SpotLattice, is_half_node, move_to_lattice_node
from model.pattern.beam_center.symmetry_center import Center
from model.pattern.options import PatternOptions
from model.pattern.read import read_pattern
from tests.paths import SHARED

FORMATS = SHARED / "data" / "patterns" / "formats"
VIEW = (-400.0, -400.0, 400.0, 400.0)
BASIS = np.array([[41.0, 3.0], [-12.0, 33.0]])


def make_pattern(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Make spots about 0, 0 without the direct beam, with different intensities of Friedel mates."""
    rng = np.random.default_rng(seed)
    index = np.array([(h, k) for h in range(-6, 7) for k in range(-6, 7) if h or k])
    pixels = index @ BASIS + rng.normal(0, 0.4, (len(index), 2))
    radius = np.hypot(*pixels.T)
    own = {tuple(each): rng.normal(0, 1) for each in index.tolist()}
    log = np.array([own[min((h, k), (-h, -k))] for h, k in index.tolist()]) - radius / 50
    kept = (radius < 200) & (rng.random(len(index)) > 0.1)
    return pixels[kept], np.exp(log + rng.normal(0, 0.3, len(index)))[kept]


@pytest.mark.parametrize("half", [(0.5, 0.0), (0.0, -0.5), (0.5, 0.5), (-0.5, 0.5)])
@pytest.mark.parametrize("seed", range(5))
def test_moves_a_center_at_a_half_node_to_the_direct_beam(seed: int, half: tuple[float, float]) -> None:
    pixels, strength = make_pattern(seed)
    x, y = (np.array(half) @ BASIS).tolist()
    center = move_to_lattice_node(pixels, strength, Center(x, y, 10, 0.9), VIEW)
    assert np.hypot(center.x, center.y) < 0.6


def test_keeps_a_center_at_a_node() -> None:
    pixels, strength = make_pattern(7)
    given = Center(0.3, -0.2, 10, 0.9)
    assert move_to_lattice_node(pixels, strength, given, VIEW) is given


def test_keeps_the_center_of_spots_without_a_lattice() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.uniform(-200, 200, (60, 2))
    assert SpotLattice.fit(pixels, np.ones(60), np.zeros(2)) is None
    given = Center(3.0, 4.0, 10, 0.9)
    assert move_to_lattice_node(pixels, np.ones(60), given, VIEW) is given


def test_finds_the_basis_and_half_nodes() -> None:
    pixels, strength = make_pattern(3)
    lattice = SpotLattice.fit(pixels, strength, np.array([15.0, 20.0]))
    assert lattice is not None
    assert abs(np.linalg.det(lattice.basis)) == pytest.approx(abs(np.linalg.det(BASIS)), rel=0.01)
    assert is_half_node(lattice, BASIS[0] * 1.5)
    assert not is_half_node(lattice, BASIS[0])
    assert not is_half_node(lattice, BASIS[0] * 0.25)


@pytest.mark.skipif(not FORMATS.is_dir(), reason="the shared patterns are not beside the project")
def test_the_center_of_a_recorded_pattern_of_discs_is_a_disc() -> None:
    spots = read_pattern((FORMATS / "dd020.dm3").read_bytes(), "dd020.dm3", PatternOptions())
    assert spots.center_px == pytest.approx((135.5, 101.0), abs=2.5)
    assert spots.exposure is not None
    assert spots.exposure.paired_fraction > 0.9
