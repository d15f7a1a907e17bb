"""`POST /inspect` and `dd2d inspect`: what was seen of a pattern, told and drawn."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from starlette.testclient import TestClient

from app.cli.main import main

SIDE, CENTRE, PIXEL_SIZE = 256, (131.0, 124.0), 0.012


def frame(*, saturated: bool = False) -> bytes:
    """A hexagonal pattern, a = 3.16 angstrom, on noise."""
    y, x = np.mgrid[:SIDE, :SIDE]
    counts = np.random.default_rng(1).poisson(20, (SIDE, SIDE)).astype(np.float64)
    first = 2 / np.sqrt(3) / 3.16 / PIXEL_SIZE
    a, b = first * np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    for h in range(-3, 4):
        for k in range(-3, 4):
            at = CENTRE + h * a + k * b
            height = 4000 * np.exp(-0.5 * (h * h + h * k + k * k))
            counts += height * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 1.6**2))
    if saturated:
        counts = np.minimum(counts, 900)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, counts.astype(np.uint16))
    return buffer.getvalue()


def test_centre_spots_lattice_and_quality_are_told(client: TestClient) -> None:
    response = client.post(
        "/inspect", files={"file": ("x.tif", frame())}, data={"pixel_size": str(PIXEL_SIZE)}
    )
    assert response.status_code == 200
    answer = response.json()
    assert answer["frame"] == {"width": SIDE, "height": SIDE, "format": "TIFF"}
    query, quality = answer["query"], answer["query"]["quality"]
    assert query["center"] == pytest.approx(CENTRE, abs=0.1)
    assert query["lattice"]["bravais"] == "hexagonal"
    assert query["lattice"]["a"] == pytest.approx(3.16, rel=5e-3)
    assert quality["center_method"] == "symmetry"
    assert quality["paired_fraction"] > 0.9
    assert quality["ellipticity"] < 0.005
    assert quality["saturated_spots"] == 0
    assert quality["grade"] in {"good", "fair"}
    assert quality["d_min"] == pytest.approx(1 / quality["q_max"], rel=1e-3)
    strongest = answer["spots"][0]
    assert strongest["d"] == pytest.approx(3.16 * np.sqrt(3) / 2, rel=0.01)
    assert strongest["intensity"] == pytest.approx(2 * np.pi * 1.6**2 * 4000 * np.exp(-0.5), rel=0.05)
    assert 0 < strongest["intensity_sigma"] < 0.02 * strongest["intensity"]
    assert 0 < strongest["position_sigma"] < 0.05
    assert sorted(map(abs, strongest["hk"])) in ([0, 1], [1, 1])
    intensities = [spot["intensity"] for spot in answer["spots"]]
    assert intensities == sorted(intensities, reverse=True)


def test_errors_of_positions_are_those_that_occur(client: TestClient) -> None:
    answer = client.post("/inspect", files={"file": frame()}, data={"pixel_size": str(PIXEL_SIZE)}).json()
    first = 2 / np.sqrt(3) / 3.16 / PIXEL_SIZE
    basis = first * np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    pulls = []
    for spot in answer["spots"]:
        offset = np.array(spot["position"]) - CENTRE
        nearest = np.rint(offset @ np.linalg.inv(basis)) @ basis
        pulls += ((offset - nearest) / spot["position_sigma"]).tolist()
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.6


def test_saturation_is_counted_and_advice_given(client: TestClient) -> None:
    answer = client.post("/inspect", files={"file": frame(saturated=True)}).json()
    quality = answer["query"]["quality"]
    assert quality["saturated_spots"] == sum(spot["saturated"] for spot in answer["spots"]) >= 6
    assert any("saturated: expose shorter" in told for told in quality["advice"])
    assert any("scale is unknown" in told for told in quality["advice"])
    assert all(spot["d"] is None for spot in answer["spots"])


def test_the_frame_is_drawn(client: TestClient) -> None:
    response = client.post("/inspect", files={"file": frame()}, headers={"Accept": "image/png"})
    assert response.headers["content-type"] == "image/png"
    picture = np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB")).astype(int)
    assert picture.shape == (SIDE, SIDE, 3)
    # The cross at the centre is green, and spots stand out from the ground.
    x, y = (round(each) for each in CENTRE)
    assert picture[y, x, 1] > picture[y, x, 0] + 50
    ground = np.median(picture[..., 2])
    assert ground < 110
    response = client.post("/inspect", files={"file": frame()}, headers={"Accept": "image/svg+xml"})
    assert response.text.count("<circle") == len(
        client.post("/inspect", files={"file": frame()}).json()["spots"]
    )
    assert "data:image/png;base64," in response.text


def test_points_are_inspected_too(client: TestClient) -> None:
    angles = np.radians(np.arange(0, 360, 60))
    points = [[0.365 * np.cos(a), 0.365 * np.sin(a), 1.0] for a in angles]
    answer = client.post("/inspect", json={"points": points}).json()
    assert answer["frame"] is None
    assert answer["query"]["quality"]["grade"] == "poor"
    assert answer["spots"][0]["position_sigma"] is None
    drawn = client.post("/inspect", json={"points": points}, headers={"Accept": "image/svg+xml"})
    assert drawn.text.startswith("<svg")
    refused = client.post("/inspect", json={"points": points}, headers={"Accept": "image/png"})
    assert refused.status_code == 406
    assert "image/svg+xml" in refused.json()["detail"]


def test_what_is_no_pattern_is_refused_as_by_predict(client: TestClient) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.full((64, 64), 7, np.uint16))
    response = client.post("/inspect", files={"file": buffer.getvalue()})
    assert response.status_code == 422
    assert "blank" in response.json()["detail"]
    assert client.post("/inspect", json={"points": [[1, 0]], "top_k": 3}).status_code == 422


@pytest.mark.parametrize("suffix", ["png", "svg", "json"])
def test_the_command_writes_what_it_saw(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "frame.tif", tmp_path / f"seen.{suffix}"
    source.write_bytes(frame())
    assert main(["inspect", str(source), "--pixel-size", str(PIXEL_SIZE), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "lattice  hexagonal, a 3.1" in printed.out
    assert "quality  " in printed.out
    assert out.stat().st_size > 1000
    assert main(["inspect", str(source), "--out", str(tmp_path / "seen.gif")]) == 2
    assert ".png, .svg, .json" in capsys.readouterr().err


def test_the_bare_frame_is_drawn_without_marks(client: TestClient) -> None:
    def picture(marks: str) -> Image.Image:
        response = client.post(
            "/inspect", files={"file": frame()}, data={"marks": marks}, headers={"Accept": "image/png"}
        )
        assert response.status_code == 200
        return Image.open(io.BytesIO(response.content)).convert("RGB")

    def coloured(image: Image.Image) -> int:
        pixels = np.asarray(image, dtype=int)
        return int((np.ptp(pixels, axis=2) > 0).sum())

    assert coloured(picture("true")) > 500
    bare = picture("false")
    assert coloured(bare) == 0
    assert bare.size == (SIDE, SIDE)


def test_places_are_measured_as_spots_are(client: TestClient) -> None:
    found = client.post("/inspect", files={"file": frame()}).json()["spots"]
    near = [[spot["position"][0] + 1.4, spot["position"][1] - 1.2] for spot in found[:4]]
    places = [*near, [20.0, 230.0]]
    text = ";".join(f"{x},{y}" for x, y in places)
    flat = client.post("/inspect", files={"file": frame()}, data={"measure": text.replace(";", ",")}).json()
    answer = client.post("/inspect", files={"file": frame()}, data={"measure": text}).json()
    assert flat["measured_spots"] == answer["measured_spots"]
    *measured, empty = answer["measured_spots"]
    for spot, again in zip(found, measured, strict=False):
        assert again["position"] == pytest.approx(spot["position"], abs=0.1)
        assert again["intensity"] == pytest.approx(spot["intensity"], rel=0.05)
    assert empty["intensity"] is None
    assert empty["position"] == places[-1]
    assert empty["intensity_sigma"] > 0


def test_places_outside_or_without_a_frame_are_refused(client: TestClient, point_file: bytes) -> None:
    outside = client.post("/inspect", files={"file": frame()}, data={"measure": "300,5"})
    assert outside.status_code == 422
    assert "outside the frame" in outside.json()["detail"]
    points = client.post("/inspect", files={"file": point_file}, data={"measure": "3,5"})
    assert points.status_code == 422
    assert "only frames" in points.json()["detail"]
    odd = client.post("/inspect", files={"file": frame()}, data={"measure": "3,5;7"})
    assert odd.status_code == 422
    assert "measure.1" in odd.json()["detail"]


def test_a_picked_lattice_is_told_in_the_place_of_the_found_one(client: TestClient) -> None:
    first = 2 / np.sqrt(3) / 3.16 / PIXEL_SIZE
    # A rectangular half of the hexagonal lattice, picked two pixels off.
    text = f"{first + 2:.1f},1;-1.5,{first * np.sqrt(3):.1f}"
    asked = {"pixel_size": str(PIXEL_SIZE), "lattice": text}
    lattice = client.post("/inspect", files={"file": frame()}, data=asked).json()["query"]["lattice"]
    assert lattice["bravais"] == "rectangular"
    assert lattice["a"] == pytest.approx(3.16 / 2, rel=5e-3)
    assert lattice["b"] == pytest.approx(3.16 * np.sqrt(3) / 2, rel=5e-3)


@pytest.mark.parametrize(
    ("lattice", "told"),
    [
        ("5,5;10,10.2", "nearly parallel"),
        ("30,0", "lattice"),
        ("30,0;0", "lattice.1"),
        ("x,0;0,3", "lattice"),
    ],
)
def test_a_lattice_that_is_none_is_refused(client: TestClient, lattice: str, told: str) -> None:
    asked = {"pixel_size": str(PIXEL_SIZE), "lattice": lattice}
    response = client.post("/inspect", files={"file": frame()}, data=asked)
    assert response.status_code == 422
    assert told in response.json()["detail"]


def test_the_command_takes_a_lattice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "frame.tif"
    path.write_bytes(frame())
    first = 2 / np.sqrt(3) / 3.16 / PIXEL_SIZE
    picked = f"--lattice={first:.1f},0;0,{first * np.sqrt(3):.1f}"
    assert main(["inspect", str(path), "--pixel-size", str(PIXEL_SIZE), picked]) == 0
    assert "lattice  rectangular" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["0,0,125,120;0,200,20,256", "0,0,125,120,0,200,20,256"])
def test_masked_spots_do_not_count(client: TestClient, text: str) -> None:
    asked = {"pixel_size": str(PIXEL_SIZE)}
    whole = client.post("/inspect", files={"file": frame()}, data=asked).json()
    answer = client.post("/inspect", files={"file": frame()}, data=asked | {"mask": text}).json()

    def masked(position: list[float]) -> bool:
        x, y = position
        return (x <= 125 and y <= 120) or (x <= 20 and y >= 200)

    left = [spot["position"] for spot in whole["spots"] if not masked(spot["position"])]
    assert [spot["position"] for spot in answer["spots"]] == left
    assert len(left) < len(whole["spots"]) - 5
    assert answer["query"]["center"] == whole["query"]["center"]
    drawn = client.post(
        "/inspect", files={"file": frame()}, data=asked | {"mask": text}, headers={"Accept": "image/png"}
    )
    assert drawn.status_code == 200


def test_a_mask_over_everything_leaves_no_pattern(client: TestClient, point_file: bytes) -> None:
    response = client.post("/inspect", files={"file": point_file}, data={"mask": "-9,-9,9,9"})
    assert response.status_code == 422
    assert response.json()["type"].endswith("no-spots")
    odd = client.post("/inspect", files={"file": point_file}, data={"mask": "1,2,3"})
    assert odd.status_code == 422
    assert "mask" in odd.json()["detail"]
