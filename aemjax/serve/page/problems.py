"""Every error is JSON of one shape, {"error": "..."}, and says no more than it should."""

import reprlib

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from aemjax.audio.read import AudioError, AudioTooLong
from aemjax.serve.page.answers import Problem

# In place of "Not Found" and "Method Not Allowed".
ROUTING = {
    404: "there is nothing at {path}; /openapi.json lists what there is",
    405: "{path} takes no {method}; /openapi.json lists what it takes",
}


class BadOptions(ValueError):
    """What was asked for cannot be done with this clip."""


class SenderGone(HTTPException):
    """Nobody is there to read an answer; the status is for logs."""

    def __init__(self):
        super().__init__(400, "the sender went away")


def problem(
    status: int, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """The answer that says what is wrong."""
    return JSONResponse(Problem(error=message).model_dump(), status, headers)


def answer_errors(app: FastAPI) -> None:
    """Has whatever goes wrong in an app answered as a `Problem`."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException):
        message = error.detail
        if routing := ROUTING.get(error.status_code):
            message = routing.format(method=request.method, path=request.url.path[:100])
        return problem(error.status_code, message, error.headers)

    @app.exception_handler(RequestValidationError)
    async def bad_parameters(request: Request, error: RequestValidationError):
        return problem(422, "; ".join(map(_validation, error.errors())))

    @app.exception_handler(AudioTooLong)
    async def too_long(request: Request, error: AudioTooLong):
        return problem(413, str(error))

    @app.exception_handler(AudioError)
    @app.exception_handler(BadOptions)
    async def unusable(request: Request, error: ValueError):
        return problem(422, str(error))


def _validation(error: dict) -> str:
    name = ".".join(str(part) for part in error["loc"][1:])
    given = f"{name} is {reprlib.repr(error['input'])}: " if name else ""
    return given + error["msg"].removeprefix("Value error, ")
