"""What a sweep varies: fields of a config, and the values that each may take."""

import copy
import dataclasses
import difflib
import itertools
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

import optuna
from ml_collections import ConfigDict

Value = bool | int | float | str
FORMS = "LOW:HIGH:STEP, LOW:HIGH, LOW:HIGH:log or A,B,C"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One field and its values.

    Attributes:
      field: of the config, "section.key".
      text: the values as they were given.
      kind: bool, int, float or str, as the config has it.
      values: all of them; empty where they are a range without steps.
      low, high: of numbers, both included; None for choices.
      step: between numbers; None for a range without.
      log: whether the logarithm is drawn uniformly.
    """

    field: str
    text: str
    kind: type
    values: tuple[Value, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = None
    log: bool = False

    def suggest(self, trial: optuna.Trial) -> Value:
        """The value that a trial of the study takes."""
        if self.low is None:
            return trial.suggest_categorical(self.field, self.values)
        suggest = trial.suggest_int if self.kind is int else trial.suggest_float
        options = {} if self.step is None else {"step": self.step}
        value = suggest(self.field, self.low, self.high, log=self.log, **options)
        # Optuna adds up steps: 0.1 + 2 * 0.1 is not 0.3.
        return min(self.values, key=lambda v: abs(v - value), default=value)

    def check_steps(self) -> None:
        """Raises ValueError if it is a range without steps, which no grid can cover."""
        if not self.values:
            raise ValueError(
                f"{self.field}={self.text} has no steps, which a grid needs: "
                "LOW:HIGH:STEP; or take --sampler=random or tpe"
            )


def parse(config: ConfigDict, text: str) -> Parameter:
    """Reads "FIELD=VALUES".

    VALUES are `LOW:HIGH:STEP`, a grid with both ends; `LOW:HIGH`, a range; the same with
    `:log`, a range whose logarithm is uniform; or `A,B,C`, choices.

    Raises:
      ValueError: if the config has no such field, or its type cannot hold the values.
    """
    field, equals, values = text.partition("=")
    if not (equals and values):
        raise ValueError(f"--param={text}: expected FIELD=VALUES, VALUES as {FORMS}")
    kind = _kind(config, field)
    if kind not in (int, float) or ":" not in values:
        choices = tuple(_convert(field, kind, word) for word in values.split(","))
        if len(set(choices)) < len(choices):
            raise ValueError(f"--param={text}: a value is named twice")
        return Parameter(field, values, kind, choices)
    low, high, *more = values.split(":")
    low, high = (_convert(field, kind, word) for word in (low, high))
    if not low < high or len(more) > 1:
        raise ValueError(f"--param={text}: expected {FORMS}, LOW below HIGH")
    if not more:
        return Parameter(field, values, kind, (), low, high)
    if more == ["log"]:
        if low <= 0:
            raise ValueError(f"--param={text}: a logarithm needs LOW above 0")
        return Parameter(field, values, kind, (), low, high, log=True)
    step = _convert(field, kind, more[0])
    grid = _steps(text, kind, *map(Decimal, values.split(":")))
    return Parameter(field, values, kind, grid, low, high, step)


def _steps(
    text: str, kind: type, low: Decimal, high: Decimal, step: Decimal
) -> tuple[int | float, ...]:
    """Numbers from `low` to `high`, each the one nearest to the decimal that it stands for."""
    if step <= 0:
        raise ValueError(f"--param={text}: STEP is {step}, expected more than 0")
    count, rest = divmod(high - low, step)
    if rest:
        raise ValueError(
            f"--param={text}: steps of {step} from {low} miss {high}; end at "
            f"{high - rest} or {high - rest + step}"
        )
    return tuple(kind(low + i * step) for i in range(int(count) + 1))


def _kind(config: ConfigDict, field: str) -> type:
    section, _, key = field.rpartition(".")
    fields = _fields(config)
    if field not in fields:
        last = {name.rpartition(".")[2]: name for name in fields}
        close = difflib.get_close_matches(field, fields, cutoff=0.5)
        close += [last[k] for k in difflib.get_close_matches(key, last, cutoff=0.7)]
        near = ", ".join(dict.fromkeys(close)) or "none; its fields are section.key"
        raise ValueError(f"the config has no field {field!r}; near it: {near}")
    parent = config
    for part in section.split(".") if section else ():
        parent = parent[part]
    kind = parent.get_type(key)
    if kind not in (bool, int, float, str):
        raise ValueError(
            f"{field} is {parent[key]!r}; a sweep varies numbers, texts and booleans"
        )
    return kind


def _fields(config: ConfigDict, prefix: str = "") -> list[str]:
    found = []
    for key in config:
        value = config[key]
        if isinstance(value, ConfigDict):
            found += _fields(value, f"{prefix}{key}.")
        else:
            found.append(prefix + key)
    return found


def _convert(field: str, kind: type, word: str) -> Value:
    try:
        if kind is bool:
            return {"true": True, "false": False}[word.lower()]
        value = kind(word)
        if kind is float and not math.isfinite(value):
            raise ValueError
        return value
    except (KeyError, ValueError):
        raise ValueError(
            f"{field} is of type {kind.__name__}, which {word!r} is not; expected "
            f"VALUES as {FORMS}"
        ) from None


def grid(parameters: Sequence[Parameter]) -> Iterator[dict[str, Value]]:
    """Every combination of values, the last field's changing fastest."""
    fields = [parameter.field for parameter in parameters]
    for values in itertools.product(*(parameter.values for parameter in parameters)):
        yield dict(zip(fields, values, strict=True))


def with_values(config: ConfigDict, values: dict[str, Value]) -> ConfigDict:
    """A copy of the config with these fields changed; those that refer to them follow."""
    changed = copy.deepcopy(config)
    changed.update_from_flattened_dict(values)
    return changed
