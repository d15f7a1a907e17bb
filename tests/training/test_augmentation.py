"""Each effect of an instrument by itself."""

from dataclasses import replace

import numpy as np
import pytest

from model.crystal.crystal import Crystal
from model.towers.tokens import PatternBatch
from model.training.augmentation import CLEAN, FIXED, TRAINING, Instrument, observe
from model.training.pool import Draws, simulate_patterns

COUNT = 400


@pytest.fixture(scope="module")
def pattern(crystals: list[Crystal]) -> tuple[np.ndarray, np.ndarray]:
    """q (P, 2) and ln I (P, 2) of one crystal, tilted so that Friedel pairs differ."""
    draws = Draws(*(np.array([v]) for v in (80.0, 3.0, 20.0, 0.0, 0.5, False, False)))
    q, log_intensity, _ = simulate_patterns(crystals[0], draws, np.random.default_rng(0))
    return q.astype(np.float32), log_intensity[0].astype(np.float32)


def seen(
    pattern: tuple[np.ndarray, np.ndarray], instrument: Instrument, seed: int = 0, count: int = COUNT
) -> PatternBatch:
    q, log_intensity = pattern
    return observe(
        np.tile(q, (count, 1, 1)),
        np.tile(log_intensity, (count, 1, 1)),
        np.ones((count, len(q)), dtype=bool),
        np.full(count, 80, dtype=np.float32),
        instrument,
        np.random.default_rng(seed),
    )


def test_a_fixed_instrument_without_noise_changes_nothing(pattern: tuple[np.ndarray, np.ndarray]) -> None:
    batch = seen(pattern, FIXED, count=1)
    q, log_intensity = pattern
    there = batch.present[0]
    mean = np.log(np.exp(log_intensity).mean(axis=1))
    order = np.argsort(-mean, kind="stable")[: int(there.sum())]
    np.testing.assert_allclose(batch.q[0][there], q[order], atol=1e-6)
    np.testing.assert_allclose(batch.log_intensity[0][there], (mean - mean.max())[order], atol=1e-4)
    both = batch.paired[0][there].numpy()
    ratio = log_intensity[order, 0] - log_intensity[order, 1]
    np.testing.assert_allclose(batch.log_ratio[0][there][both], ratio[both], atol=1e-4)
    assert batch.has_intensity.all()


def test_turning_keeps_lengths_and_mirrors_half(pattern: tuple[np.ndarray, np.ndarray]) -> None:
    batch, fixed = seen(pattern, CLEAN), seen(pattern, FIXED)
    np.testing.assert_allclose(batch.q.norm(dim=2), fixed.q.norm(dim=2), atol=1e-5)
    first, second = batch.q[:, 0], batch.q[:, 1]
    side = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sign()
    assert float((side > 0).float().mean()) == pytest.approx(0.5, abs=0.1)


def test_the_scale_error_has_the_given_spread_and_never_exceeds_three_percent(
    pattern: tuple[np.ndarray, np.ndarray],
) -> None:
    exact = seen(pattern, FIXED, count=1).q[0, 0].norm()
    for sigma in (0.005, 0.5):
        scale = seen(pattern, replace(CLEAN, scale_sigma=sigma)).q[:, 0].norm(dim=1) / exact - 1
        assert float(scale.abs().max()) <= 0.03 + 1e-5
        if sigma < 0.01:
            assert float(scale.std()) == pytest.approx(sigma, rel=0.2)


def test_intensity_noise_is_of_the_logarithm(pattern: tuple[np.ndarray, np.ndarray]) -> None:
    noisy = seen(pattern, replace(FIXED, intensity_noise=(0.2, 0.2)))
    quiet = seen(pattern, FIXED, count=1)
    both = noisy.paired & noisy.present
    ratio = noisy.log_ratio[both]
    spread = float(ratio.std() ** 2 - quiet.log_ratio[quiet.paired].std() ** 2) ** 0.5
    assert spread == pytest.approx(0.2 * 2**0.5, rel=0.15)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_lost_spots(pattern: tuple[np.ndarray, np.ndarray], share: float) -> None:
    def spots(batch: PatternBatch) -> float:
        return float((batch.present.sum() + batch.paired.sum()) / len(batch))

    wide = replace(FIXED, range_decades=(6.0, 6.0))
    kept = spots(seen(pattern, replace(wide, lost=(share, share)))) / spots(seen(pattern, wide))
    assert kept == pytest.approx(1 - share, abs=0.03)


def test_range_of_radius_and_of_intensity(pattern: tuple[np.ndarray, np.ndarray]) -> None:
    batch = seen(pattern, replace(CLEAN, q_max=(0.9, 0.9), q_min=(0.4, 0.4), range_decades=(1.0, 1.0)))
    length = batch.q.norm(dim=2)[batch.present]
    assert float(length.max()) < 0.9
    assert float(length.min()) > 0.4
    level = batch.log_intensity[batch.present]
    assert float(level.min()) > -np.log(10) - np.log(2) - 1e-4  # a lone member counts as half of its pair


def test_false_spots_are_weak_and_at_most_the_given_number(pattern: tuple[np.ndarray, np.ndarray]) -> None:
    narrow = replace(FIXED, q_max=(0.8, 0.8))
    true = seen(pattern, narrow, count=1)
    batch = seen(pattern, replace(narrow, false_spots=4))
    more = batch.present.sum(1) - true.present.sum()
    assert 0 <= int(more.min()) < int(more.max()) <= 4
    added = batch.log_intensity[batch.present].sort().values[: int(more.sum())]
    assert float(added.max()) <= -3.0 + 1e-4 or float(true.log_intensity.min()) < -3.0


def test_patterns_without_intensities_hold_none(pattern: tuple[np.ndarray, np.ndarray]) -> None:
    batch = seen(pattern, replace(CLEAN, geometry_share=1.0))
    assert not batch.has_intensity.any()
    assert not batch.log_intensity.any()
    assert not batch.log_ratio.any()
    assert (batch.q.norm(dim=2).diff(dim=1)[batch.present[:, 1:]] >= -1e-6).all()


def test_training_patterns_keep_at_least_one_pair_and_are_finite(
    pattern: tuple[np.ndarray, np.ndarray],
) -> None:
    batch = seen(pattern, replace(TRAINING, lost=(0.95, 0.99)))
    assert int(batch.present.sum(1).min()) >= 1
    for values in (batch.q, batch.log_intensity, batch.log_ratio):
        assert values.isfinite().all()
    assert (batch.log_intensity <= 0).all()


def test_the_seed_decides(pattern: tuple[np.ndarray, np.ndarray]) -> None:
    one, same, other = (seen(pattern, TRAINING, seed, count=8) for seed in (1, 1, 2))
    assert one.q.equal(same.q)
    assert not one.q.equal(other.q)
