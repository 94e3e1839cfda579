"""The body of a request, as long as it is small and comes in time."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from aemjax.serve.page.limits import Limits
from aemjax.serve.page.problems import SenderGone


async def receive(request: Request, limits: Limits) -> bytes:
    """The body, which is counted as it comes, whatever its announced length.

    Raises:
      HTTPException: 408, 413; or 400, if the sender went away.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(limits.timeout_s):
            _check_size(int(request.headers.get("content-length", 0)), limits)
            async for chunk in request.stream():
                body += chunk
                _check_size(len(body), limits)
    except TimeoutError:
        raise HTTPException(
            408,
            f"{len(body)} bytes came in {limits.timeout_s:g} s, expected the whole file; "
            "send a smaller one, or start with a longer --timeout-s",
        ) from None
    except ClientDisconnect:
        raise SenderGone() from None
    return bytes(body)


def _check_size(n_bytes: int, limits: Limits) -> None:
    if n_bytes > limits.max_bytes:
        raise HTTPException(
            413,
            f"the file has more than {limits.max_bytes} bytes ({limits.max_mb:g} MB); "
            "cut it, compress it as FLAC, or start with a larger --max-mb",
        )
