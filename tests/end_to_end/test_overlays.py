"""Overlays of the candidates on the uploaded frame."""

import io

from PIL import Image
from starlette.testclient import TestClient

from tests.app.http.test_inspect import PIXEL_SIZE, SIDE, frame


def test_candidates_are_drawn_over_the_frame(client: TestClient) -> None:
    data = {"pixel_size": str(PIXEL_SIZE), "elements_only": "Mo,S", "overlay": "true", "voltage_kv": "80"}
    answer = client.post("/predict", files={"file": frame()}, data=data).json()
    links = [each["match"]["overlay"] for each in answer["candidates"] if each["match"]]
    assert links
    assert links[0].endswith("/1")
    svg = client.get(links[0])
    assert svg.headers["content-type"].startswith("image/svg+xml")
    assert "#4da3ff" in svg.text
    png = client.get(links[0], headers={"Accept": "image/png"})
    assert Image.open(io.BytesIO(png.content)).size == (SIDE, SIDE)
    assert client.get(links[0] + "99").status_code == 404
    without = client.post("/predict", files={"file": frame()}, data={"elements_only": "Mo,S"}).json()
    assert all(each["match"] is None or each["match"]["overlay"] is None for each in without["candidates"])
