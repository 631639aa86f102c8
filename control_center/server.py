"""Listens and serves: the part of the control center that is a process."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import socket
import webbrowser
from collections.abc import Iterator

import uvicorn

from control_center.app import create_app
from control_center.center import strict_options
from models.errors import ConfigError
from pipeline.cli.output import err


class Server(uvicorn.Server):
    """Says where it listens once it does.

    Args:
      config: Of uvicorn.
      url: What a person opens.
      open_browser: Whether to open it.
    """

    def __init__(self, config: uvicorn.Config, url: str, open_browser: bool):
        super().__init__(config)
        self._url, self._open = url, open_browser

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        err.print(f"Flywheel control center  [bold]{self._url}[/]  [dim]Ctrl-C ends it[/]")
        if self._open:
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(self._url)


def serve(
    config: pathlib.Path,
    *,
    host: str | None = None,
    port: int | None = None,
    open_browser: bool = True,
) -> None:
    """Serves the control center until it is interrupted.

    Args:
      config: The config file; it need not exist yet.
      host, port: Where to listen; the config's by default.
      open_browser: Whether to open the page.

    Raises:
      ConfigError: PORT_TAKEN, and as `create_app`.
    """
    options = strict_options(config)
    host = host or options.host
    app = create_app(config, host=host)
    with _listening(host, options.port if port is None else port) as listener:
        number = listener.getsockname()[1]
        shown = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1", "::1") else host
        logging.getLogger("sse_starlette").setLevel(logging.WARNING)
        settings = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        Server(settings, f"http://{shown}:{number}", open_browser).run(sockets=[listener])


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named; without
    # it the kernel holds the second half of every answer back for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            "PORT_TAKEN",
            f"Cannot listen on {host}:{port}: {error.strerror}.",
            next="Is it open already? Otherwise choose another port with `--port`, 0 for any.",
        ) from None
    with listener:
        yield listener
