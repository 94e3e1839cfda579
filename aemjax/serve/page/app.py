"""The page and its API as an application that any ASGI server runs."""

import functools
import inspect
from importlib import resources
from typing import Annotated

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from aemjax import __version__
from aemjax.models import create
from aemjax.serve.classifier import Classifier
from aemjax.serve.page.analysis import Analyser
from aemjax.serve.page.answers import (
    AllowedLimits,
    Answer,
    ModelFacts,
    Options,
    Problem,
)
from aemjax.serve.page.features import FrontEnd
from aemjax.serve.page.guard import Guard
from aemjax.serve.page.limits import MAX_OVERLAP, MAX_TOP_K, MAX_WINDOWS, Limits
from aemjax.serve.page.neighbours import Neighbours
from aemjax.serve.page.problems import answer_errors
from aemjax.serve.page.receive import receive
from aemjax.serve.page.turns import Turns

# What cards do not say.
DEFAULT_FRONTEND = inspect.signature(create).parameters["frontend"].default
STATIC = resources.files("aemjax.serve.page") / "static"
AUDIO_BODY = {
    "requestBody": {
        "description": "the audio file itself: WAV, FLAC, Ogg, MP3",
        "required": True,
        "content": {
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"}
            }
        },
    }
}
EVERYWHERE = {
    400: "The Host is not this server's.",
    500: "The server failed; its log says why.",
}
OF_CLASSIFY = {
    403: "The request comes from a page of another site.",
    408: "The file did not come in time.",
    413: "The file has too many bytes, seconds or values.",
    422: "The file is no usable audio, or a parameter is wrong.",
    503: "Too many requests are in hand; try again after Retry-After seconds.",
}


def create_app(
    classifier: Classifier,
    *,
    limits: Limits | None = None,
    neighbours: Neighbours | None = None,
    top_k: int = 5,
    host: str = "127.0.0.1",
) -> FastAPI:
    """The page at /, its API below /api/, and what describes that at /openapi.json.

    Args:
      neighbours: files that clips are compared with.
      top_k: classes, and neighbours, unless a request says.
      host: name or address of the server; requests for other names are refused.

    Raises:
      ValueError: if `top_k` is out of range, or the network does not run.
    """
    if not 1 <= top_k <= MAX_TOP_K:
        raise ValueError(f"top_k is {top_k}, expected 1 to {MAX_TOP_K}")
    limits = limits or Limits()
    analyser = _tried(classifier, neighbours, limits, top_k)
    facts = _facts(analyser)
    turns = Turns()
    app = FastAPI(
        title="aemjax",
        version=__version__,
        description="Classes of sounds.",
        docs_url=None,  # these pages come from other hosts
        redoc_url=None,
        responses=_documented(EVERYWHERE),
    )
    answer_errors(app)
    app.add_middleware(Guard, host=host)
    app.mount("/static", StaticFiles(directory=str(STATIC)))

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(str(STATIC / "index.html"))

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """Whether the server is there."""
        return {"status": "ok"}

    @app.get("/api/model")
    async def model() -> ModelFacts:
        """The network, and what may be asked of it."""
        return facts

    @app.post(
        "/api/classify",
        openapi_extra=AUDIO_BODY,
        responses=_documented(OF_CLASSIFY),
    )
    async def classify(
        request: Request, options: Annotated[Options, Query()]
    ) -> Answer:
        """Classes of the audio file that is the request's body."""
        with turns.place():
            data = await receive(request, limits)
            return await turns.compute(
                functools.partial(analyser.analyse, data, options), request
            )

    return app


def _tried(
    classifier: Classifier, neighbours: Neighbours | None, limits: Limits, top_k: int
) -> Analyser:
    """Runs all once: damage shows now, and no request waits for its compilation."""
    silence = np.zeros(classifier.sample_rate, np.float32)
    classifier.embed(silence)
    front_end = FrontEnd(classifier)
    front_end(silence)
    return Analyser(classifier, front_end, neighbours, limits, top_k)


def _documented(errors: dict[int, str]) -> dict:
    return {
        status: {"model": Problem, "description": text}
        for status, text in errors.items()
    }


def _facts(analyser: Analyser) -> ModelFacts:
    classifier, limits = analyser.classifier, analyser.limits
    card = classifier.card
    return ModelFacts(
        name=card.model["name"],
        frontend=card.model.get("frontend", DEFAULT_FRONTEND),
        dataset=card.data.get("dataset"),
        sample_rate=classifier.sample_rate,
        multi_label=classifier.multi_label,
        labels=list(classifier.labels),
        top_k=analyser.top_k,
        neighbours=len(analyser.neighbours or ()),
        limits=AllowedLimits(
            max_bytes=limits.max_bytes,
            max_s=limits.max_s,
            max_windows=MAX_WINDOWS,
            max_overlap=MAX_OVERLAP,
            max_top_k=MAX_TOP_K,
            timeout_s=limits.timeout_s,
        ),
    )
