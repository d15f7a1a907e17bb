"""The rate limiter, with a clock that the test controls."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.rate_limit import RateLimiter, client_network


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_allows_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    limiter = RateLimiter(60, 3, clock)
    assert [limiter.acquire("a") for _ in range(4)] == [0, 0, 0, 1]
    clock.now = 0.75
    assert limiter.acquire("a") == pytest.approx(0.25)
    clock.now = 1.0
    assert limiter.acquire("a") == 0
    assert limiter.acquire("a") == pytest.approx(1.0)


def test_clients_do_not_share_a_bucket() -> None:
    limiter = RateLimiter(1, 1, Clock())
    assert limiter.acquire("a") == 0
    assert limiter.acquire("a") > 0
    assert limiter.acquire("b") == 0


@given(
    steps=st.lists(st.floats(0, 30), min_size=1, max_size=60),
    per_minute=st.floats(0.5, 600),
    burst=st.integers(1, 20),
)
def test_never_exceeds_the_rate_and_returns_the_exact_wait(
    steps: list[float], per_minute: float, burst: int
) -> None:
    clock = Clock()
    limiter = RateLimiter(per_minute, burst, clock)
    acquired = 0
    for step in steps:
        clock.now += step
        wait = limiter.acquire("a")
        acquired += wait == 0
        if wait:
            clock.now += wait * (1 + 1e-9) + 1e-9
            assert limiter.acquire("a") == 0
            acquired += 1
    assert Fraction(acquired) <= burst + Fraction(per_minute) / 60 * Fraction(clock.now) + Fraction(1, 1000)


def test_memory_is_bounded() -> None:
    limiter = RateLimiter(1, 1, Clock(), max_clients=100)
    for number in range(1000):
        limiter.acquire(str(number))
    assert len(limiter) == 100
    assert limiter.acquire("999") > 0


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
def test_an_address_counts_as_its_network(address: str, network: str) -> None:
    assert client_network(address) == network
