"""Runs the tasks of a preparation: in this process, on N of them, or by Apache Beam.

A task is a string, done by a function that does nothing where the work was done before;
so tasks may run in any order, anywhere, and twice.
"""

import concurrent.futures
import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool

import tqdm


def run_local(
    function: Callable[[str], None],
    tasks: Mapping[str, int],
    *,
    workers: int,
    description: str,
) -> None:
    """Runs every task on `workers` processes, with a progress bar.

    Args:
      tasks: {task: clips it holds}.

    Raises:
      OSError: if a process was killed; and whatever `function` raises.
    """
    bar = tqdm.tqdm(total=sum(tasks.values()), unit="clip", desc=description)
    with bar:
        if workers == 1:
            for task, clips in tasks.items():
                function(task)
                bar.update(clips)
        else:
            _run_pool(function, tasks, workers, bar)


def _run_pool(function, tasks: Mapping[str, int], workers: int, bar: tqdm.tqdm) -> None:
    with concurrent.futures.ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
    ) as pool:
        futures = {pool.submit(function, task): task for task in tasks}
        try:
            for done in concurrent.futures.as_completed(futures):
                done.result()
                bar.update(tasks[futures[done]])
        except BrokenProcessPool as error:
            raise OSError(
                "a worker was killed, most likely for want of memory; run the same "
                "command again with fewer --workers: finished shards are kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)  # else a full disk fails every shard


def _end_with_parent() -> None:
    """A worker of a killed parent would wait for ever, and disturb the next run."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def run_beam(
    function: Callable[[str], None], tasks: Mapping[str, int], *, flags: Sequence[str]
) -> None:
    """Runs every task as an element of a Beam pipeline.

    Args:
      flags: Beam's own, such as ["--runner=SparkRunner", ...].

    Raises:
      OSError: if the pipeline failed; finished tasks stay done.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ValueError(
            f"--runner needs Apache Beam ({error}); `pip install 'aemjax[beam]'`"
        ) from error
    pipeline = beam.Pipeline(options=PipelineOptions(list(flags)))
    try:
        with pipeline:
            _ = (
                pipeline
                | beam.Create(list(tasks))
                | beam.Reshuffle()  # else a runner may fuse all tasks into one
                | beam.Map(function)
            )
    except Exception as error:  # what a task raised, wrapped: each runner has its own
        raise OSError(
            f"the Beam pipeline failed: {error}; run the same command again: finished "
            "shards are kept"
        ) from error
