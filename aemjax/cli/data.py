"""Verbs about data sets, as they ship and prepared."""

import json
import sys

from aemjax.cli.verbs import add_verb


def add_datasets(verbs) -> None:
    parser = add_verb(verbs, "datasets", _datasets, "list the datasets that are known")
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


def add_synthesize(verbs) -> None:
    parser = add_verb(
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


def add_prepare(verbs) -> None:
    parser = add_verb(
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
    parser.add_argument("--workers", type=int, help="processes; default: 1")
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

    if options.runner and options.workers is not None:
        raise ValueError(
            f"--workers {options.workers} is for this machine's processes, not for "
            f"--runner {options.runner}; leave it out, or give the runner's own flag, such "
            "as --num_workers of DataflowRunner"
        )
    manifest = prepare(
        options.name,
        options.source,
        options.out,
        workers=1 if options.workers is None else options.workers,
        beam_flags=getattr(options, "beam_flags", ()),
        storage=options.storage,
        seed=options.seed,
        allow_missing=options.allow_missing,
        skip_unreadable=options.skip_unreadable,
    )
    shown = ("dataset", "listed", "kept", "skipped", "checksum")
    print(json.dumps({key: manifest[key] for key in shown}))


def add_inspect(verbs) -> None:
    parser = add_verb(
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
