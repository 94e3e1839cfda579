"""What came of a chain of compression: compress.json, a table, the engines' files."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from aemjax.compress import size
from aemjax.data.folders import AnyPath, write_text
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import Division, divide
from aemjax.export.check import real_audio
from aemjax.export.engines import engine_logits, open_engine
from aemjax.export.write import export_checkpoint
from aemjax.models.numerics import round_kernels
from aemjax.report.inputs import read_folders
from aemjax.report.published import TABLE6
from aemjax.train.checkpoint import load
from aemjax.train.evaluate import score
from aemjax.train.workdir import git_commit, read_results
from finetune.start import run_name
from finetune.train import describe_split, protocol_of

PyTree = Any

RESULTS, TABLE = "compress.json", "compress.md"
FILE = "int8.onnx"  # in the folder of each run of a stage of integers
TRIED_CLIPS = 4


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of the chain.

    Attributes:
      name: of its folder.
      title: in the table.
      sparsity: of its parameters; 0: none are pruned.
      before: of a network of integers, the folder of the one that it was made of.
    """

    name: str
    title: str
    sparsity: float = 0.0
    before: str = ""

    @property
    def int8(self) -> bool:
        return bool(self.before)


def selected(folder: AnyPath, select: str) -> str:
    """What `checkpoint.load` takes of a run: its best step, or "last"."""
    return f"{folder}@last" if select == "last" else str(folder)


def write(
    config: ConfigDict, folder: AnyPath, stages: Sequence[Stage]
) -> dict[str, Any]:
    """Exports and scores each stage, writes both files, and returns the former's.

    Args:
      stages: the first one is the dense network.
    """
    data = PreparedSet(config.data.path)
    divisions = {x.number: x for x in divide(data, protocol_of(config))}
    select = config.compress.select
    rows = [_row(folder, stage, data, divisions, select) for stage in stages]
    first = read_results(folder / stages[0].name)
    content = {
        "dataset": data.manifest["dataset"],
        "split": describe_split(config, data),
        "select": select,
        "selected_on": first["selected_on"],
        "metric": first["metric"],
        "published": _repeats_published(folder / stages[0].name),
        "commit": git_commit(),
        "compress": config.compress.to_dict(),
        "stages": rows,
    }
    write_text(folder / RESULTS, json.dumps(content, indent=2) + "\n")
    text = table(content)
    write_text(folder / TABLE, text + "\n")
    logging.info("%s\n%s", folder / TABLE, text)
    return content


def _row(
    folder: AnyPath,
    stage: Stage,
    data: PreparedSet,
    divisions: Mapping[int, Division],
    select: str,
) -> dict[str, Any]:
    results = read_results(folder / stage.name)
    runs = [
        _run(folder / stage.name, stage, run, data, divisions[run["fold"]], select)
        for run in results["runs"]
    ]
    return {
        "stage": stage.name,
        "title": stage.title,
        "sparsity": stage.sparsity,
        "int8": stage.int8,
        "summary": results["summary"][select],
        "runs": runs,
        "mean": _means(runs),
    }


def _means(runs: list[dict]) -> dict[str, float]:
    """Of every number of the runs, and of what their engines score."""
    flat = [
        {key: x for key, x in run.items() if isinstance(x, int | float)}
        | {f"engine_{key}": x for key, x in run.get("engine", {}).items()}
        for run in runs
    ]
    shared = set.intersection(*map(set, flat)) - {"fold", "seed"}
    return {key: float(np.mean([run[key] for run in flat])) for key in sorted(shared)}


def _run(
    path: AnyPath,
    stage: Stage,
    run: dict,
    data: PreparedSet,
    division: Division,
    select: str,
) -> dict[str, Any]:
    name = run_name(run)
    about = {"fold": run["fold"], "seed": run["seed"]}
    spec = selected(path / name, select)
    params = load(spec)[0]["params"]
    if not stage.int8:
        return about | _sizes(params, params, 4)
    unfolded = load(selected(path.parent / stage.before / name, select))[0]["params"]
    about |= _sizes(unfolded, jax.jit(round_kernels)(params), 1)
    file = path / name / FILE
    if not file.exists():
        audio = real_audio(data, rows=division.train, clips=TRIED_CLIPS)
        try:
            export_checkpoint(spec, file, format="onnx", dtype="int8", batches=audio)
        except (
            ValueError
        ) as error:  # the engine rounds otherwise: the rest is still told
            logging.warning("%s has no file: %s", path / name, error)
            return about | {"no_file": str(error)}
    logits = engine_logits(open_engine(file), data, division.eval)
    return about | {
        "file_kib": file.stat().st_size / 1024,
        "engine": score(data, division.eval, logits),
    }


def table(content: dict[str, Any]) -> str:
    """compress.json as Markdown: Table 6 of Galindo-Meza 2021, with ours beside it."""
    metric = content["metric"]
    head = (
        *("network", f"{metric} (%)", "in ONNX Runtime", "log loss", "non-zero"),
        *("KB, as published", "KB stored", "KB of the file"),
        f"published: {metric} / non-zero / KB",
    )
    names = _published_names(content)
    rows = [_cells(stage, metric, names) for stage in content["stages"]]
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    runs = len(content["stages"][0]["runs"])
    return (
        f"{text}\n\n{content['dataset']}, {content['split']}; "
        + (f"means over {runs} runs" if runs > 1 else "one run")
        + f" at the {content['select']} epoch"
        + (
            f", chosen on {content['selected_on']}"
            if content["select"] == "best"
            else ""
        )
        + "".join(
            f". {stage['title']}, fold {run['fold']}, has no file: {run['no_file']}"
            for stage in content["stages"]
            for run in stage["runs"]
            if "no_file" in run
        )
        + ". KB are bytes / 1024. As published: every trainable value that is not zero, "
        "at the width of the kernels; of INT8 before BatchNorm was folded. Stored: kernels "
        "that are not zero, biases of four bytes. Published figures are of DCASE 2021 1A."
    )


def _cells(stage: dict, metric: str, published: dict[str, int]) -> list[str]:
    mean, summary = stage["mean"], stage["summary"]

    def number(value: float | None, digits: int, scale: float = 1.0) -> str:
        return "" if value is None else f"{scale * value:,.{digits}f}"

    def ours(name: str) -> float | None:
        return summary.get(name, {}).get("mean")

    engine = mean.get(f"engine_{metric}")
    return [
        stage["title"],
        number(ours(metric), 2, 100),
        number(engine, 2, 100),
        number(mean.get("engine_log_loss", ours("log_loss")), 3),
        number(mean["nonzero"], 0),
        number(mean["published_kib"], 2),
        number(mean["stored_kib"], 2),
        number(mean.get("file_kib"), 2),
        _published(published.get(stage["stage"])),
    ]


def _repeats_published(dense: AnyPath) -> bool:
    """Whether the network is that of the published table, on its data."""
    (run,), _ = read_folders([str(dense)])
    return run.repeats(TABLE6.rows[1].wants)


def _published_names(content: dict[str, Any]) -> dict[str, int]:
    """{stage: its row of the published table}: pruned by 60 %, and not at all."""
    if not content["published"] or content["compress"]["sparsity"] != 0.6:
        return {}
    return {"dense": 1, "ticket_0.6000": 2, "int8_0.6000": 3}


def _published(row: int | None) -> str:
    if row is None:
        return ""
    accuracy, nonzero, kilobytes = TABLE6.rows[row].values
    return f"{accuracy:.2f} / {nonzero:,} / {kilobytes:,.2f}"


def _sizes(published: PyTree, stored: PyTree, width: int) -> dict[str, int | float]:
    """Both counts: of parameters as published, and as an engine stores them."""
    counted, kept = (size.total(size.measure(x)) for x in (published, stored))
    return {
        "nonzero": counted.nonzero,
        "published_kib": counted.published_bytes(width) / 1024,
        "stored_kib": kept.stored_bytes(width) / 1024,
    }
