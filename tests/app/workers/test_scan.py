"""Files with many images, as a worker keeps them between its jobs."""

from pathlib import Path

import pytest

from app.workers.handlers import Desk
from app.workers.messages import Failure, Job, Outcome
from model.errors import UnreadableError
from tests.app.stand_in import StandIn


def test_a_file_that_has_gone_is_let_go_of_with_the_next_job(tmp_path: Path, point_file: bytes) -> None:
    path = tmp_path / "0"
    path.write_bytes(point_file)
    desk = Desk(StandIn())
    assert desk._scan.data(path) == point_file
    path.unlink()
    assert desk._scan.data(path) == point_file
    outcomes: list[Outcome] = []
    desk.compute([Job("serving")], lambda _place, outcome: outcomes.append(outcome))
    assert not isinstance(outcomes[0], Failure)
    with pytest.raises(UnreadableError, match="No such file"):
        desk._scan.data(path)
