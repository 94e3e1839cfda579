"""The `aemjax` command: each verb calls one function of the package."""

import argparse
import json
import sys
from collections.abc import Sequence

from aemjax import __version__


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one verb; bad input ends in one line on standard error and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except ImportError as error:
        if options.traceback:
            raise
        sys.exit(f"error: {error}; this verb needs `pip install 'aemjax[train]'`")
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
        _add_synthesize,
        _add_prepare,
        _add_summary,
        _add_evaluate,
        _add_report,
    ):
        add(verbs)
    return parser


def _verb(verbs, name: str, run, text: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _add_synthesize(verbs) -> None:
    parser = _verb(
        verbs, "synthesize", _synthesize, "make a synthetic twin of a dataset"
    )
    parser.add_argument("name", help="audioset or esc50")
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
    parser.add_argument("name", help="audioset, esc50, esc10, urbansound8k or manifest")
    parser.add_argument("--source", required=True, help="folder as its authors ship it")
    parser.add_argument("--out", required=True, help="folder to make")
    parser.add_argument("--workers", type=int, default=1, help="processes")
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
        seed=options.seed,
        allow_missing=options.allow_missing,
        skip_unreadable=options.skip_unreadable,
    )
    shown = ("dataset", "listed", "kept", "skipped", "checksum")
    print(json.dumps({key: manifest[key] for key in shown}))


def _add_summary(verbs) -> None:
    parser = _verb(verbs, "summary", _summary, "count parameters, MACs and bytes")
    parser.add_argument(
        "--config", help="experiment file, 'FILE.py' or 'FILE.py:variant'"
    )
    parser.add_argument("--model", help="aemnet, aemnet_dw, aemresnet or module:Class")
    parser.add_argument(
        "--llf", default="llf1", help="front end: llf1, llf2, K1,S1,K2,S2"
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


def _evaluate(options) -> None:
    from aemjax.train.evaluate import evaluate_checkpoint

    metrics = evaluate_checkpoint(
        options.checkpoint,
        options.data,
        split=options.split,
        batch_size=options.batch_size,
    )
    print(json.dumps(metrics))


def _add_report(verbs) -> None:
    parser = _verb(verbs, "report", _report, "compare fine-tuning runs in a table")
    parser.add_argument("runs", nargs="+", help="folders of finished runs")


def _report(options) -> None:
    from aemjax.report.table import finetuning_table

    print(finetuning_table(options.runs))
