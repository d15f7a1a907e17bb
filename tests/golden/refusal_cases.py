"""Requests that are refused: every status and type of problem that a client can bring about."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.frame_cases import frame
from tests.golden.images import (
    add_noise,
    points_of,
    render_columns,
    render_discs,
    render_rings,
    render_spots,
    write_large_png,
    write_npy,
    write_tiff,
)
from tests.golden.messages import Case, Field, File, Request

# Options of a JSON request that cannot be used, each alone.
WRONG_OPTIONS: dict[str, dict[str, Any]] = {
    "unknown": {"color": "blue"},
    "top_k_0": {"top_k": 0},
    "top_k_101": {"top_k": 101},
    "top_k_text": {"top_k": "10"},
    "top_k_fraction": {"top_k": 2.5},
    "effort": {"effort": "most"},
    "units": {"units": "furlong"},
    "radiation_xray": {"radiation": "xray"},
    "radiation": {"radiation": "neutron"},
    "voltage_20": {"voltage_kv": 20},
    "voltage_400": {"voltage_kv": 400},
    "pixel_size_0": {"pixel_size": 0, "units": "pixel"},
    "pixel_size_without_pixels": {"pixel_size": 0.01, "units": "1/angstrom"},
    "scale_sigma_large": {"scale_sigma": 0.2},
    "scale_sigma_0": {"scale_sigma": 0},
    "center_one": {"center": [1.0], "units": "pixel"},
    "center_text": {"center": "1,2", "units": "pixel"},
    "frame_of_points": {"frame": 1},
    "frame_negative": {"frame": -1},
    "calibration_unknown": {"calibration": "nowhere"},
    "mask_three": {"mask": [[0, 0, 1]]},
    "mask_all": {"mask": [[-9, -9, 9, 9]]},
    "lattice_parallel": {"lattice": [[0.3, 0.0], [0.6, 0.001]]},
    "lattice_off_spots": {"lattice": [[0.011, 0.0], [0.0, 0.0123]]},
    "lattice_and_search": {"lattice": [[0.3, 0.0], [0.0, 0.3]], "effort": "search"},
    "element_unknown": {"elements_only": ["Mo", "Xx"]},
    "elements_text": {"elements_only": "Mo,S"},
    "elements_contradict": {"elements_all": ["Mo"], "elements_none": ["Mo"]},
    "elements_any_outside": {"elements_any": ["W"], "elements_only": ["Mo", "S"]},
    "composition_element": {"composition": {"Xx": 1}},
    "composition_negative": {"composition": {"Mo": -1, "S": 2}},
    "composition_empty": {"composition": {}},
    "composition_contradicts": {"composition": {"Mo": 1, "S": 2}, "elements_none": ["S"]},
    "composition_sigma_alone": {"composition_sigma": 0.05},
    "composition_sigma_large": {"composition": {"Mo": 1}, "composition_sigma": 0.9},
    "coverage_low": {"coverage": 0.2},
    "coverage_high": {"coverage": 1},
    "spots_text": {"spots": "yes"},
    "structures": {"structures": ["data_x"]},
}
# Points that are none, or too few.
WRONG_POINTS: dict[str, Any] = {
    "none": [],
    "missing": None,
    "text": "0,1",
    "numbers": [1, 2, 3],
    "two_spots": [[0.3, 0.0, 1], [-0.3, 0.0, 1]],
    "one_coordinate": [[1], [2], [3]],
    "four_columns": [[0, 1, 2, 3], [1, 1, 2, 3], [2, 1, 2, 3]],
    "word": [[0, 1, "x"], [1, 0, 1], [1, 1, 1]],
    "intensity_negative": [[0.3, 0, -1], [0, 0.3, 1], [-0.3, 0, 1], [0, -0.3, 1]],
    "on_the_beam": [[0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]],
    "too_far": [[1e9, 0, 1], [0, 1e9, 1], [-1e9, 0, 1], [0, -1e9, 1]],
}


def list_refusal_cases() -> list[Case]:
    """All requests that are refused."""
    return [
        *(_wrong_option(id, options) for id, options in WRONG_OPTIONS.items()),
        *(
            Case(f"refused/points/{id}", (Request("/predict", json={"points": points}),))
            for id, points in WRONG_POINTS.items()
        ),
        *_body_cases(),
        *_form_cases(),
        *_file_cases(),
        *_image_cases(),
        *_access_cases(),
        *_route_cases(),
        *_compare_cases(),
        *_replay_cases(),
    ]


def _wrong_option(id: str, options: dict[str, Any]) -> Case:
    body = {"points": points_of("mos2"), **options}
    return Case(f"refused/option/{id}", (Request("/predict", json=body),))


def _json_text(id: str, text: str, content_type: str = "application/json", path: str = "/predict") -> Case:
    headers = {"Content-Type": content_type}
    return Case(f"refused/body/{id}", (Request(path, content=text.encode(), headers=headers),))


def _body_cases() -> list[Case]:
    points = json.dumps(points_of("graphene"))
    many = json.dumps([[0, 0]] * 100_001).replace(" ", "")
    return [
        _json_text("empty", ""),
        _json_text("cut", '{"points": [[1, 2'),
        _json_text("not_a_number", '{"points": [[NaN, 2], [1, 2], [2, 3]]}'),
        _json_text("list", "[[1, 2, 3]]"),
        _json_text("nested", '{"points": ' + "[" * 2000 + "]" * 2000 + "}"),
        _json_text("too_many_points", f'{{"points": {many}}}'),
        _json_text("too_large", f'{{"points": {points}}}' + " " * (5 * 2**20)),
        _json_text("text", "0.1 0.2 1", "text/plain"),
        _json_text("no_type", "0.1 0.2 1", ""),
        _json_text("form_without_boundary", "x", "multipart/form-data"),
        _json_text("form_damaged", "x", "multipart/form-data; boundary=abc"),
    ]


def _form_cases() -> list[Case]:
    table = File("spots.csv", "\n".join(",".join(map(str, row)) for row in points_of("mos2")).encode())

    def form(id: str, *fields: Field, path: str = "/predict") -> Case:
        return Case(f"refused/form/{id}", (Request(path, form=fields),))

    return [
        form("no_file", ("top_k", "3")),
        form("file_as_text", ("file", "0.1,0.2,1")),
        form("two_files", ("file", table), ("file", table)),
        form("another_field", ("pattern", table)),
        form("file_and_structures", ("file", table), ("structures", table)),
        form("option_twice", ("file", table), ("top_k", "3"), ("top_k", "4")),
        form("unknown_option", ("file", table), ("color", "blue")),
        form("top_k_word", ("file", table), ("top_k", "ten")),
        form("spots_word", ("file", table), ("spots", "perhaps")),
        form("center_word", ("file", table), ("center", "a,b"), ("units", "pixel")),
        form("lattice_three", ("file", table), ("lattice", "1,2,3")),
        form("mask_word", ("file", table), ("mask", "a,b,c,d")),
        form("composition_word", ("file", table), ("composition", "Mo=1")),
        form("composition_twice", ("file", table), ("composition", "Mo:1,Mo:2")),
        form("many_fields", ("file", table), *((f"x{n}", "1") for n in range(70))),
        form("frame_of_table", ("file", table), ("frame", "0")),
        form("measure_of_points", ("file", table), ("measure", "1,2"), path="/inspect"),
    ]


def _file_cases() -> list[Case]:
    noise = np.random.PCG64(1).random_raw(2000).tobytes()
    tiff = write_tiff(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    npy = write_npy(np.zeros((8, 64, 64), np.float32))
    files = {
        "empty": b"",
        "noise": noise,
        "words": b"The quick brown fox\njumps over the dog\n",
        "one_column": b"1\n2\n3\n4\n",
        "header_alone": b"x,y,intensity\n",
        "word_in_table": b"x,y,intensity\n0.1,0.2,1\n0.2,spam,1\n0.3,0.1,1\n",
        "short_row": b"0.1,0.2,1\n0.2,0.3\n0.3,0.1,1\n",
        "json_cut": b'{"points": [[1, 2',
        "json_no_points": b'{"spots": 3}',
        "json_units": b'{"points": [[1, 2], [2, 1], [1, 1]], "units": "mile"}',
        "tiff_cut": tiff[:200],
        "npy_cut": npy[: len(npy) // 2],
        "npy_text": write_npy(np.array(["a", "b"])),
        "png_of_5_gigapixels": write_large_png(72000, 72000),
        "png_cut": write_large_png(64, 64)[:60],
        "pdf": b"%PDF-1.4\n" + noise,
        "raw_zip": b"PK\x03\x04" + noise,
    }
    return [
        *(_refused_file(id, File(f"upload_{id}", content)) for id, content in files.items()),
        _refused_file("too_large", File("large.npy", lambda: write_npy(np.zeros((1500, 1500), np.uint16)))),
        _refused_file("frame_beyond", File("stack.npy", npy), ("frame", "8")),
        _refused_file("frame_word", File("stack.npy", npy), ("frame", "all")),
    ]


def _refused_file(id: str, file: File, *fields: Field) -> Case:
    return Case(f"refused/file/{id}", (Request("/predict", form=(("file", file), *fields)),))


def _image_cases() -> list[Case]:
    flat = np.full((256, 256), 100.0)
    grains = _grains()
    sparse = [[0.37, 0.05, 1.0], [-0.37, -0.05, 0.9]]
    images: dict[str, Callable[[], NDArray[Any]]] = {
        "blank": lambda: np.full((256, 256), 100, np.uint16),
        "noise": lambda: add_noise(flat, 20),
        "rings": lambda: add_noise(render_rings([90.0, 104.0, 147.0, 172.0]), 21),
        "grains": lambda: add_noise(grains, 22),
        "overlapping_discs": lambda: add_noise(render_discs(), 23),
        "real_space": lambda: add_noise(render_columns(), 24),
        "two_spots": lambda: _frame_of(sparse),
        "no_symmetry": lambda: _frame_of(_scattered()),
        "line": lambda: np.zeros((1, 4000), np.uint16),
        "not_finite": lambda: np.full((64, 64), np.nan, np.float32),
    }
    mos2 = File("frame.tif", lambda: write_tiff(frame("mos2_tilted")))
    options: dict[str, tuple[Field, ...]] = {
        "center_far": (("center", "9000,9000"),),
        "units_of_frame": (("units", "1/nm"),),
        "mask_all": (("mask", "0,0,511,511"),),
    }
    return [
        *(_refused_image(id, render) for id, render in images.items()),
        *(
            Case(f"refused/image/{id}", (Request("/predict", form=(("file", mos2), *fields)),))
            for id, fields in options.items()
        ),
    ]


def _refused_image(id: str, render: Callable[[], NDArray[Any]]) -> Case:
    file = File(f"{id}.tif", lambda: write_tiff(render()))
    return Case(f"refused/image/{id}", (Request("/predict", form=(("file", file),)),))


def _frame_of(points: list[list[float]]) -> NDArray[np.uint16]:
    return add_noise(render_spots(points), 25)


def _scattered() -> list[list[float]]:
    raw = np.random.PCG64(30).random_raw(90).astype("<u8") % 2000
    places = (raw.reshape(-1, 3).astype(np.float64) - 1000) / 1000
    return [[float(1.2 * x), float(1.2 * y), float(0.2 + abs(i))] for x, y, i in places]


def _grains() -> NDArray[np.float64]:
    raw = np.random.PCG64(31).random_raw(480).astype("<u8") % 3600
    angle, level = np.radians(raw[:240] / 10.0), raw[240:] / 3600.0
    radius = np.repeat([88.0, 102.0, 144.0, 169.0], 60)
    y, x = np.mgrid[:512, :512].astype(np.float64)
    counts = np.full((512, 512), 20.0)
    for turn, away, height in zip(angle, radius, level, strict=True):
        distance = (x - 256 - away * np.cos(turn)) ** 2 + (y - 256 - away * np.sin(turn)) ** 2
        counts += (60 + 840 * height) * np.exp(-distance / 4.5)
    return counts


def _access_cases() -> list[Case]:
    points = {"points": points_of("graphene")}
    layer = {"structure": "data_x"}

    def case(id: str, *steps: Request) -> Case:
        return Case(f"refused/access/{id}", steps)

    return [
        case("no_key", Request("/predict", json=points, role="none")),
        case("unknown_key", Request("/predict", json=points, role="unknown")),
        case("no_key_for_structures", Request("/structures", json=layer, role="none")),
        case("no_key_for_metrics", Request("/metrics", "GET", role="none")),
        case("reader_adds", Request("/structures", json=layer)),
        case("reader_removes", Request("/structures/starter%2FCrI3", "DELETE")),
        case("reader_reloads", Request("/admin/reload")),
        case("other_host", Request("/livez", "GET", headers={"Host": "evil.example.org"})),
        case("other_host_predict", Request("/predict", json=points, headers={"Host": "evil.example.org"})),
    ]


def _route_cases() -> list[Case]:
    points = {"points": points_of("graphene")}
    structure = "/structures/starter%2FCrI3"

    def case(id: str, request: Request) -> Case:
        return Case(f"refused/route/{id}", (request,))

    return [
        case("no_such_path", Request("/nothing", "GET")),
        case("get_predict", Request("/predict", "GET")),
        case("put_structure", Request(structure, "PUT", json=points)),
        case("delete_predict", Request("/predict", "DELETE")),
        case("post_livez", Request("/livez", json={})),
        case("no_such_overlay", Request("/overlays/0123456789abcdef0123456789abcdef/1", "GET")),
        case("overlay_rank_word", Request("/overlays/0123456789abcdef0123456789abcdef/x", "GET")),
        case("query_of_predict", Request("/predict?top_k=3", json=points)),
        case("query_of_inspect", Request("/inspect?pixel_size=1", json=points)),
        case("accept_inspect", Request("/inspect", json=points, headers={"Accept": "application/zip"})),
        case("accept_compare", Request("/compare", json=points, headers={"Accept": "text/csv"})),
        case("accept_batch", Request("/predict/batch", json=points, headers={"Accept": "text/csv"})),
        case("batch_json", Request("/predict/batch", json=points)),
        case("inspect_top_k", Request("/inspect", json={**points, "top_k": 3})),
    ]


def _compare_cases() -> list[Case]:
    graphene = {"points": points_of("graphene")}

    def case(id: str, **body: Any) -> Case:
        return Case(f"refused/compare/{id}", (Request("/compare", json={**graphene, **body}),))

    return [
        case("none"),
        case("one", structures=["data_x"]),
        case("numbers", structures=[1, 2]),
        case("many", structures=["data_x"] * 21),
        case("no_structure", structures=["no structure", "neither"]),
        case("option_of_search", structures=["a", "b"], top_k=3),
    ]


def _replay_cases() -> list[Case]:
    def case(id: str, body: Any) -> Case:
        return Case(f"refused/replay/{id}", (Request("/replay", json=body),))

    return [
        case("nothing", {}),
        case("answer_text", {"answer": "x"}),
        case("answer_empty", {"answer": {}}),
        case("unknown_key", {"answer": {}, "top_k": 3}),
    ]
