"""One request and its answer, which is to reach its sender."""

import asyncio
import contextlib
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Send

# A connection that is closed under one who still sends is reset: the answer is lost. So
# the sender of a body that nobody wanted is listened to for so long after it.
LINGER_S = 1.0


class Exchange:
    """ASGI's `receive` and `send` of a request, the latter with headers of ours.

    Attributes:
      has_begun: whether there is an answer.
    """

    def __init__(self, receive: Receive, send: Send, headers: Mapping[str, str]):
        self.has_begun = False
        self._is_received = False
        self._receive = receive
        self._send = send
        self._headers = headers

    async def receive(self) -> Message:
        """The next part of the body, or that its sender went away."""
        message = await self._receive()
        if not message.get("more_body"):
            self._is_received = True
        return message

    async def send(self, message: Message) -> None:
        """Answers; the end of an answer waits for that of the body."""
        self.has_begun = True
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(self._headers)
        is_end = message["type"] == "http.response.body" and not message.get(
            "more_body"
        )
        if is_end and not self._is_received:
            await self._send(message | {"more_body": True})
            await self._discard()
            message = message | {"body": b""}
        await self._send(message)

    async def _discard(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self._is_received:
                    await self.receive()
