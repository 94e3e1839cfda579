"""The `aemjax` command: each verb calls one function of the package."""

import argparse
import difflib
import json
import math
import sys
from collections.abc import Sequence

from aemjax import __version__

# Of `prepare`, beside which a Beam runner's own are passed on.
OWN_FLAGS = ("--allow-missing", "--skip-unreadable", "--storage", "--workers", "--seed")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one verb; bad input ends in one line on standard error and exit code 1."""
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if getattr(options, "runner", None):
        for flag in unknown:  # Beam would drop a misspelt one of ours
            name = flag.partition("=")[0]
            if meant := difflib.get_close_matches(name, OWN_FLAGS, cutoff=0.8):
                parser.error(f"unrecognized argument {flag}; is {meant[0]} meant?")
        options.beam_flags = [f"--runner={options.runner}", *unknown]
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        options.run(options)
    except ImportError as error:
        if options.traceback:
            raise
        sys.exit(f"error: {error}; this verb needs {options.needs}")
    except (ValueError, OSError) as error:
        if options.traceback:
            raise
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aemjax", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error comes from"
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for add in (
        _add_datasets,
        _add_synthesize,
        _add_prepare,
        _add_inspect,
        _add_summary,
        _add_size,
        _add_evaluate,
        _add_embed,
        _add_export,
        _add_report,
    ):
        add(verbs)
    return parser


def _verb(verbs, name: str, run, text: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run, needs="`pip install 'aemjax[train]'`")
    return parser


def _add_datasets(verbs) -> None:
    parser = _verb(verbs, "datasets", _datasets, "list the datasets that are known")
    parser.add_argument("--json", action="store_true")


def _datasets(options) -> None:
    from aemjax.data.catalog import DATASETS

    about = {name: dataset.describe() for name, dataset in DATASETS.items()}
    if options.json:
        print(json.dumps(about))
        return
    for name, facts in about.items():
        print(name)
        for key, value in facts.items():
            print(f"    {key}: {value}")


def _add_synthesize(verbs) -> None:
    parser = _verb(
        verbs, "synthesize", _synthesize, "make a synthetic twin of a dataset"
    )
    parser.add_argument(
        "name",
        help="audioset, covid19sounds, dcase2013, esc50, icbhi2017, manifest, tau2020 "
        "or urbansound8k",
    )
    parser.add_argument("--out", required=True, help="folder to make")
    parser.add_argument("--clips", type=int, help="how many, in all")
    parser.add_argument("--classes", type=int, help="how many classes")
    parser.add_argument("--seconds", type=float, help="length of a clip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)


def _synthesize(options) -> None:
    from aemjax.data.synthetic import synthesize

    sizes = {"classes": options.classes, "seconds": options.seconds}
    synthesize(
        options.name,
        options.out,
        clips=options.clips,
        seed=options.seed,
        workers=options.workers,
        **{key: value for key, value in sizes.items() if value is not None},
    )


def _add_prepare(verbs) -> None:
    parser = _verb(
        verbs,
        "prepare",
        _prepare,
        "turn an official dataset folder into a prepared set",
    )
    parser.add_argument(
        "name",
        help="audioset, esc50, esc10, urbansound8k, dcase2013, tau2020, icbhi2017, "
        "covid19sounds_task1 to _task3, manifest, or package.module:DATASET of your own",
    )
    parser.add_argument("--source", required=True, help="folder as its authors ship it")
    parser.add_argument("--out", required=True, help="folder to make")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument(
        "--runner",
        help="Apache Beam's, such as DataflowRunner; its own flags may follow",
    )
    parser.add_argument(
        "--storage",
        default="int16",
        help="int16 or flac: half the size, decoded at every read",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order on disk")
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="leave out clips whose audio file is absent",
    )
    parser.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="leave out clips whose audio file is bad",
    )


def _prepare(options) -> None:
    from aemjax.data.prepare import prepare

    manifest = prepare(
        options.name,
        options.source,
        options.out,
        workers=options.workers,
        beam_flags=getattr(options, "beam_flags", ()),
        storage=options.storage,
        seed=options.seed,
        allow_missing=options.allow_missing,
        skip_unreadable=options.skip_unreadable,
    )
    shown = ("dataset", "listed", "kept", "skipped", "checksum")
    print(json.dumps({key: manifest[key] for key in shown}))


def _add_inspect(verbs) -> None:
    parser = _verb(
        verbs,
        "inspect",
        _inspect,
        "look a prepared set over; exit code 1 if it cannot be trained on",
    )
    parser.add_argument("data", help="prepared set")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figures", metavar="FOLDER", help="write figures there")


def _inspect(options) -> None:
    from aemjax.data.inspect import inspect_set
    from aemjax.data.prepared import PreparedSet

    inspection = inspect_set(PreparedSet(options.data))
    if options.figures:
        from aemjax.report.data_figures import write_figures

        write_figures(inspection, options.figures)
    print(json.dumps(inspection.to_dict()) if options.json else inspection.table())
    if inspection.has_errors:
        sys.exit(1)


def _add_summary(verbs) -> None:
    parser = _verb(verbs, "summary", _summary, "count parameters, MACs and bytes")
    parser.add_argument(
        "--config", help="experiment file, 'FILE.py' or 'FILE.py:variant'"
    )
    parser.add_argument("--model", help="aemnet, aemnet_dw, aemresnet or module:Class")
    parser.add_argument(
        "--llf",
        default="llf1",
        help="front end: llf1, llf2, K1,S1,K2,S2, log_mel, mfcc",
    )
    parser.add_argument("--head", help="acnet or aclnetx; default: the published one")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--classes", type=int, default=527)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")


def _summary(options) -> None:
    from aemjax import models
    from aemjax.audio.read import SAMPLE_RATE

    if bool(options.config) == bool(options.model):
        raise ValueError("name either --config or --model")
    if options.config:
        model = models.create(**_read_config(options.config).model)
    else:
        model = models.create(
            options.model,
            num_classes=options.classes,
            frontend=options.llf,
            width=options.width,
            head=options.head,
        )
    summary = models.summarize(model, n_samples=round(options.seconds * SAMPLE_RATE))
    print(json.dumps(summary.to_dict()) if options.json else summary.table())


def _read_config(spec: str):
    """The config of "FILE.py" or "FILE.py:variant"."""
    import runpy

    path, _, variant = spec.partition(":")
    get_config = runpy.run_path(path)["get_config"]
    return get_config(variant) if variant else get_config()


def _add_size(verbs) -> None:
    parser = _verb(verbs, "size", _size, "bytes that a checkpoint's parameters take")
    parser.add_argument(
        "checkpoint", help="a run's folder; '@last' or '@STEP' behind it"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "int8"),
        default="int8",
        help="of kernels; default: int8",
    )
    parser.add_argument("--budget", help="such as 128KiB: which sparsity meets it")
    parser.add_argument("--json", action="store_true")


def _size(options) -> None:
    from aemjax.compress import size
    from aemjax.train.checkpoint import load

    width = {"float32": 4, "int8": 1}[options.dtype]
    layers = size.measure(load(options.checkpoint)[0]["params"])
    sparsities = {}
    if options.budget:
        budget = size.parse_budget(options.budget)
        found = size.sparsity_for(layers, budget, width=width)
        sparsities = dict(zip(("published", "stored"), found, strict=True))
    if options.json:
        about = size.to_dict(layers, width=width)
        print(json.dumps(about | {"sparsity": sparsities} if sparsities else about))
        return
    print(size.table(layers, width=width))
    for count, sparsity in sparsities.items():
        shown = math.ceil(sparsity * 1e6) / 1e6  # what is printed meets it too
        print(f"{options.budget} by the {count} count: sparsity {shown:.6f} or more")


def _add_evaluate(verbs) -> None:
    parser = _verb(verbs, "evaluate", _evaluate, "score a checkpoint on a prepared set")
    parser.add_argument(
        "checkpoint", help="a run's folder; '@last' or '@STEP' behind it"
    )
    parser.add_argument("--data", required=True, help="prepared set")
    parser.add_argument(
        "--split", help="'eval', 'a+b', 'full:5' (fold 5); default: all"
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--resamples",
        type=int,
        default=0,
        help="draws for 95 %% bootstrap intervals, usually 1000; each takes 10 to 30 ms "
        "for 3,000 clips of one label, 5 s for AudioSet's evaluation set; default: none",
    )


def _evaluate(options) -> None:
    from aemjax.train.evaluate import evaluate_checkpoint

    metrics = evaluate_checkpoint(
        options.checkpoint,
        options.data,
        split=options.split,
        batch_size=options.batch_size,
        resamples=options.resamples,
    )
    print(json.dumps(metrics))


def _add_embed(verbs) -> None:
    parser = _verb(
        verbs, "embed", _embed, "write a checkpoint's embeddings of a prepared set"
    )
    parser.add_argument(
        "checkpoint", help="a run's folder; '@last' or '@STEP' behind it"
    )
    parser.add_argument("--data", required=True, help="prepared set")
    parser.add_argument("--out", required=True, help="folder to make")
    parser.add_argument(
        "--logits", action="store_true", help="also write logits, for distillation"
    )
    parser.add_argument(
        "--split", help="'eval', 'a+b', 'full:5' (fold 5); default: all"
    )
    parser.add_argument("--batch-size", type=int, default=32)


def _embed(options) -> None:
    from aemjax.train.embed import embed_checkpoint

    about = embed_checkpoint(
        options.checkpoint,
        options.data,
        options.out,
        split=options.split,
        logits=options.logits,
        batch_size=options.batch_size,
    )
    shown = ("checkpoint", "step", "split", "clips", "logits")
    print(json.dumps({key: about[key] for key in shown}))


def _add_export(verbs) -> None:
    parser = _verb(
        verbs, "export", _export, "write a checkpoint for other engines, and check it"
    )
    parser.set_defaults(
        needs="`pip install 'aemjax[export]'`, and for onnx `pip install --no-deps "
        "jax2onnx==0.17.1` after it"
    )
    parser.add_argument(
        "checkpoint", help="a run's folder; '@last' or '@STEP' behind it"
    )
    parser.add_argument("--format", required=True, help="onnx or stablehlo")
    parser.add_argument("--out", required=True, help="file to write")
    parser.add_argument(
        "--standardize",
        action="store_true",
        help="the file takes audio as it comes, and standardises each clip itself",
    )
    parser.add_argument("--data", help="prepared set, to try clips of it beside noise")


def _export(options) -> None:
    from aemjax.export.check import real_audio
    from aemjax.export.write import export_checkpoint

    about = export_checkpoint(
        options.checkpoint,
        options.out,
        format=options.format,
        standardize=options.standardize,
        batches=real_audio(options.data) if options.data else None,
    )
    print(json.dumps(about))


def _add_report(verbs) -> None:
    parser = _verb(verbs, "report", _report, "compare runs, beside what was published")
    parser.add_argument(
        "runs", nargs="+", metavar="DIR", help="folders of finished runs and sweeps"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="write report.html and report.md there; default: print a table",
    )
    parser.add_argument(
        "--no-maps",
        action="store_true",
        help="leave out the maps of clips, for which each run's model is run",
    )


def _report(options) -> None:
    if options.out:
        from aemjax.report.page import write_report

        for path in write_report(options.runs, options.out, maps=not options.no_maps):
            print(path)
        return
    from aemjax.report.table import side_by_side

    print(side_by_side(options.runs))
