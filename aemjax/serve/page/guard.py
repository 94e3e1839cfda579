"""What stands before the app: foreign pages stay out, and errors of ours stay in.

A page of another site that the same browser shows can send requests here. It is told by
its Origin; and where its name was made to lead to this machine, by the Host.
"""

import ipaddress
import logging
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from aemjax.serve.page.exchange import Exchange
from aemjax.serve.page.problems import problem

# The page, its files and what it records come from here alone.
CONTENT = {
    "default-src": "'none'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "media-src": "blob:",
    "script-src": "'self'",
    "style-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(map(" ".join, CONTENT.items())),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    # So that a time limit on a connection's first headers is one on all.
    "Connection": "close",
}
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Guard:
    """ASGI middleware that checks requests, and sends `HEADERS` with every answer."""

    def __init__(self, app: ASGIApp, host: str):
        """Takes the address that the server is at, a name or an IP address."""
        self._app = app
        self._names = {"localhost", host.lower(), socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(receive, send, HEADERS)
        answer = self._refusal(scope) or self._app
        try:
            await answer(scope, exchange.receive, exchange.send)
        except Exception:  # Starlette's handler is outside, and sends no `HEADERS`
            logging.getLogger("uvicorn.error").exception("A request failed")
            if exchange.has_begun:
                raise
            sorry = problem(500, "the server failed; its log says why")
            await sorry(scope, exchange.receive, exchange.send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return problem(
                400, f"the Host {host[:100]!r} is none of this server; use its own URL"
            )
        origin = headers.get("origin")
        if scope["method"] in SAFE_METHODS or origin is None:
            return None
        if origin.lower().partition("://")[2] == host.lower():
            return None
        return problem(403, f"a page of {origin[:100]!r} may not send requests here")

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            # Names can be made to lead here, addresses cannot.
            return name in self._names or bool(ipaddress.ip_address(name))
        except ValueError:
            return False
