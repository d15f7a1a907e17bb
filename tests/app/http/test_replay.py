"""`POST /replay`: what was answered before, and what would be answered now."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.app.answers import problem_of
from tests.app.http.test_inspect import PIXEL_SIZE, frame
from tests.app.stand_in import StandIn

Points = list[list[float]]


def asked(client: TestClient, points: Points, **options: Any) -> dict[str, Any]:
    response = client.post("/predict", json={"points": points, **options})
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def again(client: TestClient, **content: Any) -> dict[str, Any]:
    response = client.post("/replay", json=content)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_an_answer_tells_its_options(client: TestClient, points: Points) -> None:
    answer = asked(client, points, elements_only=["C", "W", "S"], top_k=2)
    assert answer["query"]["options"] == {"elements_only": ["C", "W", "S"], "top_k": 2}
    assert answer["pattern"] is None


def test_nothing_changes_where_nothing_changed(client: TestClient, library: StandIn, points: Points) -> None:
    answer = asked(client, points, elements_only=["C", "W", "S"], top_k=2, voltage_kv=120, record=True)
    found = again(client, answer=answer)
    assert (found["changed"], found["candidate_changes"], found["provenance_changes"]) == (False, [], {})
    assert found["answer"]["candidates"] == answer["candidates"]
    first, second = library.searches
    assert second["voltage_kv"] == first["voltage_kv"] == 120
    assert second["top_k"] == 2
    assert second["elements"] == first["elements"]
    assert second["spots"].q_inv_angstrom == pytest.approx(first["spots"].q_inv_angstrom, abs=1e-6)


def test_a_library_that_changed_is_told(client: TestClient, library: StandIn, points: Points) -> None:
    answer = asked(client, points, top_k=2, record=True)
    first, second = (each["id"] for each in answer["candidates"])
    library.entries = [each for each in library.entries if each.id != first]
    library.verdict = "ambiguous"
    library.probability = 0.2
    found = again(client, answer=answer)
    assert found["changed"]
    assert (found["verdict_stored"], found["verdict_current"]) == (None, "ambiguous")
    assert found["provenance_changes"].keys() == {"crystals", "index"}
    moved = {each["id"]: (each["rank_stored"], each["rank_current"]) for each in found["candidate_changes"]}
    assert moved[first] == (1, None)
    assert moved[second] == (2, 1)


def test_a_probability_that_rounds_otherwise_is_no_change(
    client: TestClient, library: StandIn, points: Points
) -> None:
    library.probability = 0.5
    answer = asked(client, points, record=True)
    library.probability = 0.504
    assert not again(client, answer=answer)["changed"]
    library.probability = 0.51
    assert again(client, answer=answer)["changed"]


def test_the_pattern_may_come_again(client: TestClient, library: StandIn, points: Points) -> None:
    answer = asked(client, points)
    assert not again(client, answer=answer, points=points)["changed"]
    data = {"pixel_size": str(PIXEL_SIZE), "record": "true"}
    seen = client.post("/predict", files={"file": frame()}, data=data).json()
    files = {"file": frame(), "answer": json.dumps(seen).encode()}
    response = client.post("/replay", files=files)
    assert response.json()["changed"] is False
    assert not again(client, answer=seen)["changed"]
    _, _, of_frame, of_frame_again, of_points = library.searches
    assert of_points["spots"].q_inv_angstrom == pytest.approx(of_frame["spots"].q_inv_angstrom, abs=1e-6)
    assert of_frame_again["spots"].q_inv_angstrom == pytest.approx(of_frame["spots"].q_inv_angstrom)


@pytest.mark.parametrize("pixel_size", [None, PIXEL_SIZE])
def test_what_came_in_pixels_is_recorded_so(client: TestClient, pixel_size: float | None) -> None:
    data = {"record": "true", "mask": "0,0,60,60"} | ({"pixel_size": str(pixel_size)} if pixel_size else {})
    seen = client.post("/predict", files={"file": frame()}, data=data).json()
    assert (seen["pattern"]["units"], seen["pattern"]["pixel_size"]) == ("pixel", pixel_size)
    assert seen["pattern"]["center"] == seen["query"]["center"]
    assert not again(client, answer=seen)["changed"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "answer"),
        ({"answer": {}}, "answer"),
        ({"answer": 5}, "answer"),
        ({"answer": {"request_id": "x"}}, "answer"),
    ],
)
def test_what_is_no_answer_is_422(client: TestClient, content: dict[str, Any], told: str) -> None:
    assert told in problem_of(client.post("/replay", json=content), 422)


def test_an_answer_without_its_pattern_is_422(client: TestClient, points: Points) -> None:
    answer = asked(client, points)
    assert "record=true" in problem_of(client.post("/replay", json={"answer": answer}), 422)
    response = client.post("/replay", files={"file": b"1 2 3"})
    assert "answer" in problem_of(response, 422)


def test_an_answer_of_another_version_may_tell_more(client: TestClient, points: Points) -> None:
    answer = asked(client, points, record=True)
    answer["mood"] = answer["query"]["mood"] = answer["candidates"][0]["mood"] = "good"
    assert not again(client, answer=answer)["changed"]


def test_options_beside_the_answer_are_refused(client: TestClient, points: Points) -> None:
    answer = asked(client, points, record=True)
    told = problem_of(client.post("/replay", json={"answer": answer, "top_k": 3}), 422)
    assert "'top_k'" in told


@pytest.mark.parametrize("content", [{}, {"answer": None}, {"answer": "text"}, {"answer": [1]}])
def test_what_is_no_answer_is_told(client: TestClient, content: dict[str, Any]) -> None:
    assert "The stored answer is missing" in problem_of(client.post("/replay", json=content), 422)
