"""The command line, run in this process with the stand-in library."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from app.cli.main import main
from app.presentation.schemas.service import Provenance
from app.workers.dispatcher import Dispatcher
from model.matching.next_measurement import NextMeasurement
from tests.app.answers import problem_of
from tests.app.stand_in import StandIn
from tests.paths import ROOT

MOS2 = ROOT / "docs" / "examples" / "mos2.cif"


@pytest.fixture(autouse=True)
def open_stand_in(monkeypatch: pytest.MonkeyPatch, library: StandIn) -> StandIn:
    monkeypatch.setattr("app.services.search_index.open_index", lambda _settings: library)
    return library


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    assert main(["simulate", str(MOS2), "--out", str(tmp_path / "mos2.json")]) == 0
    return tmp_path / "mos2.json"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(arguments) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that reports an error."""
    capsys.readouterr()
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("dd2d: ")
    return line


def test_a_simulated_pattern_can_be_posted_unchanged(client: TestClient, simulated: Path) -> None:
    response = client.post("/predict", json=json.loads(simulated.read_text()))
    assert response.json()["candidates"][0]["id"] == "mos2"
    assert response.json()["query"]["voltage_kv"] == 80


@pytest.mark.parametrize("name", ["mos2.json", "mos2.csv", "mos2.png"])
def test_a_simulated_pattern_is_identified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = str(tmp_path / name)
    main(["simulate", str(MOS2), "--out", path, "--pixel-size", "0.004", "--rotation", "20"])
    given = ["--pixel-size", "0.004"] if name.endswith("png") else []
    answer = json.loads(printed(capsys, "predict", path, "--format", "json", "--voltage-kv", "80", *given))
    assert answer["candidates"][0]["id"] == "mos2"
    assert answer["query"]["warnings"] == []


def test_simulation_options_change_the_pattern(tmp_path: Path) -> None:
    def points(*options: str) -> Any:
        path = tmp_path / "out.json"
        assert main(["simulate", str(MOS2), "--out", str(path), *options]) == 0
        return json.loads(path.read_text())

    plain = points()
    changed = {
        name: points(*words.split())
        for name, words in {
            "tilt": "--tilt 3",
            "azimuth": "--tilt 3 --tilt-azimuth 90",
            "voltage": "--voltage-kv 200",
            "q_max": "--q-max 1.0",
            "rotation": "--rotation 10",
            "mirrored": "--mirrored --rotation 10",
            "thermal": "--b-iso 1",
            "xray": "--radiation xray --q-max 0.6",
            "threshold": "--threshold 0.1",
        }.items()
    }
    written = [json.dumps(each) for each in (plain, *changed.values())]
    assert len(set(written)) == len(written)
    assert len(changed["q_max"]["points"]) < len(plain["points"])
    assert len(changed["threshold"]["points"]) < len(plain["points"])
    assert "voltage_kv" not in changed["xray"]


def test_predict_prints_a_table(simulated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, first, *_ = printed(capsys, "predict", str(simulated), "--top-k", "2").splitlines()
    assert head.split() == ["rank", "formula", "similarity", "R", "tilt", "layer", "source", "id"]
    assert first.split()[:2] == ["1", "MoS2"]
    assert first.split()[3:5] == ["-", "-"]  # the stand-in matches nothing
    assert first.split()[-1] == "mos2"


def test_predict_prints_a_cif(simulated: Path, capsys: pytest.CaptureFixture[str], library: StandIn) -> None:
    assert printed(capsys, "predict", str(simulated), "--format", "cif") == library.get_entry("mos2").cif


def test_predict_passes_on_every_option(
    simulated: Path, capsys: pytest.CaptureFixture[str], library: StandIn
) -> None:
    options = "--units 1/nm --voltage-kv 120 --elements-only Mo,S,Se --elements-all Mo --elements-any S,Se"
    printed(capsys, "predict", str(simulated), *options.split(), "--elements-none", "C", "--top-k", "7")
    (search,) = library.searches
    assert (search["voltage_kv"], search["top_k"]) == (120, 7)
    elements = search["elements"]
    assert (elements.only, elements.all, elements.any, elements.none) == (
        ("Mo", "S", "Se"),
        ("Mo",),
        ("S", "Se"),
        ("C",),
    )
    assert library.closed


def test_predict_prints_verdict_confidence_set_and_next_measurement(
    simulated: Path, capsys: pytest.CaptureFixture[str], library: StandIn
) -> None:
    library.verdict = "ambiguous"
    library.set_size, library.measurement = 3, NextMeasurement("tilt", "Tilt the flake.", tilt_deg=4.0)
    assert main(["predict", str(simulated)]) == 0
    messages = capsys.readouterr().err
    assert "verdict: ambiguous" in messages
    assert "95 % confidence set: 3 candidates (if the crystal is in the library)" in messages
    assert "next measurement: Tilt the flake." in messages


def test_predict_prints_svg_and_accepts_a_composition(
    simulated: Path, capsys: pytest.CaptureFixture[str], library: StandIn
) -> None:
    words = "--composition Mo:1,S:2 --composition-sigma 0.1 --coverage 0.9 --format svg"
    assert printed(capsys, "predict", str(simulated), *words.split()).startswith("<svg")
    (search,) = library.searches
    assert search["composition"].fractions == {"Mo": 1.0, "S": 2.0}
    assert (search["composition"].sigma, search["coverage"]) == (0.1, 0.9)


def test_predict_states_its_assumptions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "mos2.csv")
    main(["simulate", str(MOS2), "--out", path])
    main(["predict", path])
    assert "80 kV" in capsys.readouterr().err


def test_predict_uses_the_simulated_voltage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], library: StandIn
) -> None:
    path = str(tmp_path / "mos2.json")
    main(["simulate", str(MOS2), "--out", path, "--voltage-kv", "200"])
    main(["predict", path])
    assert library.searches[-1]["voltage_kv"] == 200
    assert capsys.readouterr().err == ""


def test_simulated_x_ray_patterns_are_refused(client: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "mos2.json"
    main(["simulate", str(MOS2), "--out", str(path), "--radiation", "xray"])
    assert "X-rays" in problem_of(client.post("/predict", json=json.loads(path.read_text())), 422)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--top-k", "0"], "top_k"),
        (["--elements-only", "Xx"], "Xx"),
        (["--effort", "most"], "effort"),
        (["--pixel-size", "0.1"], "pixel"),
        (["--units", "furlong"], "furlong"),
    ],
)
def test_predict_reports_errors_in_one_line(
    simulated: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert named in refused(capsys, "predict", str(simulated), *arguments)


def test_a_missing_file_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "absent.json" in refused(capsys, "predict", str(tmp_path / "absent.json"))
    assert "absent.cif" in refused(capsys, "simulate", str(tmp_path / "absent.cif"), "--out", "x.json")


def test_the_seed_changes_the_noise_of_a_frame(tmp_path: Path) -> None:
    def frame(*options: str) -> bytes:
        path = tmp_path / "out.png"
        assert main(["simulate", str(MOS2), "--out", str(path), *options]) == 0
        return path.read_bytes()

    assert frame() == frame("--seed", "0")
    assert frame() != frame("--seed", "1")


@pytest.mark.parametrize(
    "option", ["--rotation inf", "--tilt nan", "--tilt 60", "--b-iso -1", "--threshold 2", "--voltage-kv 0"]
)
def test_numbers_out_of_range_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["simulate", str(MOS2), "--out", "x.json", *option.split()])
    assert end.value.code == 2
    assert "is not between" in capsys.readouterr().err


def test_an_unreadable_structure_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.cif").write_text("no crystal")
    error = refused(capsys, "simulate", str(tmp_path / "notes.cif"), "--out", str(tmp_path / "x.json"))
    assert "notes.cif: The file is neither a CIF" in error


def test_simulate_refuses_an_unknown_suffix_and_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ".csv" in refused(capsys, "simulate", str(MOS2), "--out", str(tmp_path / "x.tiff"))
    assert "size" in refused(capsys, "simulate", str(MOS2), "--out", str(tmp_path / "x.png"), "--size", "1")


def test_a_missing_index_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no index" in refused(capsys, "index", "info", str(tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["predict"],
        ["index"],
        ["index", "build"],
        ["serve", "--port", "x"],
        ["train"],
        ["simulate"],
    ],
)
def test_a_wrong_call_has_exit_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: dd2d" in capsys.readouterr().err


def test_serve_listens_at_the_given_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served: list[uvicorn.Config] = []

    async def serve(self: uvicorn.Server) -> None:
        served.append(self.config)

    async def start(_: Dispatcher) -> Provenance:
        return Provenance(version="0", model="m", index="i", crystals=1, user_structures=0)

    async def close(_: Dispatcher) -> None:
        return

    monkeypatch.setattr(uvicorn.Server, "serve", serve)
    monkeypatch.setattr(Dispatcher, "start", start)
    monkeypatch.setattr(Dispatcher, "close", close)
    monkeypatch.setenv("DD2D_HOST", "127.0.0.9")
    assert main(["serve", "--port", "8123", "--index", str(tmp_path)]) == 0
    (config,) = served
    assert (config.host, config.port) == ("127.0.0.9", 8123)


def test_serve_reports_a_missing_index_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    error = refused(capsys, "serve", "--port", "0", "--index", str(tmp_path))
    assert "contains no index; build one with `dd2d index build`" in error


def test_serve_reports_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in refused(capsys, "serve", "--port", str(port))


def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", "from app.cli.main import main; raise SystemExit(main())"]
    arguments = ["simulate", str(MOS2), "--out", str(tmp_path / "x.json")]
    run = subprocess.run([*command, *arguments], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (run.returncode, run.stderr) == (141, b"")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from app.cli.main import build_parser; build_parser().format_help(); "
        "print(*sorted({'torch', 'faiss', 'fastapi', 'numpy', 'pydantic', 'pymatgen'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_training_commands_describe_their_arguments(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "--data" in capsys.readouterr().out


def simulated_points(path: Path, options: str) -> dict[tuple[float, float], float]:
    assert main(["simulate", str(MOS2), "--out", str(path), *options.split()]) == 0
    points = json.loads(path.read_text())["points"]
    return {(round(x, 3) + 0.0, round(y, 3) + 0.0): round(i, 4) for x, y, i in points}


def test_face_down_turns_the_flake_and_mirrored_flips_the_camera(tmp_path: Path) -> None:
    """MoS2 has a mirror plane across a, so turning it over about a inverts it, which the Born model ignores."""
    path = tmp_path / "x.json"
    up, down, mirrored = (
        simulated_points(path, f"--tilt 4 {option}") for option in ("", "--face-down", "--mirrored")
    )
    assert down == up
    assert mirrored != up
    eikonal = [
        simulated_points(path, f"--atom-model eikonal {option}") for option in ("--face-down", "--mirrored")
    ]
    assert eikonal[0] != eikonal[1]
