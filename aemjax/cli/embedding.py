"""The verb `embed`: of audio files, and of prepared sets."""

import json
import sys

from aemjax.cli.verbs import TRAIN, add_split, add_verb, one_line

# Reasons that are printed; all are in a file.
SHOWN_ERRORS = 20


def add_embed(verbs) -> None:
    parser = add_verb(
        verbs,
        "embed",
        _embed,
        "write embeddings of audio files, or of a prepared set; exit code 1 if not one "
        "file could be embedded",
        needs=f"{TRAIN} for a prepared set, `pip install aemjax` for files",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="audio files and folders of them, with --model; a run's folder, '@last' or "
        "'@STEP' behind it, with --data",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--model",
        metavar="DIR",
        help="embed files: folder of `aemjax release`, or a run's",
    )
    what.add_argument("--data", metavar="DIR", help="embed a prepared set")
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        help=".npz or .parquet to write; or folder to make",
    )
    parser.add_argument(
        "--logits", action="store_true", help="also write logits: scores of classes"
    )
    add_split(parser)
    parser.add_argument(
        "--batch-size", type=int, help="default: 32; of files on a CPU 1"
    )


def _embed(options) -> None:
    if options.data is not None:
        _embed_set(options)
        return
    if options.split is not None:
        raise ValueError(
            "--split is of prepared sets, which --data names, not of files"
        )
    import tqdm

    import aemjax
    from aemjax.serve.embed_files import embed_files
    from aemjax.serve.embedding_table import check_out

    check_out(options.out)  # before a network is read
    classifier = aemjax.load(options.model, batch_size=options.batch_size)
    with tqdm.tqdm(unit="file", desc="embed") as bar:

        def progress(done: int, total: int, failed: int) -> None:
            if bar.total is None:  # what is done already is an earlier run's
                bar.reset(total)
                bar.initial = bar.last_print_n = bar.n = done
            bar.set_postfix(failed=failed, refresh=False)
            bar.update(done - bar.n)

        about = embed_files(
            classifier,
            options.inputs,
            options.out,
            logits=options.logits,
            progress=progress,
        )
    failed = about.pop("failed")
    for file, reason in list(failed.items())[:SHOWN_ERRORS]:
        print(f"error: {one_line(f'{file}: {reason}')}", file=sys.stderr)
    if (more := len(failed) - SHOWN_ERRORS) > 0:
        print(f"and {more} more, in {about['errors']}", file=sys.stderr)
    print(json.dumps(about | {"failed": len(failed)}))
    if not about["embedded"]:
        sys.exit(1)


def _embed_set(options) -> None:
    from aemjax.train.embed import embed_checkpoint

    if len(options.inputs) > 1:
        raise ValueError(
            f"--data takes one run, not {len(options.inputs)}: {options.inputs}; to embed "
            "files, name a network with --model instead"
        )
    about = embed_checkpoint(
        options.inputs[0],
        options.data,
        options.out,
        split=options.split,
        logits=options.logits,
        batch_size=32 if options.batch_size is None else options.batch_size,
    )
    shown = ("checkpoint", "step", "split", "clips", "logits")
    print(json.dumps({key: about[key] for key in shown}))
