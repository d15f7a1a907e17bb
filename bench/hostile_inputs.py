"""Hostile inputs of every parser of uploads, and the growth of its CPU time.

    python -m bench.hostile_inputs [--bytes 65536] [--parser NAME]

An input is a function of a size in bytes. Each is parsed at that size and at eight times it; the table lists the CPU
times and their ratio where the larger input takes more than half a second, and the largest ratio of each parser. A
time that grows with the square shows 64. The exit status is 1 if a ratio exceeds 16.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import sys
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from functools import partial

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from app.services.options import PredictOptions
from app.services.replay import parse_replay_request
from app.services.structures import MAX_STRUCTURE_BYTES
from app.services.uploads import FileUpload, JsonBody, read_pattern
from app.workers.zip_archive import read_members
from bench.hostile_frames import FRAMES, list_zips
from bench.hostile_repeats import Makers
from bench.hostile_structures import list_structures
from bench.hostile_text import (
    FORM,
    list_answers,
    list_forms,
    list_options,
    list_point_json,
    list_requests,
    list_tables,
)
from model.crystal.structure_files import read_structure
from model.errors import DomainError
from model.pattern.formats.hdf5_content import read_content

DEFAULT_BYTES = 65536
GROWTH = 8
MAX_RATIO = 16.0
# Below this the time is that of calls, not of the input.
MIN_CPU_S = 0.1


@dataclass(frozen=True)
class HostileInput:
    """An input of any size.

    Attributes:
        parser: key of `PARSERS`.
        name: what is hostile in it.
        make: returns about as many bytes as asked.
    """

    parser: str
    name: str
    make: Callable[[int], bytes]

    def measure_cpu_s(self, size: int) -> float:
        """Return the CPU time of parsing the input, the smaller of two if it is short."""
        data = self.make(size)
        first = _measure(PARSERS[self.parser], data)
        return first if first > 1 else min(first, _measure(PARSERS[self.parser], data))


def _measure(parse: Callable[[bytes], object], data: bytes) -> float:
    start = time.process_time()
    with contextlib.suppress(DomainError, MultiPartException):
        parse(data)
    return time.process_time() - start


def _parse_file(data: bytes) -> object:
    return read_pattern(FileUpload(data, "hostile"), PredictOptions.from_json({}))


def _parse_request(data: bytes) -> object:
    request = JsonBody(data).parse(PredictOptions)
    return read_pattern(request.pattern, request.options)


def _parse_options(data: bytes) -> object:
    fields = (line.partition("=") for line in data.decode().splitlines())
    return PredictOptions.from_text((name, value) for name, _, value in fields)


def _parse_structure(data: bytes) -> object:
    return read_structure(data.decode(), id="hostile", source="upload", bounded=True)


def _list_structures() -> Makers:
    for name, make in list_structures():
        yield name, partial(_encode, make)


def _encode(make: Callable[[int], str], size: int) -> bytes:
    """Return a structure of at most the size of an upload."""
    return make(min(size, MAX_STRUCTURE_BYTES)).encode()[:MAX_STRUCTURE_BYTES]


def _parse_form(data: bytes) -> object:
    async def stream() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(data), 65536):
            yield data[start : start + 65536]

    parser = MultiPartParser(
        Headers({"content-type": FORM}), stream(), max_files=1, max_fields=64, max_part_size=16384
    )
    return asyncio.run(parser.parse())


PARSERS: dict[str, Callable[[bytes], object]] = {
    "table": _parse_file,
    "JSON points": _parse_file,
    "JSON request": _parse_request,
    "stored answer": lambda data: parse_replay_request(JsonBody(data)),
    "form": _parse_form,
    "options": _parse_options,
    "zip": lambda data: list(read_members(data)),
    **dict.fromkeys(FRAMES, _parse_file),
    # The service reads these in a process of its own, whose time this one cannot see.
    "HDF5": read_content,
    "structure": _parse_structure,
}


def list_inputs() -> Iterator[HostileInput]:
    """Yield every hostile input."""
    texts = {
        "table": list_tables,
        "JSON points": list_point_json,
        "JSON request": list_requests,
        "stored answer": list_answers,
        "form": list_forms,
        "options": list_options,
        "zip": list_zips,
        "structure": _list_structures,
    }
    for parser, list_makers in {**texts, **FRAMES}.items():
        for name, make in list_makers():
            yield HostileInput(parser, name, make)


def measure_growth(size: int, parser: str = "", name: str = "") -> list[str]:
    """Print the CPU times of the inputs that take long or grow too fast, and the largest ratio of each parser.

    Args:
        size: bytes of the smaller input; the other has eight times as many.
        parser: the only parser to measure, if not empty.
        name: a part of the names of the inputs to measure.

    Returns:
        The parsers and inputs whose time grows too fast.
    """
    warnings.simplefilter("ignore")
    logging.disable()
    gc.freeze()  # so that collections do not visit what was imported
    worst: dict[str, tuple[float, str]] = {}
    missed = []
    for each in list_inputs():
        if parser not in {"", each.parser} or name not in each.name:
            continue
        small, large = each.measure_cpu_s(size), each.measure_cpu_s(GROWTH * size)
        ratio = large / max(small, MIN_CPU_S / GROWTH)
        grows_too_fast = ratio > MAX_RATIO and large > MIN_CPU_S
        if grows_too_fast:
            missed.append(f"{each.parser}: {each.name}")
        if grows_too_fast or large > 0.5:
            mark = "!" if grows_too_fast else " "
            print(
                f"{mark} {each.parser:15} {each.name:50.50} {small:8.3f} {large:8.3f} {ratio:6.1f}",
                flush=True,
            )
        worst[each.parser] = max(worst.get(each.parser, (0.0, "")), (ratio, each.name))
    for each_parser, (ratio, name_of_worst) in worst.items():
        print(f"  {each_parser:15} {name_of_worst:50.50} {'':17} {ratio:6.1f}")
    return missed


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--bytes", type=int, default=DEFAULT_BYTES)
    options.add_argument("--parser", choices=[*PARSERS], default="")
    options.add_argument("--name", default="")
    given = options.parse_args()
    return 1 if measure_growth(given.bytes, given.parser, given.name) else 0


if __name__ == "__main__":
    sys.exit(main())
