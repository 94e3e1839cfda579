"""Requests take turns: one is computed, a few wait, others are sent away."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request

from aemjax.serve.page.limits import MAX_IN_HAND, RETRY_AFTER_S
from aemjax.serve.page.problems import SenderGone

T = TypeVar("T")


class Turns:
    """Who is there, and whose turn it is."""

    def __init__(self):
        self._in_hand = 0
        self._one = anyio.CapacityLimiter(1)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """One of the places for requests, while it is received and computed.

        Raises:
          HTTPException: 503 if all are taken.
        """
        if self._in_hand >= MAX_IN_HAND:
            raise HTTPException(
                503,
                f"{self._in_hand} requests are in hand already; try again in "
                f"{RETRY_AFTER_S} s",
                {"Retry-After": str(RETRY_AFTER_S)},
            )
        self._in_hand += 1
        try:
            yield
        finally:
            self._in_hand -= 1

    async def compute(self, function: Callable[[], T], request: Request) -> T:
        """Runs it in a thread, after those that came before.

        Raises:
          SenderGone: if the request's sender did not wait for it.
        """
        # Asked before the wait as well: of a large body, uvicorn stops to read until it
        # is asked for more, and so would not notice who goes away.
        await _check_is_there(request)
        async with self._one:
            await _check_is_there(request)
            return await anyio.to_thread.run_sync(function)


async def _check_is_there(request: Request) -> None:
    if await request.is_disconnected():
        raise SenderGone()
