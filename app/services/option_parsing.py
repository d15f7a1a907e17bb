"""Parse the options of a request from JSON keys, form fields or command-line flags, as their model declares them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from model.errors import OptionError

_MAX_PROBLEMS = 5
_MAX_VALUE_LENGTH = 60


@dataclass(frozen=True)
class TextFormat:
    """Metadata of a field with more than one value: its notation in form fields and command-line flags.

    Attributes:
        parse: turns the text into what JSON holds; pydantic then checks the elements.
        example: the notation, for the documents.
        is_comma_list: whether it is a plain list.
    """

    parse: Callable[[str], Any]
    example: str
    is_comma_list: bool = False


class RequestOptions(BaseModel):
    """The options of one kind of request: each field is a JSON key, a form field and a command-line flag.

    JSON is checked strictly, so that "3" is not a number there; text is converted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def check(self) -> None:
        """Check what depends on more than one field.

        Raises:
            OptionError: this build does not support a value, or two options contradict each other.
        """

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read options from JSON keys, null meaning absent; OptionError names those that are unknown or invalid."""
        return cls._validate(
            {name: value for name, value in values.items() if value is not None}, strict=True
        )

    @classmethod
    def from_text(cls, fields: Iterable[tuple[str, str]]) -> Self:
        """Read options from form fields or command-line flags; empty text means absent.

        A list may be spread over several fields of the same name.

        Raises:
            OptionError: as in `from_json`, or a single value is given twice.
        """
        values: dict[str, Any] = {}
        for name, text in fields:
            if not text.strip():
                continue
            text_format = cls.text_format(name)
            value = text_format.parse(text) if text_format else text.strip()
            if name in values and not isinstance(value, list):
                raise OptionError(f"Option {name} is given more than once; give it once.")
            if name in values:
                values[name].extend(value)
            else:
                values[name] = value
        return cls._validate(values, strict=False)

    @classmethod
    def text_format(cls, name: str) -> TextFormat | None:
        """Return the notation of a field as text; None for a single value and for an unknown field."""
        field = cls.model_fields.get(name)
        formats = [each for each in field.metadata if isinstance(each, TextFormat)] if field else []
        return formats[0] if formats else None

    @classmethod
    def is_comma_list(cls, name: str) -> bool:
        """Return whether a field is a plain list, whose notation as text OpenAPI can express."""
        text_format = cls.text_format(name)
        return text_format is not None and text_format.is_comma_list

    @classmethod
    def _validate(cls, values: dict[str, Any], *, strict: bool) -> Self:
        try:
            options = cls.model_validate(values, strict=strict)
        except ValidationError as error:
            raise OptionError(_describe(error.errors(include_url=False), tuple(cls.model_fields))) from None
        options.check()
        return options


def comma_list(example: str) -> TextFormat:
    """Return the notation of a plain list."""
    return TextFormat(_split_list, example, is_comma_list=True)


def nested_list(size: int, example: str) -> TextFormat:
    """Return the notation of a list of groups of `size` numbers each.

    Semicolons separate the groups, or commas alone do, as curl takes semicolons for its own.
    """
    return TextFormat(partial(_split_groups, size=size), example)


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _split_groups(text: str, size: int) -> list[list[str]]:
    groups = [[part.strip() for part in group.split(",")] for group in text.split(";") if group.strip()]
    if len(groups) == 1 and len(groups[0]) % size == 0:
        (flat,) = groups
        return [flat[start : start + size] for start in range(0, len(flat), size)]
    return groups


def _split_amounts(text: str) -> dict[str, str]:
    amounts: dict[str, str] = {}
    for part in text.split(","):
        symbol, colon, amount = (piece.strip() for piece in part.partition(":"))
        if not colon or symbol in amounts:
            raise OptionError(
                f"Option composition is invalid at {part.strip()[:40]!r}; write Mo:0.33,S:0.67, each element once."
            )
        amounts[symbol] = amount
    return amounts


AMOUNTS = TextFormat(_split_amounts, "Mo:0.33,S:0.67")


def _describe(errors: list[ErrorDetails], names: tuple[str, ...]) -> str:
    unknown = [
        repr(str(each["loc"][0])[:_MAX_VALUE_LENGTH]) for each in errors if each["type"] == "extra_forbidden"
    ]
    problems = [_describe_invalid(each) for each in errors if each["type"] != "extra_forbidden"]
    problems = problems[:_MAX_PROBLEMS]
    if unknown:
        problems.append(
            f"Unknown option {', '.join(unknown[:_MAX_PROBLEMS])}; the options are {', '.join(names)}."
        )
    return " ".join(problems)


def _describe_invalid(error: ErrorDetails) -> str:
    name = ".".join(str(part) for part in error["loc"])
    reason = error["msg"].removeprefix("Value error, ").replace(" after validation", "")
    reason = f"{reason[:1].lower()}{reason[1:]}"
    if " not " not in reason:
        reason += f", not {_shorten(error['input'])}"
    return f"Option {name} is invalid: {reason}."


def _shorten(value: object) -> str:
    text = repr(value[:_MAX_VALUE_LENGTH] if isinstance(value, str | list) else value)
    return text if len(text) <= _MAX_VALUE_LENGTH else text[: _MAX_VALUE_LENGTH - 3] + "..."
