"""Requests to `/predict` with points."""

import json
import math
from typing import Any

from tests.golden.images import points_of
from tests.golden.messages import Case, Field, File, Request

CRYSTALS = (
    *(
        "graphene",
        "graphene_tilted",
        "mos2",
        "mos2_tilted",
        "wse2",
        "wte2",
        "bn",
        "cri3",
        "phosphorene",
        "res2",
    ),
    *("ti3c2o2", "biocl", "moo3", "feps3", "c2n", "pdse2", "bi2se3", "mos2_bilayer", "crsbr", "v2o5"),
    *("mosse_face_down", "snse", "sr2iro4", "nbse2_1t", "goldene", "gaas_110", "no_lattice"),
)
SEARCHED = (*CRYSTALS[:20:2], "snse", "no_lattice")
THOROUGH = ("mos2_tilted", "wse2", "phosphorene", "mos2_bilayer", "ti3c2o2")
TWISTED = ("twisted_mos2_graphene", "twisted_wse2", "twisted_mos2_phosphorene")
PIXEL_SIZE, CENTER = 0.005, (260.0, 251.0)


def predict_points(name: str, **options: Any) -> Request:
    """A JSON request for the candidates of a committed pattern."""
    return Request("/predict", json={"points": points_of(name), "voltage_kv": 80, "top_k": 4, **options})


def _single(id: str, name: str, **options: Any) -> Case:
    return Case(f"predict/points/{id}", (predict_points(name, **options),))


def to_pixels(name: str, center: tuple[float, float] = CENTER) -> list[list[float]]:
    """A committed pattern in pixels of a camera."""
    return [
        [round(center[0] + x / PIXEL_SIZE, 3), round(center[1] + y / PIXEL_SIZE, 3), intensity]
        for x, y, intensity in points_of(name)
    ]


def _scaled(name: str, factor: float) -> list[list[float]]:
    return [[round(x * factor, 5), round(y * factor, 5), intensity] for x, y, intensity in points_of(name)]


def _positions(name: str) -> list[list[float]]:
    return [[x, y] for x, y, _ in points_of(name)]


def _with_a_gap(name: str) -> list[list[float]]:
    """Points of which one has no intensity."""
    first, *others = points_of(name)
    return [first[:2], *others]


def _table(name: str, separator: str, header: str = "") -> bytes:
    rows = [separator.join(map(str, row)) for row in points_of(name)]
    return ("\n".join([*([header] if header else []), *rows]) + "\n").encode()


def _dd2d_json(name: str) -> bytes:
    columns = list(zip(*points_of(name), strict=True))
    logarithms = [round(math.log(each), 4) for each in columns[2]]
    pixels = [[round(100.5 + each / 0.025, 3) for each in axis] for axis in columns[:2]]
    return json.dumps({"X": [*pixels, logarithms]}).encode()


def _file(id: str, file: File, **fields: str) -> Case:
    form: tuple[Field, ...] = (("file", file), ("top_k", "3"), *fields.items())
    return Case(f"predict/point_file/{id}", (Request("/predict", form=form),))


def list_point_cases() -> list[Case]:
    """All requests with points that are answered."""
    return [
        *(_single(f"verify/{name}", name) for name in CRYSTALS),
        *(_single(f"search/{name}", name, effort="search", top_k=6) for name in SEARCHED),
        *(_single(f"full/{name}", name, effort="full", top_k=5) for name in THOROUGH),
        *(_single(f"two_lattices/{name}", name) for name in TWISTED),
        *_chemistry_cases(),
        *_scale_cases(),
        *_lattice_cases(),
        *_output_cases(),
        *_file_cases(),
        *_accept_cases(),
    ]


def _chemistry_cases() -> list[Case]:
    measured = {"Mo": 0.31, "S": 0.69}
    return [
        _single("elements/only", "mos2", elements_only=["Mo", "S"]),
        _single("elements/only_wrong", "mos2", elements_only=["C"]),
        _single("elements/only_search", "wse2", elements_only=["W", "Se", "S"], effort="search"),
        _single("elements/only_full", "mos2_bilayer", elements_only=["Mo", "S"], effort="full"),
        _single("elements/all", "cri3", elements_all=["I"]),
        _single("elements/any", "bi2se3", elements_any=["Bi", "Sb"]),
        _single("elements/none", "biocl", elements_none=["F", "Br", "I"]),
        _single("elements/all_and_none", "ti3c2o2", elements_all=["Ti", "C"], elements_none=["F"]),
        _single("elements/of_no_crystal", "mos2", elements_all=["Xe"]),
        _single("composition/mos2", "mos2_tilted", composition=measured),
        _single("composition/amounts", "wse2", composition={"W": 1, "Se": 2}, composition_sigma=0.02),
        _single(
            "composition/with_elements", "cri3", composition={"Cr": 1, "I": 3}, elements_only=["Cr", "I"]
        ),
        _single("composition/search", "moo3", composition={"Mo": 1, "O": 3}, effort="search"),
        _single("two_lattices/elements", "twisted_mos2_graphene", elements_only=["Mo", "S", "C"]),
        _single("two_lattices/full", "twisted_wse2", effort="full", elements_only=["W", "Se"]),
    ]


def _scale_cases() -> list[Case]:
    in_pixels = {"points": to_pixels("mos2"), "units": "pixel", "center": list(CENTER)}
    unknown = {**in_pixels, "voltage_kv": 80, "top_k": 4}
    wrong = {"voltage_kv": 80, "top_k": 4}
    nanometres = [[round(10 * x, 4), round(10 * y, 4), i] for x, y, i in points_of("bn")]

    def case(id: str, **body: Any) -> Case:
        return Case(f"predict/points/{id}", (Request("/predict", json=body),))

    return [
        case("units/pixel", **unknown, pixel_size=PIXEL_SIZE),
        case("units/pixel_center_found", **{**unknown, "center": None}, pixel_size=PIXEL_SIZE),
        case("units/pixel_implied", points=to_pixels("mos2"), pixel_size=PIXEL_SIZE, center=list(CENTER)),
        case("units/per_nm", points=nanometres, units="1/nm", top_k=3),
        case("scale/unknown", **unknown),
        case("scale/unknown_elements", **unknown, elements_only=["Mo", "S"]),
        case("scale/unknown_search", **unknown, effort="search"),
        case("scale/unknown_full", **unknown, effort="full", elements_any=["Mo", "W"]),
        case("scale/unknown_with_sigma", **unknown, scale_sigma=0.01),
        case("scale/3_percent_off", points=_scaled("mos2", 1.03), **wrong),
        case("scale/10_percent_off", points=_scaled("graphene", 1.1), **wrong, elements_only=["C"]),
        case("scale/10_percent_off_full", points=_scaled("mos2", 1.1), **wrong, effort="full"),
        case("scale/sure", points=points_of("wse2"), **wrong, scale_sigma=0.002),
        case("scale/unsure", points=points_of("wse2"), **wrong, scale_sigma=0.03),
        _single("voltage/60", "mos2_60kv", voltage_kv=60),
        _single("voltage/200", "mos2_200kv", voltage_kv=200.0),
        _single("voltage/300", "mos2_300kv", voltage_kv=300),
        _single("voltage/assumed", "mos2_tilted", voltage_kv=None),
    ]


def _lattice_cases() -> list[Case]:
    picked = [points_of("wse2")[0][:2], points_of("wse2")[4][:2]]
    doubled = [[0.1824, 0.01], [0.082, 0.163]]
    masked = [[0.1, -1.3, 1.3, -0.1], [-0.3, 0.3, -0.1, 0.5]]
    return [
        _single("lattice/found_first", "mos2", lattice=find_shortest("mos2")),
        _single("lattice/picked", "crsbr", lattice=find_shortest("crsbr"), elements_any=["Cr"]),
        _single("lattice/off_the_spots", "wse2", lattice=picked),
        _single("lattice/superlattice", "mos2_satellites_2x2", lattice=doubled),
        _single(
            "lattice/one_of_two", "twisted_mos2_graphene", lattice=find_shortest("twisted_mos2_graphene")
        ),
        _single("mask/two_boxes", "moo3", mask=masked),
        _single("mask/search", "moo3", mask=masked, effort="search"),
        _single("superlattice/2x2", "mos2_satellites_2x2"),
        _single("superlattice/2x2_elements", "mos2_satellites_2x2", elements_only=["Mo", "S"]),
        _single("superlattice/3x3", "nbse2_satellites_3x3"),
        _single("superlattice/3x3_full", "nbse2_satellites_3x3", effort="full", elements_only=["Nb", "Se"]),
    ]


def find_shortest(name: str) -> list[list[float]]:
    """The shortest scattering vector of a pattern, and the shortest one that is not along it."""
    vectors = sorted(([x, y] for x, y, _ in points_of(name)), key=lambda each: round(math.hypot(*each), 3))
    x, y = vectors[0]
    other = next(v for v in vectors if abs(x * v[1] - y * v[0]) > 0.5 * math.hypot(x, y) * math.hypot(*v))
    return [[x, y], other]


def _output_cases() -> list[Case]:
    def geometry(id: str, name: str, **options: Any) -> Case:
        body = {"points": _positions(name), "top_k": 4, **options}
        return Case(f"predict/points/{id}", (Request("/predict", json=body),))

    return [
        geometry("no_intensities/mos2", "mos2"),
        geometry("no_intensities/cri3_elements", "cri3", elements_only=["Cr", "I"]),
        geometry("no_intensities/search", "phosphorene", effort="search"),
        geometry("no_intensities/no_lattice", "no_lattice"),
        geometry("no_intensities/full", "wte2", effort="full"),
        _single("spots/mos2", "mos2_tilted", spots=True, top_k=1),
        _single("spots/two_lattices", "twisted_mos2_graphene", spots=True, top_k=2),
        _single("record/mos2", "mos2_tilted", record=True, top_k=1),
        _single("coverage/50", "res2", coverage=0.5),
        _single("coverage/99", "res2", coverage=0.99),
        _single("top_k/1", "biocl", top_k=1),
        _single("top_k/25", "moo3", top_k=25),
        _single("top_k/100_search", "mos2", top_k=100, effort="search", elements_any=["S", "Se"]),
        _single("overlay/of_points", "graphene", overlay=True),
        geometry("no_intensities/in_one_row", "mos2", effort="search", points=_with_a_gap("mos2")),
        _single("null_options", "graphene", center=None, lattice=None, composition=None),
    ]


def _file_cases() -> list[Case]:
    stated = {"points": to_pixels("mos2"), "units": "pixel", "pixel_size": PIXEL_SIZE, "voltage_kv": 80}
    objects = [{"x": x, "y": y, "intensity": i} for x, y, i in points_of("graphene")]
    header = "qx_1/angstrom,qy_1/angstrom,intensity"
    return [
        _file("csv_header", File("mos2.csv", _table("mos2", ",", header)), voltage_kv="80"),
        _file("csv_no_header", File("bn.csv", _table("bn", ",")), voltage_kv="80"),
        _file("semicolons", File("wse2.csv", _table("wse2", ";", "x;y;intensity"))),
        _file("tsv", File("graphene.tsv", _table("graphene", "\t", "x\ty\tintensity"))),
        _file("text", File("moo3.txt", _table("moo3", "  ", "# a comment")), elements_any="Mo,W"),
        _file("json", File("mos2.json", json.dumps(stated).encode())),
        _file("json_overruled", File("mos2.json", json.dumps(stated).encode()), voltage_kv="100"),
        _file("json_objects", File("graphene.json", json.dumps({"points": objects}).encode())),
        _file("dd2d_json", File("wse2.json", _dd2d_json("wse2"))),
        _file("dd2d_json_pixel_size", File("wse2.json", _dd2d_json("wse2")), pixel_size="0.025"),
        _file("pixels", File("spots.csv", _table("mos2", ",")), units="pixel", center="0,0", pixel_size="1"),
        _file(
            "all_form_options",
            File("mos2.csv", _table("mos2_tilted", ",")),
            voltage_kv="80",
            elements_only="Mo, S",
            composition="Mo:0.33,S:0.67",
            composition_sigma="0.03",
            coverage="0.9",
            scale_sigma="0.01",
            mask="0.1,0.1,0.3,0.3;-1.3,-1.3,-1,-1",
            spots="false",
            effort="verify",
            center="",
        ),
    ]


def _accept_cases() -> list[Case]:
    vendor = {"Content-Type": "application/vnd.lab+json"}
    suffixed = Request("/predict", json=predict_points("graphene", top_k=1).json, headers=vendor)

    def accepting(id: str, media_type: str, **options: Any) -> Case:
        body = predict_points("mos2", **options).json
        return Case(f"predict/accept/{id}", (Request("/predict", json=body, headers={"Accept": media_type}),))

    return [
        accepting("cif", "chemical/x-cif"),
        accepting("zip", "application/zip", top_k=3),
        accepting("svg", "image/svg+xml"),
        accepting("preference", "text/html;q=0.9, chemical/x-cif;q=0.5, application/json;q=0.1"),
        accepting("anything", "*/*", top_k=1),
        accepting("cif_of_nothing", "chemical/x-cif", elements_all=["Xe"]),
        accepting("nothing_offered", "text/html"),
        Case("predict/points/media_type_with_suffix", (suffixed,)),
    ]
