"""`dd2d serve`: the service, until it is stopped."""

import argparse
import math
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import OptionError

if TYPE_CHECKING:
    from app.commands.lazy import Commands


def add_to(commands: "Commands") -> None:
    """Declare the command; what is not given here comes from DD2D_* or its default."""
    parser = commands.add_parser(
        "serve",
        help="answer over HTTP",
        description="Answer over HTTP until stopped, on this machine alone unless told otherwise.",
        epilog="Keys, limits and log are set by further DD2D_* variables, which docs/settings.md describes.",
    )
    parser.add_argument(
        "--index", type=Path, metavar="DIR", help="index to search (DD2D_INDEX, indexes/starter)"
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="trained towers (DD2D_MODEL, the shipped ones)"
    )
    parser.add_argument("--host", metavar="H", help="address to listen on (DD2D_HOST, 127.0.0.1)")
    parser.add_argument("--port", type=int, metavar="P", help="port to listen on (DD2D_PORT, 8000)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load model and index, then serve; an index that cannot be served ends the command before it listens."""
    from app.logs import set_up_log
    from app.security.hosts import LOCAL, is_loopback
    from app.security.key_file import read_key_file
    from app.settings import read_settings

    settings = read_settings(index=args.index, model=args.model, host=args.host, port=args.port)
    _check_address(settings.host, settings.port)
    set_up_log(settings.log_level, settings.log_format)
    if settings.keys is not None:
        read_key_file(settings.keys).sound()
    if settings.allowed_hosts is None and is_loopback(settings.host):
        settings = settings.model_copy(update={"allowed_hosts": LOCAL})

    import uvicorn

    from app.library import open_library
    from app.main import create_app

    library = open_library(settings)
    try:
        uvicorn.run(
            create_app(settings, library),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=settings.trusted_proxies is not None,
            forwarded_allow_ips=list(settings.trusted_proxies or ()),
            timeout_graceful_shutdown=math.ceil(settings.deadline_s),
        )
    finally:
        library.close()
    return 0


def _check_address(host: str, port: int) -> None:
    """Tell an address that cannot be had before model and index are loaded.

    Raises:
        OptionError: it is taken, or none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        told = f"cannot listen on {host}, port {port}: {error.strerror}; give another --host or --port"
        raise OptionError(told) from None
