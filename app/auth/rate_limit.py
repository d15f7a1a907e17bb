"""Rate limits as token buckets, in bounded memory."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

MAX_CLIENTS = 10_000


class RateLimiter:
    """Allows each client a burst of requests, then a steady rate.

    Only the event loop uses it, so it needs no lock. The least recently seen client is forgotten first and starts
    again with a full bucket.

    Args:
        per_minute: sustained rate.
        burst: capacity of a bucket.
        clock: monotonic time in seconds.
        max_clients: number of buckets kept.
    """

    def __init__(
        self,
        per_minute: float,
        burst: int,
        clock: Callable[[], float] = monotonic,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self._per_second = per_minute / 60.0
        self._burst = float(burst)
        self._clock = clock
        self._max_clients = max_clients
        self._buckets: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # tokens, time of the last update

    def acquire(self, client: str) -> float:
        """Take a token and return 0, or return the seconds until one is available."""
        now = self._clock()
        tokens, updated = self._buckets.get(client, (self._burst, now))
        tokens = min(self._burst, tokens + self._per_second * (now - updated))
        wait_s = max(0.0, (1.0 - tokens) / self._per_second)
        self._buckets[client] = (tokens if wait_s else tokens - 1.0, now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return wait_s

    def __len__(self) -> int:
        return len(self._buckets)


def client_network(address: str) -> str:
    """Return the address under which a client is counted: its IPv4 address, or its IPv6 network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
