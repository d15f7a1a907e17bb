"""The reader of scans keeps a file in memory no longer than it exists."""

from pathlib import Path

import pytest

from app.workers.handlers import JobHandler
from app.workers.messages import Failure, Outcome, ProvenanceJob
from model.errors import UnreadableError
from tests.app.stand_in import StandIn


def test_a_deleted_file_is_released_at_the_next_job(tmp_path: Path, point_file: bytes) -> None:
    path = tmp_path / "0"
    path.write_bytes(point_file)
    handler = JobHandler(StandIn())
    assert handler._scan.read_data(path) == point_file
    path.unlink()
    assert handler._scan.read_data(path) == point_file
    outcomes: list[Outcome] = []
    handler.handle([ProvenanceJob()], lambda _index, outcome: outcomes.append(outcome), lambda _: None)
    assert not isinstance(outcomes[0], Failure)
    with pytest.raises(UnreadableError, match="No such file"):
        handler._scan.read_data(path)
