"""The examples of the page are those that docs/page_examples.py writes, and the service reads them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from starlette.testclient import TestClient

from tests.paths import ROOT

SERVED = ROOT / "app/web/examples"
MAX_BYTES = 300_000


def test_the_script_writes_the_examples(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docs/page_examples.py", "--out", tmp_path], cwd=ROOT, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in SERVED.iterdir()}
    assert (tmp_path / "graphene.json").read_text() == (SERVED / "graphene.json").read_text()
    # Another version of zlib may compress the same counts differently.
    for path in tmp_path.glob("*.tif"):
        np.testing.assert_array_equal(tifffile.imread(path), tifffile.imread(SERVED / path.name))


@pytest.mark.parametrize(
    ("name", "a"), [("mos2-tilted.tif", 3.16), ("twisted-pair.tif", 3.28), ("graphene.json", 2.46)]
)
def test_each_example_is_a_pattern_with_its_scale(client: TestClient, name: str, a: float) -> None:
    response = client.get(f"/static/examples/{name}")
    assert response.status_code == 200
    assert len(response.content) < MAX_BYTES
    query = client.post("/inspect", files={"file": (name, response.content)}).json()["query"]
    assert query["calibration"] == "file"
    assert query["lattice"]["bravais"] == "hexagonal"
    assert query["lattice"]["a"] == pytest.approx(a, rel=2e-3)
    assert query["quality"]["grade"] in {"good", "fair"}


@pytest.mark.parametrize("name", ["mos2-tilted.tif", "graphene.json", "twisted-pair.tif"])
def test_the_page_offers_each_example(client: TestClient, name: str) -> None:
    assert f'"{name}"' in client.get("/static/page/upload.js").text
