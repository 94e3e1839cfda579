"""Verbs about files of other libraries: networks written for them, and read from them."""

import json

from aemjax.cli.verbs import add_checkpoint, add_verb

CALIBRATION_CLIPS = 128
EXPORT = "`pip install 'aemjax[export]'`"


def add_export(verbs) -> None:
    parser = add_verb(
        verbs,
        "export",
        _export,
        "write a checkpoint for other engines, and check it",
        needs=f"{EXPORT}, for litert 'aemjax[litert]' too, and for onnx `pip install "
        "--no-deps jax2onnx==0.17.1` after it",
    )
    add_checkpoint(parser)
    parser.add_argument(
        "--format", required=True, help="onnx, stablehlo, litert or pytorch"
    )
    parser.add_argument("--out", required=True, help="file to write")
    parser.add_argument(
        "--dtype",
        default="float32",
        help="float32, or int8 of onnx and litert; default: float32",
    )
    parser.add_argument(
        "--standardize",
        action="store_true",
        help="the file takes audio as it comes, and standardises each clip itself",
    )
    parser.add_argument(
        "--data",
        help="prepared set, to try clips of it beside noise; for int8 of a network that "
        "was not trained for it, also to find the ranges of activations",
    )
    parser.add_argument(
        "--seconds",
        type=lengths,
        default=(),
        help="lengths of audio that a file of litert takes, such as 1 or 1,5,10",
    )


def lengths(text: str) -> list[float]:
    """Numbers with commas between; argparse names the type in its message."""
    return [float(number) for number in text.split(",")]


def _export(options) -> None:
    from aemjax.data.prepared import PreparedSet
    from aemjax.export.check import real_audio
    from aemjax.export.write import export_checkpoint

    data = PreparedSet(options.data) if options.data else None
    calibrates = data is not None and options.dtype != "float32"
    about = export_checkpoint(
        options.checkpoint,
        options.out,
        format=options.format,
        dtype=options.dtype,
        standardize=options.standardize,
        batches=real_audio(data) if data else (),
        calibration=real_audio(data, clips=CALIBRATION_CLIPS) if calibrates else (),
        seconds=options.seconds,
    )
    print(json.dumps(about))


def add_import(verbs) -> None:
    parser = add_verb(
        verbs,
        "import",
        _import,
        "make a run's folder of a PyTorch state dict",
        needs=EXPORT,
    )
    parser.add_argument("file", help="safetensors; docs/export.md lists its names")
    parser.add_argument("--out", required=True, help="folder to make")
    foreign = parser.add_argument_group(
        "of a file that `aemjax export` did not write, which does not say them"
    )
    foreign.add_argument("--model", help="aemnet, aemnet_dw, aemresnet or module:Class")
    foreign.add_argument("--llf", help="front end; default: llf1")
    foreign.add_argument("--head", help="acnet or aclnetx; default: the published one")
    foreign.add_argument("--width", type=float, help="default: 1")
    foreign.add_argument(
        "--labels", help="text file, a class a line, in the order of the logits"
    )
    foreign.add_argument(
        "--multi-label", action="store_true", help="a clip has several labels"
    )


def _import(options) -> None:
    from pathlib import Path

    from aemjax.export.pytorch_file import import_file

    model = {
        "name": options.model,
        "frontend": options.llf,
        "head": options.head,
        "width": options.width,
    }
    labels = ()
    if options.labels:  # not by `splitlines`, which splits within some names
        labels = Path(options.labels).read_text().removesuffix("\n").split("\n")
    card = import_file(
        options.file,
        options.out,
        model={key: value for key, value in model.items() if value is not None},
        labels=labels,
        multi_label=options.multi_label,
    )
    print(json.dumps({"run": options.out, "model": card.model}))
