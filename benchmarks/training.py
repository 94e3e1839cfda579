"""The training step beside PyTorch's of the same network, batch by batch.

    python -m benchmarks training --write

Both sides do the same work: `pytorch_training` has the same augmentation, loss and
optimiser, and tests/benchmarks/training_test.py holds their losses against each other on
equal weights. Each lives in a process of its own that stays, on the same device, and they
are timed in turn, so that a drifting machine cancels out; the first step of a turn is not
counted, which a process that was idle takes longer for. On a GPU the share of the matrix
rate is of that measured in the same run. `--smoke` tries it all out, tiny.
"""

import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from aemjax.train import compiled, sharding
from benchmarks.accelerator import noise
from configs.pretrain import aemresnet_audioset
from pretrain.compile_only import step_recipe

AEMRESNET = {"name": "aemresnet", "width": 1.0}
AEMNET = {"name": "aemnet", "width": 2.0}
AEMNET_DW = {"name": "aemnet_dw", "width": 2.0}
SMALL_DW = {"name": "aemnet_dw", "width": 0.5, "frontend": "llf2"}
MODELS = (AEMRESNET, AEMNET, AEMNET_DW, SMALL_DW)

# (model, seconds, batch, dtype, augmented)
ON_A_GPU = [
    *((AEMRESNET, 10.0, batch, "bfloat16", True) for batch in (32, 64, 128)),
    *((model, 10.0, 64, "bfloat16", True) for model in MODELS[1:]),
    *((model, 1.0, 512, "bfloat16", True) for model in MODELS),
    (AEMRESNET, 5.0, 128, "bfloat16", True),
    (AEMRESNET, 10.0, 64, "float32", True),
    (AEMRESNET, 10.0, 64, "bfloat16", False),
]
ON_A_CPU = [
    *((model, 1.0, 16, "float32", True) for model in MODELS),
    *((model, 10.0, 4, "float32", True) for model in MODELS),
    *((model, 5.0, 4, "float32", True) for model in (AEMRESNET, SMALL_DW)),
    *((model, 1.0, 64, "float32", True) for model in (AEMRESNET, SMALL_DW)),
    *((model, 1.0, 16, "float32", False) for model in (AEMRESNET, SMALL_DW)),
    (SMALL_DW, 1.0, 16, "bfloat16", True),
]
SMOKE = [
    ({"name": "aemnet_dw", "width": 0.125}, 0.2, 4, "float32", True),
    ({"name": "aemresnet", "width": 0.125}, 0.2, 4, "float32", False),
]
KEYS = ("model", "seconds", "batch", "dtype", "augmented")
SECONDS_TIMED = 2.0  # about so long is one turn
MATRIX = {"gpu": 8192, "cpu": 1024}


def run(*, repeats: int, smoke: bool = False) -> list[dict]:
    """Prints and returns a row for each case, the matrix rates first."""
    with contextlib.ExitStack() as stack:
        ours, theirs = (
            stack.enter_context(Side(start)) for start in (JaxSide, PyTorchSide)
        )
        on_gpu = ours.ask("platform") == "gpu"
        rates = {"bfloat16": None, "float32": None}
        if not smoke:
            for dtype in rates if on_gpu else ("float32",):
                rates[dtype] = ours.ask("matrix_rate", dtype=dtype)
        rows = [{"matrix products, TFLOP/s": rates}]
        for case in SMOKE if smoke else ON_A_GPU if on_gpu else ON_A_CPU:
            case = dict(zip(KEYS, case, strict=True))
            row = compare(ours, theirs, case, repeats=repeats)
            if rates[case["dtype"]]:
                row["share of the matrix rate"] = (
                    row["clips/s"] * row["flop per clip"] / rates[case["dtype"]] / 1e12
                )
            rows.append(row)
            print(describe(row), flush=True)
    return rows


def compare(ours: "Side", theirs: "Side", case: dict, *, repeats: int) -> dict:
    """One case: both sides compile it and are timed in turn."""
    about, peers = ours.ask("prepare", case=case), {}
    steps = max(1, round(SECONDS_TIMED / ours.ask("time", steps=1)))
    for how in ("eager", "compiled"):
        found = theirs.ask("prepare", case=case, compiled=how == "compiled")
        pairs = []
        for _ in range(repeats):
            pairs.append(
                (ours.ask("time", steps=steps), theirs.ask("time", steps=steps))
            )
        peers[how] = found | {
            "clips/s": case["batch"] / statistics.median(pair[1] for pair in pairs),
            "ours / theirs": statistics.median(b / a for a, b in pairs),
        }
        rate = case["batch"] / statistics.median(pair[0] for pair in pairs)
    return case | about | {"clips/s": rate, "pytorch": peers}


def describe(row: Mapping) -> str:
    """A row as a line."""
    model = f"{row['model']['name']} {row['model']['width']}"
    line = f"{model:<14} {row['seconds']:>4} s x {row['batch']:<4} {row['dtype']:<8}"
    line += "" if row["augmented"] else " plain"
    line += f" {row['clips/s']:9.1f} clips/s"
    for how, peer in row["pytorch"].items():
        line += f", / PyTorch {how} {peer['ours / theirs']:.2f}"
    if "share of the matrix rate" in row:
        line += f", {row['share of the matrix rate']:.1%} of the matrix rate"
    return line


class Side:
    """A process that compiles steps and times them when asked."""

    def __init__(self, start: type):
        context = multiprocessing.get_context("spawn")
        self._name, self._case = start.__name__, None
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(start, other), daemon=True)

    def __enter__(self) -> "Side":
        self._process.start()
        return self

    def __exit__(self, *_) -> None:
        self._process.terminate()
        self._process.join()

    def ask(self, method: str, **arguments) -> Any:
        """What that method of the side returns.

        Raises:
          RuntimeError: what went wrong there, or that its process ended.
        """
        self._case = arguments.get("case", self._case)
        try:
            self._pipe.send((method, arguments))
            ok, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise RuntimeError(
                f"{self._name} ended in {method} of {self._case}, exit code "
                f"{self._process.exitcode}; if memory was short, try a smaller batch"
            ) from error
        if not ok:
            raise RuntimeError(answer)
        return answer


def _serve(start: type, pipe) -> None:
    side = None
    while True:
        method, arguments = pipe.recv()
        try:
            side = side or start()
            pipe.send((True, getattr(side, method)(**arguments)))
        except Exception as error:
            pipe.send((False, f"{start.__name__}.{method}({arguments}): {error}"))


def case_config(case: Mapping) -> ConfigDict:
    """Checkpoint #1's recipe on the case's model and clips."""
    config = aemresnet_audioset.get_config()
    config.model.update(case["model"] | {"dtype": case["dtype"]})
    config.data.crop_s = case["seconds"]
    config.train.batch_size = case["batch"]
    if not case["augmented"]:
        config.augment.update(gain_db=0.0, noise_probability=0.0, mixup_alpha=0.0)
    return config


class JaxSide:
    """`pretrain`'s step on a batch that lies on the device."""

    def __init__(self):
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

    def platform(self) -> str:
        """Such as "gpu"."""
        return jax.default_backend()

    def matrix_rate(self, dtype: str) -> float:
        """TFLOP/s of a square matrix product, of random numbers."""
        size = MATRIX[self.platform()]
        x, y = jax.random.normal(jax.random.key(0), (2, size, size), dtype)
        multiply = jax.jit(lambda x, y: x @ y)
        jax.block_until_ready(multiply(x, y))
        seconds = []
        for _ in range(20):
            start = time.perf_counter()
            jax.block_until_ready([multiply(x, y) for _ in range(5)])
            seconds.append((time.perf_counter() - start) / 5)
        return 2 * size**3 / statistics.median(seconds) / 1e12

    def prepare(self, case: Mapping) -> dict:
        """Compiles the step; says what it costs."""
        self._state = None  # memory of the case before
        config = case_config(case)
        mesh = sharding.data_mesh()
        plan = step_recipe(config, mesh)
        self._batch = sharding.global_batch(noise(config), sharding.shardings(mesh)[1])
        self._state = plan.create_state()
        start = time.perf_counter()
        self._step = plan.train_step.compile(self._state, self._batch)
        seconds = time.perf_counter() - start
        cost = compiled.cost(self._step.compiled)
        self._run(2)
        return {
            "compile_s": seconds,
            "memory_gib": (cost.arguments_bytes + cost.temporaries_bytes) / 2**30,
            "flop per clip": plan.flops_per_clip,
        }

    def time(self, steps: int) -> float:
        """Seconds a step, after one that is not counted."""
        self._run(1)
        start = time.perf_counter()
        self._run(steps)
        return (time.perf_counter() - start) / steps

    def _run(self, steps: int) -> None:
        for _ in range(steps):
            self._state, _ = self._step(self._state, self._batch)
        jax.block_until_ready(self._state)


class PyTorchSide:
    """`pytorch_training.Step` on the same batch."""

    def __init__(self):
        import torch  # not in the parent, nor beside JAX

        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = True  # as JAX does

    def prepare(self, case: Mapping, *, compiled: bool) -> dict:
        """Builds the step and runs it until it is compiled."""
        from benchmarks import pytorch_aemnet, pytorch_training

        torch = self._torch
        self._step = None
        if self._device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        torch.compiler.reset()
        config = case_config(case)
        network = pytorch_aemnet.create(**case["model"], num_classes=527)
        self._step = pytorch_training.Step(
            network,
            device=self._device,
            dtype=getattr(torch, case["dtype"]),
            compiled=compiled,
            augmented=case["augmented"],
        )
        self._batch = {
            key: torch.tensor(x).to(self._device) for key, x in noise(config).items()
        }
        start = time.perf_counter()
        self._run(1)
        seconds = time.perf_counter() - start
        self._run(2)
        found = {"first_step_s": seconds}
        if self._device == "cuda":
            found["memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        return found

    def time(self, steps: int) -> float:
        """Seconds a step, after one that is not counted."""
        self._run(1)
        start = time.perf_counter()
        self._run(steps)
        return (time.perf_counter() - start) / steps

    def _run(self, steps: int) -> None:
        for _ in range(steps):
            self._step(self._batch)
        if self._device == "cuda":
            self._torch.cuda.synchronize()
