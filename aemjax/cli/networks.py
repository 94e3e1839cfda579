"""Verbs about networks: what they cost, score and become."""

import json
import math

from aemjax.cli.verbs import add_checkpoint, add_split, add_verb

# Flags of `summary` and what `models.create` calls them.
_SIZES = {
    "llf": "frontend",
    "head": "head",
    "width": "width",
    "classes": "num_classes",
}
_EXPECTED = "expected an experiment file, such as configs/finetune/esc50.py"


def add_summary(verbs) -> None:
    parser = add_verb(verbs, "summary", _summary, "count parameters, MACs and bytes")
    parser.add_argument(
        "--config", help="experiment file, 'FILE.py' or 'FILE.py:variant'"
    )
    parser.add_argument("--model", help="aemnet, aemnet_dw, aemresnet or module:Class")
    parser.add_argument(
        "--llf",
        help="front end: llf1, llf2, K1,S1,K2,S2, log_mel, mfcc; default: llf1",
    )
    parser.add_argument("--head", help="acnet or aclnetx; default: the published one")
    parser.add_argument("--width", type=float, help="default: 1")
    parser.add_argument("--classes", type=int, help="default: 527")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")


def _summary(options) -> None:
    from aemjax import models
    from aemjax.audio.read import SAMPLE_RATE

    if bool(options.config) == bool(options.model):
        raise ValueError("name either --config or --model")
    given = {
        flag: value
        for flag, value in vars(options).items()
        if flag in _SIZES and value is not None
    }
    if options.config:
        if given:
            raise ValueError(
                f"--config {options.config} names its own; leave out "
                + ", ".join(f"--{flag} {value}" for flag, value in given.items())
            )
        model = models.create(**read_config(options.config).model)
    else:
        sizes = {_SIZES[flag]: value for flag, value in given.items()}
        model = models.create(options.model, **{"num_classes": 527} | sizes)
    summary = models.summarize(model, n_samples=round(options.seconds * SAMPLE_RATE))
    print(json.dumps(summary.to_dict()) if options.json else summary.table())


def read_config(spec: str):
    """The config of "FILE.py" or "FILE.py:variant".

    Raises:
      ValueError: if the file is no Python, or defines no `get_config`.
    """
    import runpy

    path, _, variant = spec.partition(":")
    try:
        get_config = runpy.run_path(path).get("get_config")
    except SyntaxError as error:
        raise ValueError(f"{path} is no Python ({error}); {_EXPECTED}") from error
    if get_config is None:
        raise ValueError(f"{path} defines no get_config; {_EXPECTED}")
    return get_config(variant) if variant else get_config()


def add_size(verbs) -> None:
    parser = add_verb(verbs, "size", _size, "bytes that a checkpoint's parameters take")
    add_checkpoint(parser)
    parser.add_argument(
        "--dtype",
        choices=("float32", "int8"),
        default="int8",
        help="of kernels; default: int8",
    )
    parser.add_argument("--budget", help="such as 128KiB: which sparsity meets it")
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        help="an exported file, whose bytes are printed beside; may be given again",
    )
    parser.add_argument("--json", action="store_true")


def _size(options) -> None:
    from aemjax.compress import size
    from aemjax.models.numerics import INT8, round_kernels
    from aemjax.train.checkpoint import load

    width = {"float32": 4, "int8": 1}[options.dtype]
    weights, card, _ = load(options.checkpoint)
    params = weights["params"]
    if card.model.get("numerics") == INT8:
        params = round_kernels(params)
    layers = size.measure(params)
    files = {file: size.of_file(file) for file in options.file}
    sparsities = {}
    if options.budget:
        budget = size.parse_budget(options.budget)
        sparsities = size.sparsity_for(layers, budget, width=width)
    if options.json:
        about = size.to_dict(layers, width=width)
        others = {"sparsity": sparsities, "files": files}
        print(json.dumps(about | {key: x for key, x in others.items() if x}))
        return
    print(size.table(layers, width=width))
    for file, (whole, deflated) in files.items():
        print(f"{file}: {whole:,} bytes, {deflated:,} deflated")
    for count, sparsity in sparsities.items():
        shown = math.ceil(sparsity * 1e6) / 1e6  # what is printed meets it too
        print(f"{options.budget} by the {count} count: sparsity {shown:.6f} or more")


def add_evaluate(verbs) -> None:
    parser = add_verb(
        verbs,
        "evaluate",
        _evaluate,
        "score a checkpoint, or an exported file in its engine, on a prepared set",
        needs="`pip install 'aemjax[train]'`, and for exported files what `aemjax "
        "export` needs",
    )
    add_checkpoint(parser)
    parser.add_argument("--data", required=True, help="prepared set")
    add_split(parser)
    parser.add_argument(
        "--batch-size",
        type=int,
        default=32,
        help="of checkpoints; files run clip by clip",
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=0,
        help="draws for 95 %% bootstrap intervals, usually 1000; each takes 10 to 30 ms "
        "for 3,000 clips of one label, 5 s for AudioSet's evaluation set; default: none",
    )


def _evaluate(options) -> None:
    from pathlib import Path

    from aemjax.export.engines import SUFFIXES, evaluate_file
    from aemjax.train.evaluate import evaluate_checkpoint

    path = Path(options.checkpoint)
    if path.is_file() or (path.suffix in SUFFIXES and not path.is_dir()):
        if options.resamples:
            raise ValueError("--resamples is for checkpoints, not for exported files")
        print(
            json.dumps(
                evaluate_file(options.checkpoint, options.data, split=options.split)
            )
        )
        return
    metrics = evaluate_checkpoint(
        options.checkpoint,
        options.data,
        split=options.split,
        batch_size=options.batch_size,
        resamples=options.resamples,
    )
    print(json.dumps(metrics))


def add_report(verbs) -> None:
    parser = add_verb(
        verbs, "report", _report, "compare runs, beside what was published"
    )
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
