"""A worker that may use no more memory says so, and goes on."""

import subprocess
import sys

import pytest

from app.workers.handlers import JobHandler
from app.workers.memory import limit_memory
from app.workers.messages import CanaryJob, Failure, Outcome
from model.errors import TooLargeError
from tests.app.stand_in import StandIn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the limit")

# Run in a process of its own: the limit cannot be taken back.
_ALLOCATE = """
import numpy, torch
from app.workers.memory import is_out_of_memory, limit_memory
limit_memory(2**26)
for allocate in (lambda: bytes(2**27), lambda: numpy.ones(2**24), lambda: torch.ones(2**25)):
    try:
        allocate()
    except Exception as error:
        assert is_out_of_memory(error), error
    else:
        raise AssertionError("more than is allowed")
    numpy.ones(2**20)
"""


def test_too_large_an_allocation_fails_and_later_ones_succeed() -> None:
    subprocess.run([sys.executable, "-c", _ALLOCATE], check=True)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_job_that_needs_too_much_memory_is_too_large(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_job: object) -> None:
        raise error

    handler = JobHandler(StandIn())
    monkeypatch.setattr(handler, "_handle", fail)
    outcomes: list[Outcome] = []
    handler.handle([CanaryJob()], lambda _, outcome: outcomes.append(outcome), lambda _: None)
    (failure,) = outcomes
    assert isinstance(failure, Failure)
    assert isinstance(failure.to_error(), TooLargeError)


def test_without_a_report_of_the_use_there_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: "")
    monkeypatch.delattr("resource.setrlimit")
    limit_memory(0)
