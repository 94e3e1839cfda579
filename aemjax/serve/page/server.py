"""Where the app is served, and by what."""

import asyncio
import functools
import socket
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from aemjax.serve.page.limits import Limits

# Enough for a page's files and a few users; more are told to come again.
MAX_CONNECTIONS = 64
# What is computed when Ctrl-C comes may be finished.
GRACE_S = 10


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any that is free.

    Raises:
      ValueError: if it cannot be had.
    """
    if not 0 <= port < 1 << 16:
        raise ValueError(f"--port is {port}, expected 0 (any free one) to 65535")
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise ValueError(
            f"cannot listen at {host} port {port}: {error.strerror}; choose another "
            "--port (0 is any free one), or a --host of this machine"
        ) from error


def url_of(listener: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def make_server(
    app: Callable, limits: Limits, *, ready: Callable[[], None] = lambda: None
) -> uvicorn.Server:
    """What answers requests, by its `run(sockets=[listener])`, until Ctrl-C.

    Args:
      ready: called when it does.
    """
    config = uvicorn.Config(
        app,
        http=functools.partial(_Protocol, limits.timeout_s),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_S,
    )
    return _Server(config, ready)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]):
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


class _Protocol(H11Protocol):
    """A connection that must begin its one request, and read the answer, in time.

    uvicorn would wait forever for either.
    """

    def __init__(self, timeout_s: float | int, *arguments, **options):
        super().__init__(*arguments, **options)
        self._timeout_s = timeout_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._timeout_s, self._abort_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._abort_in_time()  # or a part of the answer may be the last one taken

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._abort_in_time()

    def _abort_if_silent(self) -> None:
        if self.cycle is None:
            self.transport.abort()

    def _abort_in_time(self) -> None:
        """From now on; `close` would wait until all is read."""
        self._timer.cancel()
        self._timer = self.loop.call_later(self._timeout_s, self.transport.abort)
