"""The options of a request as command-line flags."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.services.option_parsing import RequestOptions


def add_option_flags(
    parser: argparse.ArgumentParser, options: "type[RequestOptions]", *, without: tuple[str, ...] = ()
) -> None:
    """Declare a flag for each option except those named in `without`."""
    names = [name for name in options.model_fields if name not in without]
    group = parser.add_argument_group("request options, as docs/options.md lists them")
    for name in names:
        group.add_argument(
            f"--{name.replace('_', '-')}", default="", metavar=name.upper(), help=_help(options, name)
        )
    parser.set_defaults(option_names=names)


def option_fields(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the name and the text of each option, as `RequestOptions.from_text` expects them."""
    return [(name, getattr(args, name)) for name in args.option_names]


def _help(options: "type[RequestOptions]", name: str) -> str:
    field, text_format = options.model_fields[name], options.text_format(name)
    text = (field.description or "").replace("`", "")
    if text_format is not None:
        text += f" Example: {text_format.example}"
    if field.default not in (None, []):
        text += f" Default: {str(field.default).lower()}."
    return text.replace("%", "%%")
