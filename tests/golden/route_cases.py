"""Requests to all routes but `/predict` and `/inspect`: comparison, replay, batches, structures, health, pages."""

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.golden.frame_cases import frame
from tests.golden.images import PIXEL_SIZE, points_of, write_npy, write_tiff
from tests.golden.messages import Case, Field, File, Request, Response
from tests.golden.point_cases import predict_points, to_pixels

H_PHASE = ((0.0, 0.0, 0.5, "Mo"), (1 / 3, 2 / 3, 0.579, "S"), (1 / 3, 2 / 3, 0.421, "S"))
T_PHASE = ((0.0, 0.0, 0.5, "Mo"), (1 / 3, 2 / 3, 0.573, "S"), (2 / 3, 1 / 3, 0.427, "S"))
HEAVY = ((0.0, 0.0, 0.5, "W"), (1 / 3, 2 / 3, 0.584, "Se"), (1 / 3, 2 / 3, 0.416, "Se"))
ODD = ((0.0, 0.0, 0.5, "Pd"), (0.5, 0.5, 0.55, "F"), (0.5, 0.5, 0.45, "F"))


def write_cif(
    a: float, sites: Sequence[tuple[float, float, float, str]], gamma: float = 120, b: float = 0
) -> str:
    """A CIF of one layer."""
    lines = [
        "data_layer",
        f"_cell_length_a {a}",
        f"_cell_length_b {b or a}",
        "_cell_length_c 20",
        "_cell_angle_alpha 90",
        "_cell_angle_beta 90",
        f"_cell_angle_gamma {gamma}",
        "loop_",
        "_atom_site_label",
        "_atom_site_fract_x",
        "_atom_site_fract_y",
        "_atom_site_fract_z",
        *(f"{symbol} {x:.6f} {y:.6f} {z:.6f}" for x, y, z, symbol in sites),
    ]
    return "\n".join(lines) + "\n"


def write_poscar() -> str:
    """A POSCAR of graphene."""
    cell = "2.46 0 0\n-1.23 2.13042249 0\n0 0 20"
    return f"graphene\n1.0\n{cell}\nC\n2\nDirect\n0.333333 0.666667 0.5\n0.666667 0.333333 0.5\n"


STRUCTURES = {
    "1H": write_cif(3.16, H_PHASE),
    "1T": write_cif(3.18, T_PHASE),
    "WSe2": write_cif(3.28, HEAVY),
    "graphene": write_poscar(),
    "PdF2": write_cif(3.61, ODD, 90, 4.27),
}


def list_route_cases() -> list[Case]:
    """All requests to these routes that are answered."""
    return [
        *_compare_cases(),
        *_replay_cases(),
        *_batch_cases(),
        *_structure_cases(),
        *_service_cases(),
    ]


def _compare_cases() -> list[Case]:
    def compare(id: str, pattern: str, *names: str, accept: str = "", **options: Any) -> Case:
        structures = [STRUCTURES[name] for name in names]
        body = {"points": points_of(pattern), "voltage_kv": 80, "structures": structures, **options}
        headers = {"Accept": accept} if accept else {}
        return Case(f"compare/{id}", (Request("/compare", json=body, headers=headers),))

    tiff = File("frame.tif", lambda: write_tiff(frame("mos2_tilted")))
    files = [("structures", File(f"{name}.cif", STRUCTURES[name].encode())) for name in ("1T", "1H", "WSe2")]
    form: tuple[Field, ...] = (
        ("file", tiff),
        *files,
        ("pixel_size", str(PIXEL_SIZE)),
        ("voltage_kv", "80"),
    )
    positions = [row[:2] for row in points_of("mos2")]
    bare = {"points": positions, "structures": [STRUCTURES["1H"], STRUCTURES["1T"]]}
    unknown = {"points": to_pixels("mos2"), "units": "pixel", "structures": bare["structures"]}
    return [
        compare("1h_or_1t", "mos2_tilted", "1H", "1T"),
        compare("1t_or_1h", "mos2", "1T", "1H"),
        compare("four", "mos2", "graphene", "WSe2", "1T", "1H"),
        compare("masked", "mos2", "1H", "1T", mask=[[0.1, 0.1, 1.3, 1.3]]),
        compare("none_fits", "phosphorene", "1H", "graphene"),
        compare("svg", "mos2", "1H", "1T", accept="image/svg+xml"),
        Case("compare/frame", (Request("/compare", form=form),)),
        Case("compare/no_intensities", (Request("/compare", json=bare),)),
        Case("compare/scale_unknown", (Request("/compare", json=unknown),)),
    ]


def _replay_cases() -> list[Case]:
    def replay(answers: Sequence[Response]) -> Request:
        return Request("/replay", json={"answer": answers[0].json()})

    def replay_with_points(answers: Sequence[Response]) -> Request:
        return Request("/replay", json={"answer": answers[0].json(), "points": points_of("bn")})

    def replay_form(answers: Sequence[Response]) -> Request:
        answer = File("answer.json", answers[0].content)
        return Request("/replay", form=(("file", tiff), ("answer", answer)))

    tiff = File("frame.tif", lambda: write_tiff(frame("mos2_tilted")))
    scale: tuple[Field, ...] = (("pixel_size", str(PIXEL_SIZE)), ("top_k", "2"))
    recorded = predict_points("wse2", record=True, top_k=2)
    frame_recorded = Request("/predict", form=(("file", tiff), *scale, ("record", "true")))
    return [
        Case("replay/recorded", (recorded, replay)),
        Case("replay/points_beside", (predict_points("bn", top_k=2), replay_with_points)),
        Case("replay/another_pattern", (predict_points("mos2", top_k=2), replay_with_points)),
        Case("replay/frame_beside", (Request("/predict", form=(("file", tiff), *scale)), replay_form)),
        Case("replay/recorded_frame", (frame_recorded, replay)),
        Case("replay/not_recorded", (predict_points("bn", top_k=1), replay)),
    ]


def _batch_cases() -> list[Case]:
    def points_file(name: str) -> File:
        return File(f"{name}.json", json.dumps({"points": points_of(name), "voltage_kv": 80}).encode())

    tiff = File("frame.tif", lambda: write_tiff(frame("wse2", 6)))
    archive = File("session.zip", _zip_of("mos2", "graphene", "no_lattice"))
    scan = File("scan.npy", lambda: write_npy(_small_scan()))
    broken = File("broken.json", b'{"points": [[1, 2')
    size: Field = ("pixel_size", str(PIXEL_SIZE))
    top: Field = ("top_k", "2")

    def batch(id: str, *form: Field) -> Case:
        return Case(f"batch/{id}", (Request("/predict/batch", form=form),))

    return [
        batch("files", ("file", points_file("mos2")), ("file", points_file("biocl")), top),
        batch("frames_and_broken", ("file", tiff), ("file", broken), top, size),
        batch("zip", ("file", archive), top, ("elements_any", "Mo,C")),
        batch("scan", ("file", scan), top, ("pixel_size", "0.0104"), ("effort", "search")),
        batch("image_of_scan", ("file", scan), top, ("pixel_size", "0.0104"), ("frame", "1")),
        batch("zip_damaged", ("file", File("cut.zip", _zip_of("mos2")[:300]))),
        batch("no_file", top),
        batch("wrong_option", ("file", points_file("mos2")), ("top_k", "0")),
    ]


def _small_scan() -> Any:
    small = {"side": 256, "pixel_size": 2 * PIXEL_SIZE}
    return np.stack([frame("mos2_tilted", 17, **small), frame("wse2", 18, **small)])


def _zip_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            content = json.dumps({"points": points_of(name), "voltage_kv": 80})
            archive.writestr(zipfile.ZipInfo(f"{name}.json", (2020, 1, 1, 0, 0, 0)), content)
        archive.writestr(zipfile.ZipInfo("notes.txt", (2020, 1, 1, 0, 0, 0)), "no points here\n")
    return buffer.getvalue()


def _structure_cases() -> list[Case]:
    def get(id: str, path: str, accept: str = "") -> Case:
        headers = {"Accept": accept} if accept else {}
        return Case(f"structures/{id}", (Request(path, "GET", headers=headers),))

    return [
        get("get", "/structures/starter%2FMoS2-1H"),
        get("get_parentheses", "/structures/starter%2FTi3C2%28OH%292"),
        get("get_bilayer", "/structures/starter%2Fgraphene-AB"),
        get("get_unescaped", "/structures/starter/CrI3"),
        get("get_as_cif", "/structures/starter%2FWTe2-1Tp", "chemical/x-cif"),
        get("cif", "/structures/starter%2FMoS2-2H-bilayer/cif"),
        get("unknown", "/structures/nothing%2Fhere"),
        get("unknown_cif", "/structures/nothing/cif"),
        get("query_ignored", "/structures/starter%2FCrI3?format=cif"),
        get("not_acceptable", "/structures/starter%2FCrI3", "image/png"),
        _added_case(),
        _made_id_case(),
        _added_form_case(),
        _refused_additions_case(),
    ]


def _write(**body: Any) -> Request:
    return Request("/structures", json=body, role="write")


def _delete(path: str, role: Any = "write") -> Request:
    return Request(path, "DELETE", role=role)


def _added_case() -> Case:
    """Add, add again, contradict, find, and remove a structure."""
    id, path = "golden/PdF2 50%", "/structures/golden%2FPdF2%2050%25"
    spots = [
        [round(h / 3.61, 4), round(k / 4.27, 4), round(1 / (1 + h * h + k * k) * (1.5 - (h + k) % 2), 4)]
        for h in range(-4, 5)
        for k in range(-4, 5)
        if h or k
    ]
    search = Request("/predict", json={"points": spots, "voltage_kv": 80, "top_k": 3, "elements_all": ["Pd"]})
    return Case(
        "structures/add_find_remove",
        (
            _write(structure=STRUCTURES["PdF2"], id=id, reference="Lab book 7", licence="CC0"),
            _write(structure=STRUCTURES["PdF2"], id=id, reference="Lab book 7", licence="CC0"),
            _write(structure=STRUCTURES["1T"], id=id),
            Request(path, "GET"),
            Request(f"{path}/cif", "GET"),
            search,
            Request("/version", "GET"),
            _delete(path),
            _delete(path),
            search,
        ),
    )


def _made_id_case() -> Case:
    """A structure without an id gets one that is made from it; the crystal is known under another id."""

    def at_its_address(method: str) -> Any:
        def request(answers: Sequence[Response]) -> Request:
            return Request(answers[0].headers["location"], method, role="write")

        return request

    find = predict_points("mos2", top_k=2, elements_only=["Mo", "S"])
    steps = (_write(structure=STRUCTURES["1H"]), at_its_address("GET"), find, at_its_address("DELETE"))
    return Case("structures/add_without_id", steps)


def _added_form_case() -> Case:
    poscar = File("POSCAR", STRUCTURES["graphene"].encode())
    form: tuple[Field, ...] = (("file", poscar), ("id", "golden.poscar"), ("licence", ""))
    add = Request("/structures", form=form, role="admin")
    return Case("structures/add_form", (add, _delete("/structures/golden%2Eposcar", "admin")))


def _refused_additions_case() -> Case:
    many = [(i / 13, j / 13, 0.5, "C") for i in range(13) for j in range(13)]
    uneven = [(x + 0.003 * (n % 7), y, z, "C" if n % 5 else "Si") for n, (x, y, z, _) in enumerate(many)]
    return Case(
        "structures/refused",
        (
            _write(structure="no structure at all"),
            _write(structure=7),
            _write(id="golden/nothing"),
            _write(structure=STRUCTURES["1H"], id=" spaced "),
            _write(structure=STRUCTURES["1H"], id=""),
            _write(structure=STRUCTURES["1H"], colour="blue"),
            _write(structure=STRUCTURES["1H"], id="starter/CrI3"),
            _write(structure="data_x\n" + "#" * 70000),
            _write(structure=write_cif(32.0, uneven)),
            _write(structure=STRUCTURES["1H"].replace("_cell_length_c 20", "_cell_length_c 3.4")),
            _delete("/structures/starter%2FCrI3"),
            _delete("/structures/nothing"),
        ),
    )


def _service_cases() -> list[Case]:
    def get(id: str, path: str, *, recorded: bool = True) -> Case:
        return Case(f"service/{id}", (Request(path, "GET", role="none", body_recorded=recorded),))

    reload = Request("/admin/reload", role="admin")
    return [
        get("livez", "/livez"),
        get("readyz", "/readyz"),
        get("version", "/version"),
        get("front_page", "/"),
        get("docs", "/docs"),
        get("openapi", "/openapi.json", recorded=False),
        Case("service/metrics", (Request("/metrics", "GET"),)),
        Case("admin/reload", (reload,)),
        Case("admin/reload_json", (Request("/admin/reload", json={}, role="admin"),)),
        Case("admin/reload_unknown", (Request("/admin/reload", json={"version": "none"}, role="admin"),)),
        Case("admin/reload_wrong_key", (Request("/admin/reload", json={"versions": 1}, role="admin"),)),
        Case("admin/reload_form", (Request("/admin/reload", form=(("version", "x"),), role="admin"),)),
        Case("admin/reload_as_writer", (Request("/admin/reload", role="write"),)),
    ]
