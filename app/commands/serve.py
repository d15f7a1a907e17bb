"""`dd2d serve`: the service, until it is stopped."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.commands.lazy import Commands


def add_to(commands: "Commands") -> None:
    """Declare the command; what is not given here comes from DD2D_* or its default."""
    parser = commands.add_parser("serve", help="answer over HTTP", description="Answer over HTTP.")
    parser.add_argument("--index", type=Path, metavar="DIR", help="index to search (DD2D_INDEX)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="trained towers (DD2D_MODEL)")
    parser.add_argument("--host", metavar="H", help="address to listen on (DD2D_HOST, 127.0.0.1)")
    parser.add_argument("--port", type=int, metavar="P", help="port to listen on (DD2D_PORT, 8000)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load model and index, then serve; an index that cannot be served ends the command before it listens."""
    from app.settings import read_settings

    settings = read_settings(index=args.index, model=args.model, host=args.host, port=args.port)

    import uvicorn

    from app.library import open_library
    from app.main import create_app

    library = open_library(settings)
    try:
        uvicorn.run(
            create_app(settings, library),
            host=settings.host,
            port=settings.port,
            log_level=settings.log_level,
            server_header=False,
        )
    finally:
        library.close()
    return 0
