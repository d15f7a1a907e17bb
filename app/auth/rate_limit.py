"""How often somebody may ask: token buckets, in bounded memory."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

MOST_REMEMBERED = 10_000


class TokenBuckets:
    """A bucket for each name: so many at once, then so many a minute.

    Used by the event loop alone, so it needs no lock. Who has not asked for longest is forgotten first, and starts
    with a full bucket again.

    Args:
        per_minute: tokens that come back.
        burst: tokens that a bucket holds.
        clock: seconds.
        most: names that are remembered.
    """

    def __init__(
        self,
        per_minute: float,
        burst: int,
        clock: Callable[[], float] = monotonic,
        most: int = MOST_REMEMBERED,
    ) -> None:
        self._per_second = per_minute / 60.0
        self._burst = float(burst)
        self._clock = clock
        self._most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when

    def take(self, name: str) -> float:
        """Take a token: 0, or the seconds until there is one."""
        now = self._clock()
        tokens, since = self._buckets.get(name, (self._burst, now))
        tokens = min(self._burst, tokens + self._per_second * (now - since))
        wait = max(0.0, (1.0 - tokens) / self._per_second)
        self._buckets[name] = (tokens if wait else tokens - 1.0, now)
        self._buckets.move_to_end(name)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return wait

    def __len__(self) -> int:
        return len(self._buckets)


def network_of(address: str) -> str:
    """Whom an address stands for: itself, or its network of 64 bits, of which one IPv6 client has all."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
