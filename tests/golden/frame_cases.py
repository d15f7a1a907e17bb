"""Requests to `/predict` and `/inspect` with frames of a camera."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.images import (
    PIXEL_SIZE,
    add_beam_stop,
    add_noise,
    camera_files,
    points_of,
    render_rings,
    render_spots,
    to_eight_bits,
    write_npy,
    write_png,
    write_tiff,
)
from tests.golden.messages import Case, Field, File, Request, Response
from tests.golden.point_cases import find_shortest

CAMERA_FILES = (
    *("mos2.dm3", "mos2.dm4", "mos2.ser", "mos2.mib", "mos2.blo", "mos2.mrc", "mos2.emd", "mos2.hspy"),
    *("mos2.npy", "mos2.npz", "mos2.png", "mos2.jpg", "mos2.bmp", "mos2.tif"),
)
CAMERA_PIXEL_SIZE = "0.0135"
EXAMPLES = ("mos2-tilted.tif", "twisted-pair.tif", "graphene.json")


@cache
def frame(name: str, seed: int = 1, **options: Any) -> NDArray[np.uint16]:
    """A noisy frame of a committed pattern; see `render_spots` for the options."""
    return add_noise(render_spots(points_of(name), **options), seed)


@cache
def covered_frame() -> NDArray[np.uint16]:
    """A frame with a beam stop."""
    return add_noise(add_beam_stop(render_spots(points_of("wse2"))), 2)


@cache
def frame_with_hot_pixels() -> NDArray[np.uint16]:
    """A frame with 40 hot pixels and a dead row."""
    hot = frame("phosphorene", 3).copy()
    raw = np.random.PCG64(4).random_raw(80).astype("<u8") % 512
    hot[raw[:40].astype(np.intp), raw[40:].astype(np.intp)] = 60000
    hot[300, :] = 0
    return hot


@cache
def frame_with_film() -> NDArray[np.uint16]:
    """A frame with the rings of gold beside the spots of MoS2."""
    distances = (2.355, 2.039, 1.442, 1.230, 0.936)
    rings = render_rings([1 / (each * PIXEL_SIZE) for each in distances], height=60.0, width=2.5)
    return add_noise(render_spots(points_of("mos2"), center=(256.0, 256.0)) + rings, 5)


def _tiff(name: str, seed: int = 1, **options: Any) -> File:
    return File("frame.tif", lambda: write_tiff(frame(name, seed, **options)))


def _form(file: File, fields: dict[str, str]) -> tuple[Field, ...]:
    return (("file", file), *fields.items())


def _predict(id: str, file: File, **fields: str) -> Case:
    given = {"pixel_size": str(PIXEL_SIZE), "voltage_kv": "80", "top_k": "3", **fields}
    form = _form(file, {name: value for name, value in given.items() if value})
    return Case(f"predict/frame/{id}", (Request("/predict", form=form),))


def _inspect(id: str, file: File, accept: str = "", **fields: str) -> Case:
    headers = {"Accept": accept} if accept else {}
    return Case(f"inspect/{id}", (Request("/inspect", form=_form(file, fields), headers=headers),))


def list_frame_cases() -> list[Case]:
    """All requests with frames that are answered."""
    return [
        *_predict_cases(),
        *_camera_cases(),
        *_inspect_cases(),
        *(_example_case(name) for name in EXAMPLES),
    ]


def _predict_cases() -> list[Case]:
    mos2, wse2 = _tiff("mos2_tilted"), _tiff("wse2", 6)
    stack = File("stack.npy", lambda: write_npy(np.stack([frame("wse2", 6), frame("mos2_tilted")])))
    two_pages = File("pages.tif", lambda: write_tiff(np.stack([frame("bn", 7), frame("mos2_tilted")])))
    clipped = File("clipped.png", lambda: write_png(to_eight_bits(frame("mos2_tilted"), 2500.0)))
    sixteen = File("frame.png", lambda: write_png(frame("cri3", 8)))
    uneven = File("saturated.tif", lambda: write_tiff(np.minimum(frame("bi2se3", 9), 3000)))
    return [
        _predict("verify/mos2", mos2),
        _predict("verify/wse2_elements", wse2, elements_only="W,Se"),
        _predict("search/mos2", mos2, effort="search"),
        _predict("full/mos2", mos2, effort="full"),
        _predict("scale_unknown", mos2, pixel_size="", elements_any="Mo,W"),
        _predict("center_given", mos2, center="256.3,255.6"),
        _predict("center_off_middle", _tiff("mos2_tilted", 10, center=(211.0, 290.0))),
        _predict("center_off_frame", _tiff("mos2_tilted", 11, center=(-20.0, 250.0), direct_beam=0.0)),
        _predict("voltage_200", _tiff("mos2_200kv", 12), voltage_kv="200"),
        _predict("center_wrong", mos2, center="330,180"),
        _predict("mask", mos2, mask="300,300,420,420"),
        _predict("lattice_picked", mos2, lattice=_picked_lattice("mos2_tilted")),
        _predict("spots", mos2, spots="true", top_k="1"),
        _predict("record", mos2, record="true", top_k="1"),
        _predict("elliptic", _tiff("mos2", 13, ellipticity=0.02)),
        _predict("weak", _tiff("graphene_tilted", 14, strongest=300.0)),
        _predict("two_lattices", _tiff("twisted_mos2_graphene", 15)),
        _predict("beam_stop", File("stopped.tif", lambda: write_tiff(covered_frame()))),
        _predict("hot_pixels", File("hot.tif", lambda: write_tiff(frame_with_hot_pixels()))),
        _predict("film_rings", File("film.tif", lambda: write_tiff(frame_with_film())), pixel_size=""),
        _predict("saturated", uneven),
        _predict("png_eight_bits", clipped),
        _predict("png_sixteen_bits", sixteen),
        _predict("image_1_of_stack", stack, frame="1"),
        _predict("sum_of_stack", two_pages, frame="sum"),
        _predict("first_of_stack", stack),
        _predict("page_1", two_pages, frame="1"),
        _predict("no_layer", _tiff("gaas_110", 16)),
        Case(
            "predict/frame/overlay",
            (_overlay_request(mos2), _fetch_overlay("image/svg+xml"), _fetch_overlay("image/png")),
        ),
    ]


def _picked_lattice(name: str) -> str:
    return ",".join(f"{each / PIXEL_SIZE:.2f}" for vector in find_shortest(name) for each in vector)


def _overlay_request(file: File) -> Request:
    fields = {"pixel_size": str(PIXEL_SIZE), "voltage_kv": "80", "overlay": "true", "top_k": "2"}
    return Request("/predict", form=_form(file, fields))


def _fetch_overlay(accept: str) -> Any:
    def request(answers: Sequence[Response]) -> Request:
        # Today's words are in the answer, so the key is found by its value.
        link = next(part for part in answers[0].content.decode().split('"') if part.startswith("/overlays/"))
        return Request(link, "GET", headers={"Accept": accept})

    return request


def _camera_cases() -> list[Case]:
    def stored(name: str) -> File:
        return File(name, lambda: camera_files()[name])

    scale = {"pixel_size": CAMERA_PIXEL_SIZE, "effort": "search", "elements_any": "Mo,W"}
    return [
        *(_inspect(f"camera/{name}", stored(name)) for name in CAMERA_FILES),
        *(_predict(f"camera/{name}", stored(name), **scale) for name in CAMERA_FILES[1:8:2]),
        _predict("camera/scale_and_voltage_of_dm4", stored("mos2.dm4"), pixel_size="", voltage_kv=""),
    ]


def _inspect_cases() -> list[Case]:
    mos2 = _tiff("mos2_tilted")
    size = str(PIXEL_SIZE)
    places = "300.0,300.0;256.3,255.6;10,10"
    points = {"points": points_of("cri3"), "voltage_kv": 80}
    return [
        _inspect("frame/scale_known", mos2, pixel_size=size),
        _inspect("frame/scale_unknown", mos2),
        _inspect("frame/measure", mos2, pixel_size=size, measure=places),
        _inspect("frame/lattice", mos2, pixel_size=size, lattice=_picked_lattice("mos2_tilted")),
        _inspect(
            "frame/beam_stop", File("stopped.tif", lambda: write_tiff(covered_frame())), pixel_size=size
        ),
        _inspect("frame/film_rings", File("film.tif", lambda: write_tiff(frame_with_film()))),
        _inspect("frame/png", mos2, "image/png", pixel_size=size),
        _inspect("frame/svg", mos2, "image/svg+xml", pixel_size=size),
        _inspect("frame/bare_svg", mos2, "image/svg+xml", marks="false"),
        Case("inspect/points", (Request("/inspect", json=points),)),
        Case("inspect/points_without_intensities", (_inspect_positions("wte2"),)),
        Case("inspect/points_svg", (Request("/inspect", json=points, headers={"Accept": "image/svg+xml"}),)),
    ]


def _inspect_positions(name: str) -> Request:
    return Request("/inspect", json={"points": [row[:2] for row in points_of(name)]})


def _example_case(name: str) -> Case:
    """A file that the page offers to try, left out where it is no longer served."""

    def predict(answers: Sequence[Response]) -> Request | None:
        if answers[0].status != 200:
            return None
        return Request("/predict", form=(("file", File(name, answers[0].content)), ("top_k", "3")))

    fetch = Request(f"/static/examples/{name}", "GET", body_recorded=False)
    return Case(f"predict/example/{name}", (fetch, predict))
