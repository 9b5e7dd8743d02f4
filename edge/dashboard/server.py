"""The dashboard's part of the agent: takes its port before anything starts, serves until the stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading

from edge.config import DashboardSettings
from edge.dashboard.guard import Guard, split_listen
from edge.dashboard.subject import Subject
from edge.errors import EdgeError
from edge.settings import ConfigError

log = logging.getLogger("edge.dashboard")

# What the kernel may hold for one client: more, and a slow one would see the past.
SEND_BUFFER = 128 << 10


class DashboardError(EdgeError):
    """The page cannot be served; the sentence says why and what to do."""


class Dashboard:
    """One page over one agent. `url` is where it is."""

    def __init__(self, settings: DashboardSettings, subject: Subject) -> None:
        self._settings, self._subject = settings, subject
        _check_installed()
        host, port = split_listen(settings.listen or "127.0.0.1:0")
        self._socket = _bind(host, port)
        try:
            self.port = int(self._socket.getsockname()[1])
            self._guard = Guard(settings)
        except BaseException:
            self._socket.close()
            raise
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}/"

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop`. Raises what went wrong; run it again then: the port is kept."""
        log.info("dashboard: %s", self.url)
        asyncio.run(self._serve(stop))

    async def _serve(self, stop: threading.Event) -> None:
        import uvicorn

        from edge.dashboard.app import Page

        page = Page(self._settings, self._subject, self._guard)
        server = uvicorn.Server(
            uvicorn.Config(
                page.app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                http="h11",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=1,
                limit_concurrency=4 * self._settings.max_clients + 16,
                h11_max_incomplete_event_size=16 << 10,
            )
        )
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # signals are the agent's
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        # uvicorn closes what it is given; the port stays ours for the next try.
        serving = asyncio.ensure_future(server.serve(sockets=[self._socket.dup()]))
        try:
            while not stop.is_set() and not serving.done():
                await asyncio.sleep(0.1)
        finally:
            page.close()
            server.should_exit = True
            await serving


def _check_installed() -> None:
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            'the dashboard needs the extra of that name: pip install "wavewall[dashboard]"', key="dashboard.listen"
        ) from error


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises DashboardError."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
    except OSError as error:
        raise DashboardError(
            f"dashboard.listen: {host}: {error.strerror or error}; give an address of this machine"
        ) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise DashboardError(
                f"port {port} of {host} is in use, perhaps by another agent; give another: "
                f"--dashboard {host}:{port + 1 if port < 65535 else 0}"
            ) from error
        raise DashboardError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; give another address with --dashboard"
        ) from error
    return bound
