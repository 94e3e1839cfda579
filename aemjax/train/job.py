"""The command line that the jobs share: --config and --workdir."""

import logging as python_logging
import sys
from collections.abc import Callable

from absl import app, flags, logging
from ml_collections import config_flags

from aemjax.train.loop import EXIT_PREEMPTED, Preempted


def _is_ours(record: python_logging.LogRecord) -> bool:
    """Keeps out what Orbax logs, through absl too, of every save that goes well."""
    return "orbax" not in record.pathname or record.levelno >= python_logging.ERROR


def main(train: Callable) -> None:
    """Runs `train(config, workdir)` on what the command line says.

    Bad input ends in one line on standard error and exit code 1; preemption in
    EXIT_PREEMPTED.
    """
    config = config_flags.DEFINE_config_file(
        "config", help_string="experiment, a file in configs/", lock_config=True
    )
    workdir = flags.DEFINE_string("workdir", None, "folder of the run")
    flags.mark_flags_as_required(["config", "workdir"])

    def run(arguments: list[str]) -> None:
        if len(arguments) > 1:
            sys.exit(f"unexpected arguments {arguments[1:]}; options begin with --")
        logging.set_verbosity(logging.INFO)
        logging.get_absl_handler().addFilter(_is_ours)
        try:
            train(config.value, workdir.value)
        except Preempted as preempted:
            logging.warning("preempted: %s", preempted)
            sys.exit(EXIT_PREEMPTED)
        except (ValueError, OSError) as error:
            logging.debug("the traceback:", exc_info=True)  # shown by --verbosity=1
            sys.exit(f"error: {error}")

    app.run(run)
