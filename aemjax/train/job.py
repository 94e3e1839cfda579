"""The command line that the jobs share: --config, --workdir, and which process it is."""

import contextlib
import logging as python_logging
import re
import sys
import traceback
from collections.abc import Callable

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from aemjax.train import distributed
from aemjax.train.loop import EXIT_PREEMPTED, Preempted
from aemjax.train.termination import ending_on_sigterm


def _is_ours(record: python_logging.LogRecord) -> bool:
    """Keeps out what Orbax logs, through absl too, of every save that goes well.

    And the tracebacks of those that do not: the error is raised as well.
    """
    if "orbax" not in record.pathname or logging.get_verbosity() > logging.INFO:
        return True
    record.exc_info = None
    return record.levelno >= python_logging.ERROR


def main(train: Callable, *, compile_only: Callable | None = None) -> None:
    """Runs `train(config, workdir, ...)` on what the command line says.

    With --compile_only, it is `compile_only(config, topology)`, whose table is printed.

    Bad input ends in one line on standard error and exit code 1; preemption in
    EXIT_PREEMPTED. With several processes, all end that way.
    """
    config = config_flags.DEFINE_config_file(
        "config", help_string="experiment, a file in configs/", lock_config=True
    )
    workdir = flags.DEFINE_string(
        "workdir", None, "folder of the run, which all processes see; or gs://..."
    )
    address = flags.DEFINE_string(
        "coordinator_address", None, "HOST:PORT of process 0, where there are several"
    )
    count = flags.DEFINE_integer("process_count", None, "how many processes")
    index = flags.DEFINE_integer("process_index", None, "which this is, from 0")
    timeout_s = flags.DEFINE_integer(
        "process_timeout_s",
        distributed.SILENCE_TIMEOUT_S,
        "seconds of silence after which a process counts as dead, and all end",
    )
    profile = flags.DEFINE_list(
        "profile_steps", None, "FIRST,END: traces these steps into WORKDIR/profile"
    )
    dry = flags.DEFINE_bool(
        "dry_run", False, "check, compile, make a few steps; write nothing"
    )
    topology = None
    if compile_only is not None:
        topology = flags.DEFINE_string(
            "compile_only",
            None,
            "a TPU slice, as v5e:4x4, that need not be here: say what a step costs on it",
        )
    flags.mark_flag_as_required("config")

    def run(arguments: list[str]) -> None:
        if len(arguments) > 1:
            sys.exit(f"unexpected arguments {arguments[1:]}; options begin with --")
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.INFO)
        logging.get_absl_handler().addFilter(_is_ours)
        code = 0
        try:
            if topology is not None and topology.value:
                print(compile_only(config.value, topology.value).table())
                return
            if not (workdir.value or dry.value):
                raise ValueError("no --workdir; name the folder of the run")
            options = {"profile_steps": _steps(profile.value), "dry": dry.value}
            distributed.initialize(
                coordinator_address=address.value,
                process_count=count.value,
                process_index=index.value,
                silence_timeout_s=timeout_s.value,
            )
            if jax.process_index() > 0 and not flags.FLAGS["verbosity"].present:
                logging.set_verbosity(logging.WARNING)  # what goes well, one says
            with distributed.ending_together(silence_timeout_s=timeout_s.value):
                try:
                    with _ending_alone():
                        train(config.value, workdir.value or "", **options)
                except Preempted as preempted:
                    logging.warning("preempted: %s", preempted)
                    code = EXIT_PREEMPTED
        except (ValueError, OSError) as error:
            logging.debug("the traceback:", exc_info=True)  # shown by --verbosity=1
            sys.exit(f"error: {error}")
        sys.exit(code)

    app.run(run, flags_parser=_parse)


def _parse(arguments: list[str]) -> list[str]:
    """Ends in one line where --config.KEY=VALUE names no field."""
    try:
        return app.parse_flags_with_usage(arguments)
    except (KeyError, AttributeError) as error:
        *_, frame = traceback.extract_tb(error.__traceback__)
        if "ml_collections" not in frame.filename:
            raise  # of a config's own code
        field = re.search(r"\w+", str(error))[0]
        near = re.search(r'mean "(\w+)"', str(error))
        meant = f"is {near[1]!r} meant? What" if near else "what"
        sys.exit(
            f"error: the config has no field {field!r}; {meant} a config lacks, such as "
            "a loss's options, is set in a config file"
        )


def _ending_alone() -> contextlib.AbstractContextManager:
    if jax.process_count() > 1:  # JAX notes the signal, and training asks it
        return contextlib.nullcontext()
    return ending_on_sigterm("what was finished is kept; the same command goes on")


def _steps(words: list[str] | None) -> tuple[int, int] | None:
    if words is None:
        return None
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        raise ValueError(f"profile_steps is {','.join(words)!r}, expected FIRST,END")
    return int(words[0]), int(words[1])
