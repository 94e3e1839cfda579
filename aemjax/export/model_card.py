"""The page beside a released network or an exported file: data, scores, limits."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jax

from aemjax import __version__
from aemjax.data.folders import AnyPath, as_path
from aemjax.train.card import Card
from aemjax.train.workdir import RESULTS

SHOWN_LABELS = 10
AVERAGED = "ema_"
# Sets of breath and cough sounds, by the beginning of their names.
OF_PATIENTS = ("icbhi2017", "covid19sounds")


@dataclasses.dataclass(frozen=True)
class Scores:
    """What results.json says of a checkpoint.

    Attributes:
      split: what was trained and evaluated on, in words.
      metrics: by name.
      intervals: 95 %, of those that have any.
      selected_on: the clips by which the step was chosen, in words; "" where unknown.
    """

    split: str
    metrics: Mapping[str, int | float]
    intervals: Mapping[str, list[float] | None]
    selected_on: str = ""


def find_scores(run: str, card: Card, step: int) -> Scores | None:
    """What the results of a run, or of the fine-tuning that it is a part of, say of a step.

    Args:
      run: its folder.

    Returns:
      None where they are not there, or are of other steps.
    """
    folder = as_path(run)
    if (results := _read(folder)) and "steps" in results:
        return _of_pretraining(results, card, step)
    if results := _read(folder.parent):
        return _of_fine_tuning(results, folder.name, step)
    return None


def _read(folder: AnyPath) -> dict[str, Any] | None:
    path = folder / RESULTS
    return json.loads(path.read_text()) if path.is_file() else None


def _of_pretraining(results: Mapping, card: Card, step: int) -> Scores | None:
    entries = {results["steps"]: "last", results["best_step"]: "best"}
    found = results[entries[step]] if step in entries else None
    if not found:
        return None
    averaged = {
        name.removeprefix(AVERAGED): value
        for name, value in found.items()
        if name.startswith(AVERAGED)
    }
    own = {name: x for name, x in found.items() if not name.startswith(AVERAGED)}
    counts = {name: x for name, x in own.items() if isinstance(x, int)}
    metrics = averaged | counts if card.item == "ema" else own
    return Scores(results.get("split", ""), metrics, {}, "the clips evaluated on")


def _of_fine_tuning(results: Mapping, name: str, step: int) -> Scores | None:
    for run in results.get("runs", ()):
        if name != f"fold{run['fold']}_seed{run['seed']}":
            continue
        for entry in ("best", "last"):
            if run[entry]["step"] == step:
                return Scores(
                    f"{results['split']}, fold {run['fold']}",
                    run[entry]["metrics"],
                    run[entry].get("intervals", {}),
                    results.get("selected_on", ""),
                )
    return None


def text(
    params: Any,
    card: Card,
    step: int,
    scores: Scores | None,
    *,
    use: str,
    labels_in: str,
    scored: str = "",
) -> str:
    """The page, in Markdown.

    Args:
      use: how it is run: a fenced block, and what is to be said of it.
      labels_in: where all labels are, in words.
      scored: what the metrics are of, where it is not just this.
    """
    name, dataset = card.model["name"], card.data["dataset"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    kind = "several labels a clip" if card.multi_label else "one label a clip"
    shown = ", ".join(card.labels[:SHOWN_LABELS])
    more = len(card.labels) - SHOWN_LABELS
    said = ("name", "num_classes")
    options = ", ".join(
        f"{key} {x}"
        for key, x in card.model.items()
        if x is not None and key not in said
    )
    return f"""# {name}, {dataset}

A classifier of audio at {card.sample_rate} Hz, {count:,} parameters: {options}.

{use.strip()}

## Data

Trained on the set {dataset}, fingerprint `{card.data["fingerprint"]}`.

{len(card.labels)} labels, {kind}: {shown}{f", and {more} more in {labels_in}" if more > 0 else ""}.

## Metrics

{scored + chr(10) * 2 if scored else ""}{_metrics(card, step, scores)}

## Licence

To be stated by whoever publishes these weights; the data may set terms of its own.

## Limits

{_limits(card)}

## Source

aemjax {__version__}, step {step}, code {card.commit}.
"""


def _metrics(card: Card, step: int, scores: Scores | None) -> str:
    if scores is None:
        return f"The run's {RESULTS} has none of step {step}."
    lines = [f"Split: {scores.split or 'not said'}."]
    if scores.selected_on:
        lines[0] += f" Steps were compared by {card.metric} on {scores.selected_on}."
    lines += ["", "| metric | value | 95 % interval |", "|---|---|---|"]
    for name, value in scores.metrics.items():
        interval = scores.intervals.get(name)
        shown = " to ".join(f"{x:.4f}" for x in interval) if interval else ""
        number = value if isinstance(value, int) else f"{value:.4f}"
        lines.append(f"| {name} | {number} | {shown} |")
    return "\n".join(lines)


def _limits(card: Card) -> str:
    lines = [
        "- It knows its labels alone: of any other sound it still gives the nearest.",
        "- Other microphones, rooms and levels of noise than its data had may score worse.",
        "- Probabilities were not calibrated.",
        "- It was not evaluated for decisions about health or safety.",
    ]
    if card.data["dataset"].startswith(OF_PATIENTS):
        lines.append(
            "- It is not a diagnostic device: nobody's health may be judged by its scores."
        )
    return "\n".join(lines)
