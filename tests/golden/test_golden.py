"""The service answers as it did when `recording.jsonl` was made."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.golden import renames
from tests.golden.cases import list_cases
from tests.golden.comparison import compare_records
from tests.golden.messages import Case
from tests.golden.records import Record, read_recording, record_case
from tests.golden.service import Service, build_index, run_service
from tests.golden.translation import restore_keys

CASES = list_cases()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for each process of pytest; they share the index."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    index = shared / "golden-index"
    with (shared / "golden-index.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not index.exists():
            build_index(index)
    with run_service(index, tmp_path_factory.mktemp("golden")) as service:
        yield service


@pytest.fixture(scope="session")
def recording() -> dict[str, Record]:
    return read_recording()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_answer_is_as_recorded(service: Service, recording: dict[str, Record], case: Case) -> None:
    differences = [
        f"{found['id']}: {difference}"
        for found in record_case(service, case)
        for difference in compare_records(recording[found["id"]], found, exact=False)
    ]
    assert not differences, "\n".join(differences)


def test_every_recorded_answer_belongs_to_a_case(recording: dict[str, Record]) -> None:
    assert {id.partition("#")[0] for id in recording} == {case.id for case in CASES}


def test_keys_are_restored_by_their_paths() -> None:
    keys = {
        "candidates[].also": "candidates[].same_as",
        "match": "fit",
        "match.extra": "fit.unexplained",
        "query.twist": "twist",
    }
    answer = {
        "candidates": [{"same_as": ["a", "b"], "fit": {"unexplained": 0.1, "scale": 1.0}}, {"same_as": []}],
        "same_as": ["c"],
        "twist": None,
        "query": {"spots": 3},
    }
    assert restore_keys(answer, keys) == {
        "candidates": [{"also": ["a", "b"], "match": {"extra": 0.1, "scale": 1.0}}, {"also": []}],
        "same_as": ["c"],
        "query": {"twist": None, "spots": 3},
    }


def test_a_difference_in_any_kind_of_value_is_found(recording: dict[str, Record]) -> None:
    recorded = recording["predict/points/verify/mos2"]
    body = recorded["body"]
    first, *others = body["candidates"]
    changed = [
        {**recorded, "status": 500},
        {**recorded, "body": {**body, "verdict": "no_match"}},
        {**recorded, "body": {**body, "candidates": others}},
        {**recorded, "body": {**body, "candidates": [*others, first]}},
        {**recorded, "body": {**body, "query": {**body["query"], "scale_sigma": 0.0131}}},
        {**recorded, "body": {**body, "candidates": [{**first, "similarity": 0.3}, *others]}},
        {**recorded, "body": {**body, "color": "blue"}},
    ]
    assert compare_records(recorded, recorded, exact=True) == []
    for each in changed:
        assert compare_records(recorded, each, exact=False) != []


def test_the_table_of_renames_is_unambiguous() -> None:
    tables = (renames.KEYS, renames.OPTIONS, renames.PROBLEMS, renames.SETTINGS)
    for table in (*tables, *renames.VALUES.values(), *renames.OPTION_VALUES.values()):
        assert len(set(table.values())) == len(table)
    assert Path(__file__).with_name("recording.jsonl").stat().st_size < 2e6
