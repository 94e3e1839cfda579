"""What the API takes and answers; the models are its documentation as well."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from aemjax.serve.page.limits import MAX_OVERLAP, MAX_TOP_K, MAX_WINDOWS

Part = Literal["waveform", "features", "embedding", "neighbours"]
Probability = Annotated[float, Field(description="0 to 1")]


def _split(names: list[str]) -> list[str]:
    return [name for text in names for name in text.split(",") if name]


class Options(BaseModel):
    """The query of a request."""

    model_config = ConfigDict(extra="forbid")

    top_k: int | None = Field(
        None,
        ge=1,
        le=MAX_TOP_K,
        description="classes, and neighbours, that are answered; "
        "default: as the server was started",
    )
    window_s: float | None = Field(
        None,
        ge=0.01,
        allow_inf_nan=False,
        description="also classify windows of this length; the last ends with the clip",
    )
    hop_s: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="between the beginnings of windows; default: a window. There may be "
        f"{MAX_WINDOWS} windows, together {MAX_OVERLAP} times as long as the clip",
    )
    include: Annotated[list[Part], BeforeValidator(_split)] = Field(
        [], description="what else to answer, separated by commas or given repeatedly"
    )

    @model_validator(mode="after")
    def _has_windows_without_gaps(self):
        if self.hop_s is not None:
            if self.window_s is None:
                raise ValueError(
                    f"hop_s is {self.hop_s:g} without a window; give window_s as well"
                )
            if self.hop_s > self.window_s:
                raise ValueError(
                    f"windows of {self.window_s:g} s every {self.hop_s:g} s would leave "
                    "gaps; give a hop_s no longer than window_s"
                )
        return self


class Problem(BaseModel):
    """Why there is no answer."""

    error: str


class ClassScore(BaseModel):
    label: str
    probability: Probability


class Window(BaseModel):
    start_s: float
    end_s: float
    top: list[ClassScore]


class Timeline(BaseModel):
    """The classes that are the most probable in some window."""

    labels: list[str]
    probabilities: list[list[Probability]] = Field(
        description="for each label, in each of `windows`"
    )


class Waveform(BaseModel):
    """Its outline: the lowest and the highest sample of each of equal parts."""

    low: list[float]
    high: list[float]


class Features(BaseModel):
    """The front end's output, a row for each channel, as a picture."""

    channels: int
    columns: int = Field(
        description="equal parts of the clip, each the mean of its own"
    )
    data: str = Field(
        description="base64 of a byte for each channel and column, row by row; the value "
        "is low + (high - low) * (byte / 255)^2, or more where the byte is 255"
    )
    low: float
    high: float
    tones_hz: list[float] | None = Field(
        description="of each channel, the tone that it answers to most, ascending; null "
        "of a front end that learned no filters, whose channels are in its own order"
    )


class Neighbour(BaseModel):
    path: str
    similarity: float = Field(description="cosine of the embeddings' angle, -1 to 1")


class Answer(BaseModel):
    """What the network makes of a clip; null is what was not asked for."""

    sample_rate: int = Field(description="Hz at which the clip was scored")
    duration_s: float
    top: list[ClassScore] = Field(description="of the whole clip, most probable first")
    windows: list[Window] = []
    timeline: Timeline | None = None
    waveform: Waveform | None = None
    features: Features | None = None
    embedding: list[float] | None = None
    neighbours: list[Neighbour] | None = Field(
        None, description="files with the most similar embeddings, most similar first"
    )


class AllowedLimits(BaseModel):
    max_bytes: int
    max_s: float
    max_windows: int
    max_overlap: int = Field(description="of the windows' total length to the clip's")
    max_top_k: int
    timeout_s: float


class ModelFacts(BaseModel):
    """The network that is served, as its card describes it."""

    name: str
    frontend: str
    dataset: str | None
    sample_rate: int
    multi_label: bool = Field(description="whether probabilities are independent")
    labels: list[str]
    top_k: int = Field(description="answered unless asked otherwise")
    neighbours: int = Field(description="files that are compared with; 0: none")
    limits: AllowedLimits
