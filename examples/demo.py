"""The main job end to end, on audio made here; minutes on two CPU cores.

Synthesise, prepare, pretrain, fine-tune from the checkpoint and from scratch on the
same budget, compare. Fails unless pretraining pays.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from aemjax.report.table import side_by_side
from aemjax.train.workdir import read_results

ROOT = Path(__file__).parents[1]
DEFAULT_OUT = ROOT / "build/demo"
MIN_GAIN = 0.05  # of accuracy on the clips held out, last epoch

COMMANDS = """
aemjax synthesize audioset --out {out}/audioset_twin --clips 1500 --classes 20 --seconds 2 --workers 2
aemjax synthesize esc50 --out {out}/esc50_twin --clips 500 --classes 10 --seconds 1.5 --workers 2
aemjax prepare audioset --source {out}/audioset_twin --out {out}/audioset
aemjax prepare esc50 --source {out}/esc50_twin --out {out}/esc50
python -m pretrain --config configs/pretrain/demo.py --config.data.path={out}/audioset --workdir {out}/pretrained
python -m finetune --config configs/finetune/demo.py:pretrained --config.data.path={out}/esc50 --config.init_from={out}/pretrained --workdir {out}/finetuned
python -m finetune --config configs/finetune/demo.py:scratch --config.data.path={out}/esc50 --workdir {out}/scratch
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    out = parser.parse_args().out.absolute()  # the commands stand in the repository
    if out == DEFAULT_OUT:
        shutil.rmtree(out, ignore_errors=True)
    if out.exists():
        sys.exit(f"{out} exists; remove it, or choose another --out")
    out.mkdir(parents=True)
    start = time.monotonic()
    for line in COMMANDS.format(out=shlex.quote(str(out))).strip().splitlines():
        print(f"\n$ {line}", flush=True)
        run(shlex.split(line), compiled=out / "compiled")
    runs = [out / "finetuned", out / "scratch"]
    print(f"\n{side_by_side(runs)}\n")
    finetuned, scratch = (
        read_results(run)["summary"]["last"]["accuracy"]["mean"] for run in runs
    )
    gain = finetuned - scratch
    print(f"pretraining gains {100 * gain:.1f} points", end=", ")
    print(f"in {time.monotonic() - start:.0f} s altogether")
    if gain < MIN_GAIN:
        sys.exit(f"expected at least {100 * MIN_GAIN:.0f} points")


def run(command: list[str], *, compiled: Path) -> None:
    """Runs one command in the repository's root with this interpreter's programs.

    Args:
      compiled: folder through which the jobs share what they compile.
    """
    bin_folder = Path(sys.executable).parent
    command[0] = str(bin_folder / command[0])
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
    }
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    main()
