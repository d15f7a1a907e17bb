"""Attacks by what requests contain: structures, texts, files, batches, foreign pages, and too many of them.

Each is a function that prepares its requests, which may take seconds, and returns the coroutine function that sends
them: `PREPARE[name](target)` before the attack, its result within.
"""

import io
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np

from bench.attacks.files import JSON_TEXTS, SLOW_TEXTS, SMALL_FILES, build_large_frame
from bench.attacks.requests import FORM, JSON, Target, build_form, build_json, flood
from bench.attacks.structures import MOS2_POINTS, OPERATIONS_300, THOUSAND_ATOMS, build_structures
from bench.bad_requests import draw_bad_request
from bench.hostile_structures import POSCAR

Run = Callable[[Target], Awaitable[Counter[str]]]
Prepare = Callable[[Target], Run]

_CLIENTS = 4


def _send_all(requests: Sequence[bytes], clients: int = _CLIENTS, pause_s: float = 0.0) -> Run:
    async def run(target: Target) -> Counter[str]:
        return await flood(target, requests, clients, pause_s=pause_s)

    return run


def compare_structures(target: Target) -> Run:
    """Each hostile structure beside a sound one on /compare."""
    bodies = [build_json(points=MOS2_POINTS, structures=[text, POSCAR]) for text in build_structures()]
    return _send_all([target.build("POST", "/compare", body) for body in bodies])


def compare_large_poscars(target: Target) -> Run:
    """The POSCAR of 1,000 atoms of the issue, from two clients."""
    body = build_json(points=MOS2_POINTS, structures=[THOUSAND_ATOMS, POSCAR])
    return _send_all([target.build("POST", "/compare", body)], clients=2)


def compare_many_operations(target: Target) -> Run:
    """The CIF with 300 symmetry operations of the issue, from two clients."""
    body = build_json(points=MOS2_POINTS, structures=[OPERATIONS_300, POSCAR])
    return _send_all([target.build("POST", "/compare", body)], clients=2)


def compare_twenty(target: Target) -> Run:
    """Twenty structures of as many atoms as are accepted, in one request."""
    across = [f"{n % 12 / 12:.4f} {n // 12 / 13:.4f} {n % 3 / 30 + 0.4:.4f}" for n in range(150)]
    sites = [f"a\n1\n{30 + n} 0 0\n0 33 0\n0 0 20\nC\n150\nd\n" + "\n".join(across) for n in range(20)]
    return _send_all(
        [target.build("POST", "/compare", build_json(points=MOS2_POINTS, structures=sites))], clients=2
    )


def add_structures(target: Target) -> Run:
    """Each hostile structure on POST /structures."""
    bodies = [
        build_json(structure=text, id=f"attack/{number}") for number, text in enumerate(build_structures())
    ]
    return _send_all([target.build("POST", "/structures", body) for body in bodies])


def slow_texts(target: Target) -> Run:
    """Tables and descriptions that cost the square of their length."""
    return _send_all(_build_uploads(target, SLOW_TEXTS))


def slow_json(target: Target) -> Run:
    """JSON that costs more than it should."""
    bodies = [make() for make in JSON_TEXTS.values()]
    return _send_all(
        [target.build("POST", path, body) for body in bodies for path in ("/predict", "/inspect")]
    )


def small_files(target: Target) -> Run:
    """Small files that state or inflate to gigabytes, twenty at once."""
    return _send_all(_build_uploads(target, SMALL_FILES), clients=20)


def _build_uploads(target: Target, files: Mapping[str, Callable[[], bytes]]) -> list[bytes]:
    forms = [build_form(make(), {"pixel_size": "0.01"}) for make in files.values()]
    return [target.build("POST", path, form, FORM) for form in forms for path in ("/predict", "/inspect")]


def large_frames(target: Target) -> Run:
    """Frames of 64 million pixels, four at once."""
    form = build_form(build_large_frame(), {"pixel_size": "0.01"})
    return _send_all([target.build("POST", path, form, FORM) for path in ("/predict", "/inspect")])


def large_forms(target: Target) -> Run:
    """Forms of thousands of parts, of long fields, of part headers without an end, and of a long boundary."""
    head = b'--dd2d-attack\r\nContent-Disposition: form-data; name="a"'
    bodies = [
        (head + b"\r\n\r\n1\r\n") * 100_000,
        (head + b'; filename="a"\r\n\r\n1\r\n') * 100_000,
        head + b"; a=b" * 1_000_000,
        (head + b"\r\n" + b"X-Part: a\r\n" * 300_000),
        b"\r\n--dd2d-attac" * 1_000_000,
        b"-" * 20_000_000,
        build_form(b"1 2 3\n" * 4, {f"f{n}": "x" * 16_000 for n in range(60)}),
    ]
    return _send_all([target.build("POST", "/predict", body, FORM) for body in bodies])


def batches(target: Target) -> Run:
    """Zips of a thousand hostile members, zips that inflate, and zips of zips, on /predict/batch."""
    members = [
        make() for name, make in SMALL_FILES.items() if name.startswith(("MRC", "HDF5", "TIFF with", "NPY"))
    ]
    members += [make() for make in list(SLOW_TEXTS.values())[:8]]
    one = _zip({f"{number}": members[number % len(members)][:200_000] for number in range(200)})
    contents = (
        {f"{n}.npy": bytes(60 * 2**20) for n in range(4)},
        {"a.zip": one},
        {str(n): b"" for n in range(5000)},
    )
    bombs = [_zip(each) for each in contents]
    requests = [target.build("POST", "/predict/batch", build_form(each), FORM) for each in (one, *bombs)]
    return _send_all(requests)


def _zip(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def foreign_pages(target: Target) -> Run:
    """What a page of another origin can make a browser post; a 200 would be an answer computed for it."""
    body, form = build_json(points=MOS2_POINTS), build_form(b"1 2 3\n2 1 3\n3 3 3\n")
    origins: list[dict[str, str]] = [
        {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
    ]
    requests = [
        target.build("POST", path, content, media_type, **origin)
        for origin in origins
        for path in ("/predict", "/inspect", "/predict/batch", "/compare", "/structures", "/admin/reload")
        for content, media_type in ((form, FORM), (body, JSON), (body, "text/plain"))
    ]
    return _send_all(requests, pause_s=0.02)


def bad_requests(target: Target) -> Run:
    """Requests that people, scripts and attackers get wrong."""
    rng = np.random.default_rng(2)
    drawn = [draw_bad_request(rng) for _ in range(500)]
    return _send_all(
        [target.build("POST", each.path, each.body, each.media_type) for each in drawn], clients=16
    )


def wrong_keys(target: Target) -> Run:
    """Keys that are not valid."""
    return _send_all(
        [target.build("GET", "/structures/a", X_API_Key=f"dd2d_{number:043}") for number in range(500)],
        clients=8,
    )


def good_requests(target: Target) -> Run:
    """More ordinary requests than the workers can compute, from one address."""
    return _send_all([target.build("POST", "/predict", build_json(points=MOS2_POINTS))], clients=64)


def queue_full(target: Target) -> Run:
    """More ordinary requests than the queue holds."""
    return _send_all(
        [target.build("POST", "/predict", build_json(points=MOS2_POINTS, effort="full"))], clients=400
    )


PREPARE: dict[str, Prepare] = {
    each.__name__.replace("_", "-"): each
    for each in (
        compare_large_poscars,
        compare_many_operations,
        compare_structures,
        compare_twenty,
        add_structures,
        slow_texts,
        slow_json,
        small_files,
        large_frames,
        large_forms,
        batches,
        foreign_pages,
        bad_requests,
        wrong_keys,
        good_requests,
        queue_full,
    )
}
