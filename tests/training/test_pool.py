"""The pool holds simulated patterns that depend only on the seed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.crystal.crystal import Crystal
from model.physics.kinematic import Geometry, ThermalMotion, compute_structure_factors
from model.training.augmentation import FIXED
from model.training.dataset import Dataset, order_by_neighborhood, sample_at_most
from model.training.pool import MAX_TILT_DEG, PERFECT_DRAW, POOL_Q_MAX, Draws, PatternPool, simulate_patterns


def one_draw(**given: float) -> Draws:
    values = {
        "voltage_kv": 120.0,
        "tilt_deg": 2.5,
        "azimuth_deg": 70.0,
        "displacement_angstrom": 0.0,
        "b_iso": 0.4,
        "dynamical": False,
        "face_down": False,
    }
    return Draws(**{name: np.array([value]) for name, value in (values | given).items()})


def test_a_kinematic_draw_is_the_kinematic_pattern(crystals: list[Crystal]) -> None:
    q, log_intensity, voltage = simulate_patterns(crystals[3], one_draw(), np.random.default_rng(0))
    geometry = Geometry(voltage_kv=120, q_max_inv_angstrom=POOL_Q_MAX, tilt_deg=2.5, tilt_azimuth_deg=70)
    reflections = compute_structure_factors(crystals[3], geometry, ThermalMotion(0.4, 0.4))
    expected = {
        tuple(place): value
        for place, value in zip(
            reflections.q_inv_angstrom.round(4), np.log(reflections.intensity), strict=True
        )
    }
    strongest = max(expected.values())
    for place, pair in zip(q, log_intensity[0], strict=True):
        assert pair[0] == pytest.approx(expected[tuple(place.round(4))] - strongest, abs=1e-6)
        assert pair[1] == pytest.approx(expected[tuple((-place).round(4))] - strongest, abs=1e-6)
    assert voltage.tolist() == [120.0]


def test_multislice_draws_are_near_kinematic_ones_but_not_the_same(crystals: list[Crystal]) -> None:
    rng = np.random.default_rng(0)
    _, once, _ = simulate_patterns(crystals[3], one_draw(dynamical=False), rng)
    _, often, _ = simulate_patterns(crystals[3], one_draw(dynamical=True), rng)
    strong = once[0] > -5
    assert 0.01 < float(np.abs(often[0] - once[0])[strong].mean()) < 1.0


def test_draws_cover_the_stated_ranges() -> None:
    draws = Draws.draw_random(4000, np.random.default_rng(0))
    assert 60 <= draws.voltage_kv.min() < 62
    assert 290 < draws.voltage_kv.max() <= 300
    assert (draws.voltage_kv == 80).mean() == pytest.approx(0.5, abs=0.03)
    assert 0.97 * MAX_TILT_DEG < draws.tilt_deg.max() <= MAX_TILT_DEG
    assert (draws.tilt_deg < 0.3).mean() == pytest.approx(0.29, abs=0.03)


def test_one_draw_of_each_crystal_is_perfect(dataset: Dataset) -> None:
    draws = Draws.draw_random(24, np.random.default_rng(0))
    first = [
        getattr(draws, name)[PERFECT_DRAW] for name in ("voltage_kv", "tilt_deg", "displacement_angstrom")
    ]
    assert first == [80.0, 0.0, 0.0]
    rows = np.arange(len(dataset.crystals))
    one, other = (
        dataset.draw_patterns(rows, FIXED, np.random.default_rng(seed), PERFECT_DRAW) for seed in (0, 1)
    )
    torch.testing.assert_close(one.log_intensity, other.log_intensity)
    anything = dataset.draw_patterns(rows, FIXED, np.random.default_rng(0))
    assert not torch.equal(one.voltage_kv, anything.voltage_kv)


def test_the_papers_draws_are_straight_and_kinematic() -> None:
    draws = Draws.draw_paper(400, np.random.default_rng(0))
    assert not draws.tilt_deg.any()
    assert not draws.dynamical.any()
    assert set(draws.displacement_angstrom) == {0.0, 0.1}


def test_a_pool_is_read_as_it_was_written(dataset: Dataset, tmp_path: Path) -> None:
    dataset.pool.save(tmp_path / "pool.npz")
    read = PatternPool.load(tmp_path / "pool.npz")
    for name in ("q", "log_intensity", "voltage_kv", "present"):
        np.testing.assert_array_equal(getattr(read, name), getattr(dataset.pool, name))
    assert [path.name for path in tmp_path.iterdir()] == ["pool.npz"]


def test_the_cache_belongs_to_its_data(crystals: list[Crystal], tmp_path: Path) -> None:
    for some, seed in ((crystals[:3], 0), (crystals[:3], 0), (crystals[:3], 1), (crystals[1:4], 0)):
        Dataset.build(some, draws=1, seed=seed, held_out=(), cache=tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 3


def test_neighborhoods_hold_each_crystal_once_and_group_similar_crystals() -> None:
    import torch

    rng = np.random.default_rng(0)
    kinds = rng.permutation(np.repeat(np.arange(16), 8))
    vectors = torch.eye(16)[torch.from_numpy(kinds)]
    order = order_by_neighborhood(vectors, leaf=8, rng=rng)
    assert sorted(order) == list(range(128))
    different = [len(set(kinds[order[i : i + 8]])) for i in range(0, 128, 8)]
    by_chance = [len(set(kinds[i : i + 8])) for i in range(0, 128, 8)]
    assert np.mean(different) < 0.8 * np.mean(by_chance)


def test_an_epoch_draws_at_most_so_many_crystals_of_a_formula_and_other_ones_each_time() -> None:
    rng = np.random.default_rng(0)
    names = ["MoS2"] * 50 + ["C", "BN"]
    first, second = (sample_at_most(names, 4, rng) for _ in range(2))
    for rows in (first, second):
        assert len(set(rows)) == len(rows) == 6
        assert {50, 51} <= set(rows)
    assert set(first) != set(second)
