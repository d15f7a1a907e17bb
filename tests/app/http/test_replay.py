"""`POST /replay`: a stored answer compared with the current one."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.app.answers import problem_of
from tests.app.http.test_inspect import PIXEL_SIZE, frame
from tests.app.stand_in import StandIn

Points = list[list[float]]


def predict(client: TestClient, points: Points, **options: Any) -> dict[str, Any]:
    response = client.post("/predict", json={"points": points, **options})
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def replay(client: TestClient, **content: Any) -> dict[str, Any]:
    response = client.post("/replay", json=content)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()
    return result


def test_an_answer_contains_its_options(client: TestClient, points: Points) -> None:
    answer = predict(client, points, elements_only=["C", "W", "S"], top_k=2)
    assert answer["query"]["options"] == {"elements_only": ["C", "W", "S"], "top_k": 2}
    assert answer["pattern"] is None


def test_an_unchanged_library_gives_the_same_answer(
    client: TestClient, library: StandIn, points: Points
) -> None:
    answer = predict(client, points, elements_only=["C", "W", "S"], top_k=2, voltage_kv=120, record=True)
    result = replay(client, answer=answer)
    assert (result["changed"], result["candidate_changes"], result["provenance_changes"]) == (False, [], {})
    assert result["answer"]["candidates"] == answer["candidates"]
    first, second = library.searches
    assert second["voltage_kv"] == first["voltage_kv"] == 120
    assert second["top_k"] == 2
    assert second["elements"] == first["elements"]
    assert second["spots"].q_inv_angstrom == pytest.approx(first["spots"].q_inv_angstrom, abs=1e-6)


def test_a_changed_library_is_reported(client: TestClient, library: StandIn, points: Points) -> None:
    answer = predict(client, points, top_k=2, record=True)
    first, second = (each["id"] for each in answer["candidates"])
    library.entries = [each for each in library.entries if each.id != first]
    library.verdict = "ambiguous"
    library.probability = 0.2
    result = replay(client, answer=answer)
    assert result["changed"]
    assert (result["verdict_stored"], result["verdict_current"]) == (None, "ambiguous")
    assert result["provenance_changes"].keys() == {"crystals", "index"}
    ranks = {each["id"]: (each["rank_stored"], each["rank_current"]) for each in result["candidate_changes"]}
    assert ranks[first] == (1, None)
    assert ranks[second] == (2, 1)


def test_a_rounding_difference_of_a_probability_is_no_change(
    client: TestClient, library: StandIn, points: Points
) -> None:
    library.probability = 0.5
    answer = predict(client, points, record=True)
    library.probability = 0.504
    assert not replay(client, answer=answer)["changed"]
    library.probability = 0.51
    assert replay(client, answer=answer)["changed"]


def test_the_pattern_may_be_sent_again(client: TestClient, library: StandIn, points: Points) -> None:
    answer = predict(client, points)
    assert not replay(client, answer=answer, points=points)["changed"]
    data = {"pixel_size": str(PIXEL_SIZE), "record": "true"}
    answer = client.post("/predict", files={"file": frame()}, data=data).json()
    files = {"file": frame(), "answer": json.dumps(answer).encode()}
    response = client.post("/replay", files=files)
    assert response.json()["changed"] is False
    assert not replay(client, answer=answer)["changed"]
    _, _, of_frame, of_frame_again, of_points = library.searches
    assert of_points["spots"].q_inv_angstrom == pytest.approx(of_frame["spots"].q_inv_angstrom, abs=1e-6)
    assert of_frame_again["spots"].q_inv_angstrom == pytest.approx(of_frame["spots"].q_inv_angstrom)


@pytest.mark.parametrize("pixel_size", [None, PIXEL_SIZE])
def test_a_pattern_in_pixels_is_recorded_in_pixels(client: TestClient, pixel_size: float | None) -> None:
    data = {"record": "true", "mask": "0,0,60,60"} | ({"pixel_size": str(pixel_size)} if pixel_size else {})
    answer = client.post("/predict", files={"file": frame()}, data=data).json()
    assert (answer["pattern"]["units"], answer["pattern"]["pixel_size"]) == ("pixel", pixel_size)
    assert answer["pattern"]["center"] == answer["query"]["center"]
    assert not replay(client, answer=answer)["changed"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "answer"),
        ({"answer": {}}, "answer"),
        ({"answer": 5}, "answer"),
        ({"answer": {"request_id": "x"}}, "answer"),
    ],
)
def test_an_invalid_answer_is_a_422(client: TestClient, content: dict[str, Any], message: str) -> None:
    assert message in problem_of(client.post("/replay", json=content), 422)


def test_an_answer_without_its_pattern_is_a_422(client: TestClient, points: Points) -> None:
    answer = predict(client, points)
    assert "record=true" in problem_of(client.post("/replay", json={"answer": answer}), 422)
    response = client.post("/replay", files={"file": b"1 2 3"})
    assert "answer" in problem_of(response, 422)


def test_an_answer_may_have_unknown_keys(client: TestClient, points: Points) -> None:
    answer = predict(client, points, record=True)
    answer["unknown"] = answer["query"]["unknown"] = answer["candidates"][0]["unknown"] = "value"
    assert not replay(client, answer=answer)["changed"]


def test_options_beside_the_answer_are_refused(client: TestClient, points: Points) -> None:
    answer = predict(client, points, record=True)
    detail = problem_of(client.post("/replay", json={"answer": answer, "top_k": 3}), 422)
    assert "'top_k'" in detail


@pytest.mark.parametrize("content", [{}, {"answer": None}, {"answer": "text"}, {"answer": [1]}])
def test_a_missing_answer_is_named(client: TestClient, content: dict[str, Any]) -> None:
    assert "The stored answer is missing" in problem_of(client.post("/replay", json=content), 422)
