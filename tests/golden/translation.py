"""Applies the table of `renames.py`: requests into today's words, answers back into those of the recording."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.golden import renames
from tests.golden.messages import Field, Request

Segments = tuple[str, ...]

_SEGMENT = re.compile(r"[^.\[\]]+|\[\d*\]")


def split_path(path: str) -> Segments:
    """The segments of a path: `candidates[2].id` has three."""
    return tuple(_SEGMENT.findall(path.removeprefix("/")))


def join_path(segments: Sequence[str]) -> str:
    """The path of segments; the reverse of `split_path`."""
    return "".join(each if each.startswith("[") else f".{each}" for each in segments).removeprefix(".")


def matches_path(pattern: str, path: Segments) -> bool:
    """Whether a path ends with a pattern, or is the pattern where that begins with `/`."""
    requested = split_path(pattern)
    end = path[len(path) - len(requested) :]
    return (len(path) == len(requested) or not pattern.startswith("/")) and _is_equal(requested, end)


def _is_equal(pattern: Segments, segments: Segments) -> bool:
    return len(pattern) == len(segments) and all(
        one == other or (one == "[]" and other.startswith("["))
        for one, other in zip(pattern, segments, strict=True)
    )


def flatten(value: Any, path: Segments = ()) -> Iterator[tuple[Segments, Any]]:
    """Every leaf of a JSON value with its path; an empty object or list is a leaf."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from flatten(each, (*path, key))
    elif isinstance(value, list) and value:
        for row, each in enumerate(value):
            yield from flatten(each, (*path, f"[{row}]"))
    else:
        yield path, value


def unflatten(leaves: Sequence[tuple[Segments, Any]]) -> Any:
    """The JSON value of leaves; the reverse of `flatten`."""
    if len(leaves) == 1 and not leaves[0][0]:
        return leaves[0][1]
    children: dict[str, list[tuple[Segments, Any]]] = {}
    for path, value in leaves:
        children.setdefault(path[0], []).append((path[1:], value))
    made = {segment: unflatten(below) for segment, below in children.items()}
    return list(made.values()) if all(each.startswith("[") for each in made) else made


def find_keys(path: str) -> dict[str, str]:
    """The rows of the table that hold for the answers of a request.

    Args:
        path: of the request, in the words of the recording.
    """
    of_route = (keys for route, keys in renames.ROUTE_KEYS.items() if path.startswith(route))
    return {**renames.KEYS, **{old: new for keys in of_route for old, new in keys.items()}}


def restore_keys(answer: Any, keys: Mapping[str, str]) -> Any:
    """An answer with the keys of the recording.

    Args:
        answer: in today's words.
        keys: old path -> new path.
    """
    rows = sorted(keys.items(), key=lambda row: -len(split_path(row[1])))
    restored = {_restore_path(path, rows): value for path, value in flatten(answer)}
    return unflatten(list(restored.items()))


def _restore_path(path: Segments, rows: Sequence[tuple[str, str]]) -> Segments:
    restored: list[str] = []
    place = 0
    while place < len(path):
        for old, new in rows:
            requested = split_path(new)
            found = path[place : place + len(requested)]
            if _is_equal(requested, found) and (place == 0 or not new.startswith("/")):
                indices = iter([each for each in found if each.startswith("[")])
                restored += [next(indices) if each == "[]" else each for each in split_path(old)]
                place += len(requested)
                break
        else:
            restored.append(path[place])
            place += 1
    return tuple(restored)


def restore_value(path: Segments, value: Any) -> Any:
    """An enumerated string with the value of the recording."""
    for pattern, values in renames.VALUES.items():
        if isinstance(value, str) and matches_path(pattern, path):
            return _inverse(values).get(value, value)
    return value


def restore_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as an answer echoes them, with the names and values of the recording."""
    names = _inverse(renames.OPTIONS)
    restored = {names.get(name, name): value for name, value in options.items()}
    return {name: _option_value(name, value, back=True) for name, value in restored.items()}


def restore_problem(name: str) -> str:
    """The type of a problem in the word of the recording."""
    return _inverse(renames.PROBLEMS).get(name, name)


def translate_request(request: Request) -> Request:
    """A request in today's words."""
    body = request.json
    if isinstance(body, dict):
        body = {
            renames.OPTIONS.get(name, name): _option_value(name, value, back=False)
            for name, value in body.items()
        }
    form = tuple(_translate_field(each) for each in request.form)
    return replace(request, path=_translate_path(request.path), json=body, form=form)


def translate_setting(name: str) -> str:
    """The environment variable of today."""
    return renames.SETTINGS.get(name, name)


def _translate_field(each: Field) -> Field:
    name, value = each
    return renames.OPTIONS.get(name, name), _option_value(name, value, back=False)


def _translate_path(path: str) -> str:
    beginnings = [old for old in renames.PATHS if path.startswith(old)]
    if not beginnings:
        return path
    old = max(beginnings, key=len)
    return renames.PATHS[old] + path[len(old) :]


def _option_value(name: str, value: Any, *, back: bool) -> Any:
    values = renames.OPTION_VALUES.get(name, {})
    if not isinstance(value, str):
        return value
    return (_inverse(values) if back else values).get(value, value)


def _inverse(table: Mapping[str, str]) -> dict[str, str]:
    return {new: old for old, new in table.items()}
