"""User structures are added, found and removed over HTTP; versions of the index are switched."""

import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.presentation.schemas.service import ServedIndex
from app.presentation.schemas.structures import UserStructureSchema
from app.services.structures import MAX_STRUCTURE_BYTES
from index.live.live_index import LiveIndex
from index.storage.layout import USER_STRUCTURES_NAME
from index.storage.publish import publish_copy, roll_back
from index.storage.user_structures import UserStructures
from index.storage.versions import find_version_folder
from model.crystal.structure_files import write_cif, write_poscar
from model.errors import StorageFullError
from tests.app.answers import problem_of
from tests.app.conftest import client_with_key
from tests.app.stand_in import StandIn
from tests.index.layers import crystal
from tests.index.stand_in import RadialEncoder, pattern_of
from tests.index.two_indexes import LARGE, SMALL


@pytest.fixture
def client(served: Path) -> Iterator[TestClient]:
    """Return a client of a service with a live index, with the key of an administrator."""
    library = LiveIndex.open(served, RadialEncoder(), watch_s=None)
    with client_with_key(library, served.parent) as client:
        yield client
    library.close()


def cif(index: int) -> str:
    return write_cif(crystal(index))


def points(index: int) -> list[list[float]]:
    spots = pattern_of(crystal(index))
    assert spots.intensity is not None
    return [[*q, i] for q, i in zip(spots.q_inv_angstrom.tolist(), spots.intensity.tolist(), strict=True)]


def find_first(client: TestClient, index: int) -> dict[str, Any]:
    response = client.post("/predict", json={"points": points(index), "effort": "search", "top_k": 1})
    assert response.status_code == 200, response.text
    (candidate,) = response.json()["candidates"]
    return dict(candidate)


def test_a_structure_is_added_found_and_removed(client: TestClient) -> None:
    options = {"id": "mine/20 %", "reference": "a lab book", "license": "CC0"}
    response = client.post("/structures", files={"file": ("x.cif", cif(20))}, data=options)
    assert response.status_code == 201, response.text
    added = UserStructureSchema.model_validate(response.json())
    assert (added.id, added.reference, added.license, added.source) == (*options.values(), "user")
    assert added.same_as == []
    assert client.get(response.headers["location"]).json() == {
        name: value for name, value in response.json().items() if name != "same_as"
    }
    assert find_first(client, 20)["id"] == options["id"]
    assert client.delete(response.headers["location"]).status_code == 204
    problem_of(client.get(response.headers["location"]), 404)
    problem_of(client.delete(response.headers["location"]), 404)
    assert find_first(client, 20)["id"] != options["id"]


def test_duplicates_are_listed(client: TestClient) -> None:
    response = client.post("/structures", json={"structure": write_poscar(crystal(2)), "id": "again"})
    assert response.status_code == 201
    assert response.json()["same_as"] == [crystal(2).id]
    candidate = find_first(client, 2)
    assert {candidate["id"], *candidate["same_as"]} == {"again", crystal(2).id}


def test_a_request_may_be_repeated(client: TestClient) -> None:
    for body in ({"structure": cif(20)}, {"structure": cif(21), "id": "mine"}):
        once, again = (client.post("/structures", json=body) for _ in range(2))
        assert (once.status_code, again.status_code) == (201, 200)
        assert once.json() == again.json()
        assert once.headers["location"] == again.headers["location"]
    detail = problem_of(client.post("/structures", json={"structure": cif(22), "id": "mine"}), 409)
    assert "'mine' belongs to another structure" in detail
    problem_of(client.post("/structures", json={"structure": cif(22), "id": crystal(1).id}), 409)


@pytest.mark.parametrize("id", ["..", "cif", "a/cif", "x/y z?#%", "ünïcode", "x" * 200, "."])
def test_every_printable_id_can_be_read_and_removed(client: TestClient, id: str) -> None:
    response = client.post("/structures", json={"structure": cif(20), "id": id})
    assert response.status_code == 201, response.text
    assert client.get(response.headers["location"]).json()["id"] == id
    assert client.delete(response.headers["location"]).status_code == 204


def test_a_crystal_of_the_index_cannot_be_removed(client: TestClient) -> None:
    address = f"/structures/{quote(crystal(1).id, safe='')}"
    assert "publish" in problem_of(client.delete(address), 409)
    assert client.get(address).status_code == 200


BULK = """data_bulk
_cell_length_a 3.0
_cell_length_b 3.0
_cell_length_c 3.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Fe 0 0 0
"""


@pytest.mark.parametrize(
    ("file", "status"),
    [
        (b"", 400),
        (b"nothing of the kind", 415),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), 415),
        (b"data_x\n_cell_length_a what\n", 400),
        (BULK.encode(), 422),
        (cif(20).encode() + b"#" * MAX_STRUCTURE_BYTES, 413),
        (cif(20).replace("1\n", "0.5\n").encode(), 422),
    ],
)
def test_an_invalid_file_is_refused(client: TestClient, file: bytes, status: int) -> None:
    assert problem_of(client.post("/structures", files={"file": ("x.cif", file)}), status)
    assert client.get("/version").json()["user_structures"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"structure": 5},
        {"structure": None},
        {"structure": cif(20), "id": ""},
        {"structure": cif(20), "id": 5},
        {"structure": cif(20), "id": "a\nb"},
        {"structure": cif(20), "id": " a"},
        {"structure": cif(20), "id": "x" * 201},
        {"structure": cif(20), "reference": "x" * 2001},
        {"structure": cif(20), "source": "mine"},
        [cif(20)],
    ],
)
def test_an_invalid_json_request_is_refused(client: TestClient, body: object) -> None:
    assert problem_of(client.post("/structures", json=body), 422)


def test_other_invalid_requests_are_refused(client: TestClient) -> None:
    problem_of(client.post("/structures", content=b"{", headers={"Content-Type": "application/json"}), 400)
    problem_of(client.post("/structures", content=cif(20).encode()), 415)
    problem_of(client.post("/structures?id=x", json={"structure": cif(20)}), 422)
    problem_of(client.post("/structures", json={"structure": cif(20)}, headers={"Accept": "image/png"}), 406)
    files = [("file", ("a", cif(20))), ("file", ("b", cif(21)))]
    problem_of(client.post("/structures", files=files), 400)
    problem_of(client.post("/structures", data={"file": cif(20)}), 415)
    problem_of(client.post("/structures", files={"structure": ("a", cif(20))}), 422)
    twice = [("id", (None, "a")), ("id", (None, "b")), ("file", ("x", cif(20)))]
    assert "more than once" in problem_of(client.post("/structures", files=twice), 422)


def test_a_read_only_folder_is_reported_with_its_setting(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "DD2D_USER_STRUCTURES" in problem_of(client.post("/structures", json={"structure": cif(20)}), 409)
    assert find_first(client, 2)["id"] == crystal(2).id


def test_a_full_disk_is_a_503_that_says_when_to_retry(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(UserStructures, "add", Mock(side_effect=StorageFullError("The disk is full.")))
        response = client.post("/structures", json={"structure": cif(20)})
    assert "full" in problem_of(response, 503)
    assert response.headers["retry-after"] == "1"
    assert client.post("/structures", json={"structure": cif(20)}).status_code == 201


def test_a_library_that_cannot_change_is_a_409(tmp_path: Path) -> None:
    with client_with_key(StandIn(), tmp_path) as client:
        problem_of(client.post("/structures", json={"structure": cif(20)}), 409)
        problem_of(client.delete("/structures/graphene"), 409)
        problem_of(client.post("/admin/reload"), 409)


def test_the_name_of_the_key_is_stored(client: TestClient, served: Path) -> None:
    assert client.post("/structures", json={"structure": cif(20)}).status_code == 201
    (stored,) = UserStructures(served / "user_structures.sqlite").read([1], RadialEncoder().digest)
    assert stored.added_by == "robot"


def test_a_reload_answers_what_is_served(client: TestClient, served: Path, indexes: dict[int, Path]) -> None:
    client.post("/structures", json={"structure": cif(20)})
    small = ServedIndex.model_validate(client.post("/admin/reload").json())
    assert (small.crystals, small.user_structures) == (SMALL + 1, 1)
    large = publish_copy(indexes[LARGE], served)
    served_index = ServedIndex.model_validate(client.post("/admin/reload", json={}).json())
    assert (served_index.version, served_index.index) == (large.name, large.manifest.digest)
    version = client.get("/version").json()
    assert (version["index"], version["crystals"], version["user_structures"]) == (
        served_index.index,
        LARGE + 1,
        1,
    )
    assert client.get("/readyz").json()["crystals"] == LARGE + 1
    back = client.post("/admin/reload", json={"version": small.version})
    assert ServedIndex.model_validate(back.json()) == small
    assert find_version_folder(served).name == small.version
    assert find_first(client, 20)["id"].startswith("user/")


def test_a_version_published_elsewhere_is_reported_before_any_answer(
    tmp_path: Path, served: Path, indexes: dict[int, Path]
) -> None:
    library = LiveIndex.open(served, RadialEncoder(), watch_s=None)
    with client_with_key(library, tmp_path) as client:
        publish_copy(indexes[LARGE], served)
        library.refresh()  # as a worker's own watch does within a second
        assert client.get("/version").json()["crystals"] == LARGE
    library.close()


def test_a_full_disk_keeps_the_version_that_is_served(
    client: TestClient, served: Path, indexes: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = find_version_folder(served)
    large = publish_copy(indexes[LARGE], served)
    roll_back(served)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        response = client.post("/admin/reload", json={"version": large.name})
    assert "disk is full" in problem_of(response, 503)
    assert find_version_folder(served) == before
    assert client.get("/readyz").json()["crystals"] == SMALL
    assert client.post("/admin/reload", json={"version": large.name}).json()["version"] == large.name


def test_an_impossible_reload_is_refused(client: TestClient, served: Path, indexes: dict[int, Path]) -> None:
    large = publish_copy(indexes[LARGE], served)
    roll_back(served)
    assert large.name in problem_of(client.post("/admin/reload", json={"version": "absent"}), 422)
    (served / large.name / "vectors.faiss").unlink()
    detail = problem_of(client.post("/admin/reload", json={"version": large.name}), 409)
    assert "vectors.faiss is missing" in detail
    assert "is still served" in detail
    invalid: list[object] = [{"version": 5}, {"name": "x"}, []]
    for body in invalid:
        problem_of(client.post("/admin/reload", json=body), 422)
    problem_of(client.post("/admin/reload", content="{", headers={"Content-Type": "application/json"}), 400)
    problem_of(client.post("/admin/reload", files={"file": ("x", "y")}), 415)
    assert find_first(client, 3)["id"] == crystal(3).id


def test_metrics_follow_what_is_served(client: TestClient, served: Path, indexes: dict[int, Path]) -> None:
    def value(name: str) -> list[tuple[dict[str, str], float]]:
        families = text_string_to_metric_families(client.get("/metrics").text)
        return [(s.labels, s.value) for family in families for s in family.samples if s.name == name]

    client.post("/structures", json={"structure": cif(20)})
    assert value("dd2d_index_crystals") == [({}, SMALL + 1)]
    publish_copy(indexes[LARGE], served)
    client.post("/admin/reload")
    assert value("dd2d_index_crystals") == [({}, LARGE + 1)]
    ((labels, _),) = value("dd2d_build_info")
    assert labels["index"] == client.get("/version").json()["index"]


def test_a_metric_states_that_user_structures_cannot_be_read(client: TestClient, served: Path) -> None:
    def is_unreadable() -> float:
        assert client.get("/readyz").status_code == 200
        families = text_string_to_metric_families(client.get("/metrics").text)
        (value,) = [each.value for family in families for each in family.samples if "unreadable" in each.name]
        return value

    assert client.post("/structures", json={"structure": cif(20)}).status_code == 201
    path = served / USER_STRUCTURES_NAME
    content = path.read_bytes()
    assert is_unreadable() == 0
    path.unlink()
    path.write_bytes(b"a file of another kind" * 1000)
    assert is_unreadable() == 1
    path.unlink()
    path.write_bytes(content)
    assert is_unreadable() == 0


def test_no_request_fails_while_versions_are_switched(
    client: TestClient, served: Path, indexes: dict[int, Path]
) -> None:
    stop = Event()

    def predict_repeatedly(index: int) -> int:
        count = 0
        while not stop.is_set():
            answer = client.post("/predict", json={"points": points(index), "effort": "search"})
            assert answer.status_code == 200, answer.text
            assert answer.json()["candidates"][0]["id"] == crystal(index).id
            provenance = answer.json()["provenance"]
            assert provenance["crystals"] - provenance["user_structures"] in {SMALL, LARGE}
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(predict_repeatedly, index) for index in (1, 4)]
        try:
            for _ in range(8):
                publish_copy(indexes[LARGE], served)
                assert client.post("/admin/reload").json()["crystals"] == LARGE
                roll_back(served)
                assert client.post("/admin/reload").json()["crystals"] == SMALL
        finally:
            stop.set()
        assert all(each.result() > 0 for each in clients)
