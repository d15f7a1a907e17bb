"""`dd2d serve`: run the HTTP service."""

import argparse
import asyncio
import math
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from model.errors import OptionError

if TYPE_CHECKING:
    from app.cli.lazy import Commands
    from app.settings import Settings


def add_command(commands: "Commands") -> None:
    """Declare the command. The flags override the variables DD2D_*."""
    parser = commands.add_parser(
        "serve",
        help="run the HTTP service",
        description="Run the HTTP service until it is stopped. By default only this machine can reach it.",
        epilog="Further DD2D_* variables configure keys, limits and the log; see docs/settings.md.",
    )
    parser.add_argument(
        "--index", type=Path, metavar="DIR", help="index to search (default: DD2D_INDEX, indexes/starter)"
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="trained towers (default: DD2D_MODEL, the shipped ones)"
    )
    parser.add_argument("--host", metavar="H", help="address to listen on (default: DD2D_HOST, 127.0.0.1)")
    parser.add_argument("--port", type=int, metavar="P", help="port to listen on (default: DD2D_PORT, 8000)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until stopped. A missing or damaged index is reported before the service listens."""
    from app.http.browser_protection import LOCAL_HOSTS
    from app.observability.logging import configure_logging
    from app.settings import read_settings

    settings = read_settings(index=args.index, model=args.model, host=args.host, port=args.port)
    _check_address(settings.host, settings.port)
    configure_logging(settings.log_level, settings.log_format)
    if settings.allowed_hosts is None and settings.listens_on_loopback:
        settings = settings.model_copy(update={"allowed_hosts": LOCAL_HOSTS})
    # Before the service listens, there is nothing to finish.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asyncio.run(_serve(settings))
    return 0


async def _serve(settings: "Settings") -> None:
    """Serve until the first signal to stop; end at once at the second.

    Running requests are answered until their deadline, after which it takes at most three seconds to end the workers.
    """
    import uvicorn

    from app.http.bounded_protocol import server_options
    from app.http.connections import raise_file_limit
    from app.main import create_app

    raise_file_limit()

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self.handle_exit)
            yield  # the handlers stay: uvicorn's own would not be there while the workers end

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if self.should_exit:
                os._exit(128 + sig)  # the workers end with their service
            super().handle_exit(sig, frame)

    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        lifespan="off",  # run below, so that an error at start-up is reported in one line
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=settings.trusted_proxies is not None,
        forwarded_allow_ips=list(settings.trusted_proxies or ()),
        timeout_graceful_shutdown=math.ceil(settings.deadline_s),
        **server_options(app),
    )
    async with app.router.lifespan_context(app):
        await Server(config).serve()


def _check_address(host: str, port: int) -> None:
    """Check that the address is available, before the model and the index are loaded.

    Raises:
        OptionError: it is in use, or does not belong to this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        raise OptionError(
            f"Cannot listen on {host}, port {port}: {error.strerror}; give another --host or --port."
        ) from None
