"""Large bodies are read by turns, so that many of them delay nobody else."""

import asyncio
from collections import deque

from uvicorn.protocols.http.flow_control import FlowControl

# Of 64 KiB each, which takes less than a millisecond.
TURNS_PER_PASS = 4


class ReadTurns:
    """Lets few connections be read in each pass of the event loop. An ordinary request takes about ten passes.

    Every other turn goes to the body of which least has arrived, so that the largest do not delay ordinary ones.
    """

    def __init__(self) -> None:
        self._waiting: deque[TurnedFlow] = deque()

    def wait(self, flow: "TurnedFlow") -> None:
        """Have a connection read when its turn comes."""
        self._waiting.append(flow)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._grant)

    def _grant(self) -> None:
        for number in range(min(TURNS_PER_PASS, len(self._waiting))):
            smallest = min(self._waiting, key=lambda flow: flow.body_bytes)
            flow = smallest if number % 2 else self._waiting[0]
            self._waiting.remove(flow)
            flow.read()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._grant)


class TurnedFlow(FlowControl):
    """The flow control of one connection, which reads a large body only when its turn comes.

    Args:
        transport: the connection.
        turns: the turns of all connections.
    """

    def __init__(self, transport: asyncio.Transport, turns: ReadTurns) -> None:
        super().__init__(transport)
        self._turns = turns
        self._is_waiting = False
        self._takes_turns = False
        self.body_bytes = 0

    def take_turns(self, body_bytes: int, *, has_reader: bool) -> None:
        """Read no more until a turn comes, which the reader of the body asks for, if it has one.

        Args:
            body_bytes: what has arrived of the body.
            has_reader: whether the application reads the body.
        """
        self._takes_turns, self.body_bytes = True, body_bytes
        self.pause_reading()
        if not has_reader:
            self.resume_reading()

    def read_freely(self) -> None:
        """Need no turns any more."""
        self._takes_turns = False

    def resume_reading(self) -> None:
        """Read on, at once or when the turn comes."""
        if not self._takes_turns:
            super().resume_reading()
        elif self.read_paused and not self._is_waiting:
            self._is_waiting = True
            self._turns.wait(self)

    def read(self) -> None:
        """Read on."""
        self._is_waiting = False
        super().resume_reading()
