"""What came of a chain of compression: compress.json, a table, the engines' files."""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from aemjax.audio import read
from aemjax.compress import size
from aemjax.data.folders import AnyPath, write_text
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import divide
from aemjax.export.engines import engine_logits, open_engine
from aemjax.export.write import export_checkpoint
from aemjax.models.numerics import round_kernels
from aemjax.report.published import TABLE6
from aemjax.train.checkpoint import load
from aemjax.train.evaluate import score
from aemjax.train.workdir import git_commit, read_results
from finetune.train import protocol_of

PyTree = Any

RESULTS, TABLE = "compress.json", "compress.md"
FILE = "int8.onnx"  # in the folder of each run of a stage of integers
TRIED_CLIPS = 4


def write(config: ConfigDict, folder: AnyPath, stages: Sequence) -> dict[str, Any]:
    """Exports and scores each stage, writes both files, and returns the former's.

    Args:
      stages: `compress.Stage`, the first one the dense network.
    """
    data = PreparedSet(config.data.path)
    divisions = {x.number: x for x in divide(data, protocol_of(config))}
    select = config.compress.select
    rows = [_row(folder, stage, data, divisions, select) for stage in stages]
    first = read_results(folder / stages[0].name)
    content = {
        "dataset": data.manifest["dataset"],
        "split": protocol_of(config).describe(data),
        "select": select,
        "selected_on": first["selected_on"],
        "metric": first["metric"],
        "commit": git_commit(),
        "compress": config.compress.to_dict(),
        "stages": rows,
    }
    write_text(folder / RESULTS, json.dumps(content, indent=2) + "\n")
    text = table(content)
    write_text(folder / TABLE, text + "\n")
    logging.info("%s\n%s", folder / TABLE, text)
    return content


def _row(folder: AnyPath, stage, data, divisions, select: str) -> dict[str, Any]:
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


def _run(path: AnyPath, stage, run: dict, data, division, select: str) -> dict:
    name = f"fold{run['fold']}_seed{run['seed']}"
    about = {"fold": run["fold"], "seed": run["seed"]}
    spec = _spec(path / name, select)
    params = load(spec)[0]["params"]
    if not stage.int8:
        return about | _sizes(params, params, 4)
    unfolded = load(_spec(path.parent / stage.before / name, select))[0]["params"]
    about |= _sizes(unfolded, jax.jit(round_kernels)(params), 1)
    file = path / name / FILE
    if not file.exists():
        export_checkpoint(
            spec, file, format="onnx", dtype="int8", batches=_some(data, division.train)
        )
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
    rows = [_cells(stage, metric, content["compress"]) for stage in content["stages"]]
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"{text}\n\n{content['dataset']}, {content['split']}; means over "
        f"{len(content['stages'][0]['runs'])} runs at the {content['select']} epoch"
        + (
            f", chosen on {content['selected_on']}"
            if content["select"] == "best"
            else ""
        )
        + ". KB are bytes / 1024. As published: every trainable value that is not zero, "
        "at the width of the kernels; of INT8 before BatchNorm was folded. Stored: kernels "
        "that are not zero, biases of four bytes. Published figures are of DCASE 2021 1A."
    )


def _cells(stage: dict, metric: str, options: dict) -> list[str]:
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
        _published(stage, options),
    ]


def _published(stage: dict, options: dict) -> str:
    """The published row of a stage: those of a share of 60 %, and what is not pruned."""
    at = f"_{options['sparsity']:.4f}"
    names = {"dense": 1, f"ticket{at}": 2, f"int8{at}": 3}
    if stage["stage"] not in names or options["sparsity"] != 0.6:
        return ""
    row = TABLE6.rows[names[stage["stage"]]]
    accuracy, nonzero, kilobytes = row.values
    return f"{accuracy:.2f} / {nonzero:,} / {kilobytes:,.2f}"


def _spec(folder: AnyPath, select: str) -> str:
    return f"{folder}@last" if select == "last" else str(folder)


def _sizes(published: PyTree, stored: PyTree, width: int) -> dict[str, int | float]:
    """Both counts: of parameters as published, and as an engine stores them."""
    counted, kept = (size.total(size.measure(x)) for x in (published, stored))
    return {
        "nonzero": counted.nonzero,
        "published_kib": counted.published_bytes(width) / 1024,
        "stored_kib": kept.stored_bytes(width) / 1024,
    }


def _some(data: PreparedSet, rows: np.ndarray) -> list[np.ndarray]:
    """A few clips "1 t" of those."""
    chosen = rows[:: max(1, len(rows) // TRIED_CLIPS)][:TRIED_CLIPS]
    return [
        read.standardize(read.from_int16(data.read_audio(int(row))))[None]
        for row in chosen
    ]
