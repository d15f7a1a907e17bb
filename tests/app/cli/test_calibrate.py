"""A camera is calibrated on the command line, and the calibration is used by name over HTTP."""

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.cli.main import main
from app.main import create_app
from app.settings import Settings
from tests.app.stand_in import StandIn
from tests.calibration.test_calibrate_camera import gold, layer
from tests.pattern.formats.camera_files import tiff

PIXEL_SIZE = 0.0065


def test_a_calibration_corrects_a_distorted_camera(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, folder = tmp_path / "gold.tif", tmp_path / "calibrations"
    reference.write_bytes(tiff(gold(PIXEL_SIZE / 1.6, 0.03, 30.0).counts))
    words = ["calibrate", str(reference), "--material", "Au", "--name", "titan", "--out", str(folder)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "pixel size   0.0040" in printed
    assert float(printed.split("ellipticity")[1].split("%")[0]) == pytest.approx(3.0, abs=0.2)
    frame = tiff(layer(3.16 / 1.6, PIXEL_SIZE, 0.03, 30.0).counts)
    app = create_app(Settings(calibrations=folder), StandIn())
    with TestClient(app) as client:
        answer = client.post("/inspect", files={"file": frame}, data={"calibration": "titan"}).json()
        assert answer["query"]["calibration"] == "request"
        assert answer["query"]["scale_sigma"] == 0.005
        assert answer["query"]["lattice"]["bravais"] == "hexagonal"
        assert answer["query"]["lattice"]["a"] == pytest.approx(3.16, rel=5e-3)
        assert answer["query"]["quality"]["ellipticity"] < 0.006
        # Positions in the answer are those on the camera.
        for spot in answer["spots"][:6]:
            assert spot["position_sigma"] < 0.1
        plain = client.post("/inspect", files={"file": frame}).json()
        positions = [sorted(spot["position"] for spot in each["spots"][:6]) for each in (answer, plain)]
        assert np.array(positions[0]) == pytest.approx(np.array(positions[1]), abs=0.02)
        smaller = tiff(layer(3.16 / 1.6, PIXEL_SIZE, 0.03, 30.0).counts[:400, :400])
        refused = client.post("/inspect", files={"file": smaller}, data={"calibration": "titan"})
        assert "512 x 512" in refused.json()["detail"]
        unknown = client.post("/inspect", files={"file": frame}, data={"calibration": "../titan"})
        assert unknown.status_code == 422
        assert "available: titan" in unknown.json()["detail"]
        points = client.post("/inspect", json={"points": [[1, 0], [0, 1], [1, 1]], "calibration": "titan"})
        assert points.status_code == 422


def test_a_missing_calibration_folder_is_reported(
    tmp_path: Path, client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = tmp_path / "gold.tif"
    reference.write_bytes(tiff(gold(0.004, 0.0, 0.0).counts))
    assert main(["calibrate", str(reference), "--material", "Au", "--name", "titan"]) == 2
    assert "give --out DIR or set DD2D_CALIBRATIONS" in capsys.readouterr().err
    assert main(["calibrate", str(reference), "--material", "Pb"]) == 2
    assert "use one of Au" in capsys.readouterr().err
    response = client.post("/inspect", files={"file": reference.read_bytes()}, data={"calibration": "titan"})
    assert response.status_code == 422
    assert "DD2D_CALIBRATIONS" in response.json()["detail"]
