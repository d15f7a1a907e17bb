"""Token buckets, by a clock that the test moves."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.rate_limit import TokenBuckets, network_of


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_the_rate() -> None:
    clock = Clock()
    buckets = TokenBuckets(60, 3, clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 1]
    clock.now = 0.75
    assert buckets.take("a") == pytest.approx(0.25)
    clock.now = 1.0
    assert buckets.take("a") == 0
    assert buckets.take("a") == pytest.approx(1.0)


def test_names_do_not_share() -> None:
    buckets = TokenBuckets(1, 1, Clock())
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0


@given(
    steps=st.lists(st.floats(0, 30), min_size=1, max_size=60),
    per_minute=st.floats(0.5, 600),
    burst=st.integers(1, 20),
)
def test_no_more_than_the_rate_ever_and_the_wait_is_true(
    steps: list[float], per_minute: float, burst: int
) -> None:
    clock = Clock()
    buckets = TokenBuckets(per_minute, burst, clock)
    taken = 0
    for step in steps:
        clock.now += step
        wait = buckets.take("a")
        taken += wait == 0
        if wait:
            clock.now += wait * (1 + 1e-9) + 1e-9
            assert buckets.take("a") == 0
            taken += 1
    assert Fraction(taken) <= burst + Fraction(per_minute) / 60 * Fraction(clock.now) + Fraction(1, 1000)


def test_memory_is_bounded() -> None:
    buckets = TokenBuckets(1, 1, Clock(), most=100)
    for name in range(1000):
        buckets.take(str(name))
    assert len(buckets) == 100
    assert buckets.take("999") > 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_whom_an_address_stands_for(address: str, network: str) -> None:
    assert network_of(address) == network
