"""Comparison with an independent frozen-phonon multislice, by the figures that `bench.physics` prints."""

import pytest

from bench.physics import compute_residuals
from tests.paths import ROOT

BENCHMARK = ROOT.parent / "shared" / "bench"

pytestmark = pytest.mark.skipif(not BENCHMARK.is_dir(), reason="the benchmark is not beside the project")


# The bounds are slightly above the measured medians (docs/physics.md). The aim of 0.40 is met by eikonal atoms and
# multislice, and by Born atoms without tilt.
@pytest.mark.parametrize(
    ("file", "born", "eikonal", "multislice"),
    [
        ("multislice_dev.json.gz", 0.40, 0.26, 0.22),
        ("multislice_dev_tilted.json.gz", 0.45, 0.34, 0.24),
    ],
)
def test_residuals_of_monolayers(file: str, born: float, eikonal: float, multislice: float) -> None:
    residuals = compute_residuals(BENCHMARK / file)
    assert residuals["born"]["monolayers"] <= born
    assert residuals["eikonal"]["monolayers"] <= eikonal
    assert residuals["multislice"]["monolayers"] <= multislice
