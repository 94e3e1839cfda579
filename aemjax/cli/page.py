"""The verb that serves a page to try a network on."""

import contextlib
import sys

from aemjax.cli.verbs import add_model, add_verb, one_line

SERVE = "`pip install 'aemjax[serve]'`, and 'aemjax[prepare]' for .parquet"


def add_serve(verbs) -> None:
    parser = add_verb(
        verbs,
        "serve",
        _serve,
        "serve a page and a JSON API to try a network on recordings; Ctrl-C ends it",
        needs=SERVE,
    )
    add_model(parser)
    parser.add_argument(
        "--neighbours",
        metavar="EMBEDDINGS",
        help=".npz or .parquet of `aemjax embed`, or a folder of audio, embedded at "
        "start: clips are compared with these files",
    )
    where = parser.add_argument_group("where it listens")
    where.add_argument(
        "--host",
        default="127.0.0.1",
        help="default: 127.0.0.1, this machine alone; anyone who reaches another one may "
        "use it",
    )
    where.add_argument(
        "--port", type=int, default=8000, help="0: any free one; default: 8000"
    )
    limits = parser.add_argument_group("what a request may be")
    limits.add_argument(
        "--max-mb", type=float, default=20.0, help="of a file; default: 20"
    )
    limits.add_argument(
        "--max-s",
        type=float,
        default=60.0,
        help="seconds of audio, 300 at most; default: 60",
    )
    limits.add_argument(
        "--timeout-s",
        type=float,
        default=30.0,
        help="seconds in which a file must have come; default: 30",
    )


def _serve(options) -> None:
    with contextlib.suppress(KeyboardInterrupt):  # how it is ended, at any time
        _run(options)


def _run(options) -> None:
    from aemjax.serve.page.limits import Limits
    from aemjax.serve.page.server import bind, make_server, url_of

    limits = Limits(options.max_mb, options.max_s, options.timeout_s)
    with bind(options.host, options.port) as listener:  # before a network is read
        app = _app(options, limits)

        def ready() -> None:
            print(f"{url_of(listener)} is ready; Ctrl-C ends it", flush=True)

        make_server(app, limits, ready=ready).run(sockets=[listener])


def _app(options, limits):
    import aemjax
    from aemjax.serve.page.app import create_app
    from aemjax.serve.page.neighbours import load_neighbours

    classifier = aemjax.load(options.model)
    neighbours = None
    if options.neighbours is not None:
        neighbours = load_neighbours(
            options.neighbours, classifier, leave_out=_say_left_out
        )
    return create_app(
        classifier,
        limits=limits,
        neighbours=neighbours,
        top_k=options.top_k,
        host=options.host,
    )


def _say_left_out(path: str, reason: str) -> None:
    print(f"left out: {one_line(f'{path}: {reason}')}", file=sys.stderr)
