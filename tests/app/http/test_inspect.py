"""`POST /inspect` and `dd2d inspect`: spots, lattice and quality of a pattern, and its picture."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from starlette.testclient import TestClient

from app.cli.main import main

SIDE, CENTER, PIXEL_SIZE = 256, (131.0, 124.0), 0.012


def frame(*, saturated: bool = False) -> bytes:
    """Return a hexagonal pattern with a = 3.16 angstrom on a noisy background, as TIFF."""
    y, x = np.mgrid[:SIDE, :SIDE]
    counts = np.random.default_rng(1).poisson(20, (SIDE, SIDE)).astype(np.float64)
    first = 2 / np.sqrt(3) / 3.16 / PIXEL_SIZE
    a, b = first * np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    for h in range(-3, 4):
        for k in range(-3, 4):
            at = CENTER + h * a + k * b
            height = 4000 * np.exp(-0.5 * (h * h + h * k + k * k))
            counts += height * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 1.6**2))
    if saturated:
        counts = np.minimum(counts, 900)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, counts.astype(np.uint16))
    return buffer.getvalue()


def test_the_answer_has_center_spots_lattice_and_quality(client: TestClient) -> None:
    response = client.post(
        "/inspect", files={"file": ("x.tif", frame())}, data={"pixel_size": str(PIXEL_SIZE)}
    )
    assert response.status_code == 200
    answer = response.json()
    assert answer["frame"] == {"width": SIDE, "height": SIDE, "format": "TIFF"}
    query, quality = answer["query"], answer["query"]["quality"]
    assert query["center"] == pytest.approx(CENTER, abs=0.1)
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


def test_position_sigmas_match_the_actual_errors(client: TestClient) -> None:
    answer = client.post("/inspect", files={"file": frame()}, data={"pixel_size": str(PIXEL_SIZE)}).json()
    first = 2 / np.sqrt(3) / 3.16 / PIXEL_SIZE
    basis = first * np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    normalized_errors = []
    for spot in answer["spots"]:
        offset = np.array(spot["position"]) - CENTER
        nearest = np.rint(offset @ np.linalg.inv(basis)) @ basis
        normalized_errors += ((offset - nearest) / spot["position_sigma"]).tolist()
    assert 0.6 < np.sqrt(np.mean(np.square(normalized_errors))) < 1.6


def test_saturated_spots_are_counted_with_advice(client: TestClient) -> None:
    answer = client.post("/inspect", files={"file": frame(saturated=True)}).json()
    quality = answer["query"]["quality"]
    assert quality["saturated_spots"] == sum(spot["saturated"] for spot in answer["spots"]) >= 6
    assert any("saturated: use a shorter exposure" in advice for advice in quality["advice"])
    assert any("scale is unknown" in advice for advice in quality["advice"])
    assert all(spot["d"] is None for spot in answer["spots"])


def test_the_picture_shows_the_frame_and_the_spots(client: TestClient) -> None:
    response = client.post("/inspect", files={"file": frame()}, headers={"Accept": "image/png"})
    assert response.headers["content-type"] == "image/png"
    picture = np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB")).astype(int)
    assert picture.shape == (SIDE, SIDE, 3)
    # The cross at the center is green, and the background is dark.
    x, y = (round(each) for each in CENTER)
    assert picture[y, x, 1] > picture[y, x, 0] + 50
    background = np.median(picture[..., 2])
    assert background < 110
    response = client.post("/inspect", files={"file": frame()}, headers={"Accept": "image/svg+xml"})
    assert response.text.count("<circle") == len(
        client.post("/inspect", files={"file": frame()}).json()["spots"]
    )
    assert "data:image/png;base64," in response.text


def test_points_can_be_inspected(client: TestClient) -> None:
    angles = np.radians(np.arange(0, 360, 60))
    points = [[0.365 * np.cos(a), 0.365 * np.sin(a), 1.0] for a in angles]
    answer = client.post("/inspect", json={"points": points}).json()
    assert answer["frame"] is None
    assert answer["query"]["quality"]["grade"] == "poor"
    assert answer["spots"][0]["position_sigma"] is None
    svg = client.post("/inspect", json={"points": points}, headers={"Accept": "image/svg+xml"})
    assert svg.text.startswith("<svg")
    png = client.post("/inspect", json={"points": points}, headers={"Accept": "image/png"})
    assert png.status_code == 406
    assert "image/svg+xml" in png.json()["detail"]


def test_an_upload_without_a_pattern_is_refused(client: TestClient) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.full((64, 64), 7, np.uint16))
    response = client.post("/inspect", files={"file": buffer.getvalue()})
    assert response.status_code == 422
    assert "blank" in response.json()["detail"]
    assert client.post("/inspect", json={"points": [[1, 0]], "top_k": 3}).status_code == 422


@pytest.mark.parametrize("suffix", ["png", "svg", "json"])
def test_the_command_writes_its_result(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "frame.tif", tmp_path / f"result.{suffix}"
    source.write_bytes(frame())
    assert main(["inspect", str(source), "--pixel-size", str(PIXEL_SIZE), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "lattice  hexagonal, a 3.1" in printed.out
    assert "quality  " in printed.out
    assert out.stat().st_size > 1000
    assert main(["inspect", str(source), "--out", str(tmp_path / "result.gif")]) == 2
    assert ".png, .svg, .json" in capsys.readouterr().err


def test_marks_can_be_switched_off(client: TestClient) -> None:
    def picture(marks: str) -> Image.Image:
        response = client.post(
            "/inspect", files={"file": frame()}, data={"marks": marks}, headers={"Accept": "image/png"}
        )
        assert response.status_code == 200
        return Image.open(io.BytesIO(response.content)).convert("RGB")

    def count_colored(image: Image.Image) -> int:
        pixels = np.asarray(image, dtype=int)
        return int((np.ptp(pixels, axis=2) > 0).sum())

    assert count_colored(picture("true")) > 500
    bare = picture("false")
    assert count_colored(bare) == 0
    assert bare.size == (SIDE, SIDE)


def test_given_positions_are_measured_like_spots(client: TestClient) -> None:
    spots = client.post("/inspect", files={"file": frame()}).json()["spots"]
    near = [[spot["position"][0] + 1.4, spot["position"][1] - 1.2] for spot in spots[:4]]
    positions = [*near, [20.0, 230.0]]
    text = ";".join(f"{x},{y}" for x, y in positions)
    flat = client.post("/inspect", files={"file": frame()}, data={"measure": text.replace(";", ",")}).json()
    answer = client.post("/inspect", files={"file": frame()}, data={"measure": text}).json()
    assert flat["measured_spots"] == answer["measured_spots"]
    *measured, empty = answer["measured_spots"]
    for spot, again in zip(spots, measured, strict=False):
        assert again["position"] == pytest.approx(spot["position"], abs=0.1)
        assert again["intensity"] == pytest.approx(spot["intensity"], rel=0.05)
    assert empty["intensity"] is None
    assert empty["position"] == positions[-1]
    assert empty["intensity_sigma"] > 0


def test_positions_outside_or_without_a_frame_are_refused(client: TestClient, point_file: bytes) -> None:
    outside = client.post("/inspect", files={"file": frame()}, data={"measure": "300,5"})
    assert outside.status_code == 422
    assert "outside the frame" in outside.json()["detail"]
    points = client.post("/inspect", files={"file": point_file}, data={"measure": "3,5"})
    assert points.status_code == 422
    assert "only frames" in points.json()["detail"]
    odd = client.post("/inspect", files={"file": frame()}, data={"measure": "3,5;7"})
    assert odd.status_code == 422
    assert "measure.1" in odd.json()["detail"]


def test_a_given_lattice_replaces_the_one_that_was_found(client: TestClient) -> None:
    first = 2 / np.sqrt(3) / 3.16 / PIXEL_SIZE
    # A rectangular sublattice of the hexagonal lattice, two pixels off.
    text = f"{first + 2:.1f},1;-1.5,{first * np.sqrt(3):.1f}"
    options = {"pixel_size": str(PIXEL_SIZE), "lattice": text}
    lattice = client.post("/inspect", files={"file": frame()}, data=options).json()["query"]["lattice"]
    assert lattice["bravais"] == "rectangular"
    assert lattice["a"] == pytest.approx(3.16 / 2, rel=5e-3)
    assert lattice["b"] == pytest.approx(3.16 * np.sqrt(3) / 2, rel=5e-3)


@pytest.mark.parametrize(
    ("lattice", "message"),
    [
        ("5,5;10,10.2", "nearly parallel"),
        ("30,0", "lattice"),
        ("30,0;0", "lattice.1"),
        ("x,0;0,3", "lattice"),
    ],
)
def test_an_invalid_lattice_is_refused(client: TestClient, lattice: str, message: str) -> None:
    options = {"pixel_size": str(PIXEL_SIZE), "lattice": lattice}
    response = client.post("/inspect", files={"file": frame()}, data=options)
    assert response.status_code == 422
    assert message in response.json()["detail"]


def test_the_command_accepts_a_lattice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "frame.tif"
    path.write_bytes(frame())
    first = 2 / np.sqrt(3) / 3.16 / PIXEL_SIZE
    flag = f"--lattice={first:.1f},0;0,{first * np.sqrt(3):.1f}"
    assert main(["inspect", str(path), "--pixel-size", str(PIXEL_SIZE), flag]) == 0
    assert "lattice  rectangular" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["0,0,125,120;0,200,20,256", "0,0,125,120,0,200,20,256"])
def test_masked_spots_are_ignored(client: TestClient, text: str) -> None:
    options = {"pixel_size": str(PIXEL_SIZE)}
    whole = client.post("/inspect", files={"file": frame()}, data=options).json()
    answer = client.post("/inspect", files={"file": frame()}, data=options | {"mask": text}).json()

    def is_masked(position: list[float]) -> bool:
        x, y = position
        return (x <= 125 and y <= 120) or (x <= 20 and y >= 200)

    visible = [spot["position"] for spot in whole["spots"] if not is_masked(spot["position"])]
    assert [spot["position"] for spot in answer["spots"]] == visible
    assert len(visible) < len(whole["spots"]) - 5
    assert answer["query"]["center"] == whole["query"]["center"]
    picture = client.post(
        "/inspect", files={"file": frame()}, data=options | {"mask": text}, headers={"Accept": "image/png"}
    )
    assert picture.status_code == 200


def test_a_mask_over_everything_leaves_no_pattern(client: TestClient, point_file: bytes) -> None:
    response = client.post("/inspect", files={"file": point_file}, data={"mask": "-9,-9,9,9"})
    assert response.status_code == 422
    assert response.json()["type"].endswith("no-spots")
    odd = client.post("/inspect", files={"file": point_file}, data={"mask": "1,2,3"})
    assert odd.status_code == 422
    assert "mask" in odd.json()["detail"]
