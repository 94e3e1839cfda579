"""Five folds by one command, against five commands of a fold each.

One command imports, reads and compiles once; with `train.runs_at_once` it also trains
the folds side by side, which pays where the devices are not busy with one.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aemjax.data.prepare import prepare
from aemjax.data.synthetic import synthesize

FOLDS = 5
EPOCHS = 2.0
CONFIG = "configs/finetune/small.py:esc10"
ROOT = Path(__file__).parents[1]


def run(*, repeats: int) -> list[dict]:
    """Prints and returns ratios of wall time: five commands over one, and at once."""
    ratios = {"one after the other": [], "side by side": []}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        synthesize("esc50", folder / "raw", clips=100, classes=10, seconds=1.0)
        prepare("esc50", folder / "raw", folder / "set")
        for repeat in range(repeats):
            work = folder / f"run{repeat}"
            single = sum(
                _seconds(folder / "set", work / f"fold{fold}", fold=fold)
                for fold in range(1, FOLDS + 1)
            )
            for name, at_once in (("one after the other", 1), ("side by side", FOLDS)):
                seconds = _seconds(folder / "set", work / name, at_once=at_once)
                ratios[name].append(single / seconds)
    rows = []
    apart, together = map(statistics.median, ratios.values())
    print(f"one command, one after the other / side by side {together / apart:.2f}")
    for name, values in ratios.items():
        ratio = statistics.median(values)
        print(f"five commands / one, {name:<20} {ratio:.2f}")
        rows.append(
            {
                "folds": name,
                "time of five commands / of one": ratio,
                "each": values,
                "epochs": EPOCHS,
            }
        )
    return rows


def _seconds(data: Path, workdir: Path, *, fold: int = 0, at_once: int = 1) -> float:
    command = [
        *(sys.executable, "-m", "finetune", "--config", CONFIG),
        *("--workdir", str(workdir), f"--config.data.path={data}"),
        *(f"--config.data.fold={fold}", f"--config.train.runs_at_once={at_once}"),
        *(f"--config.train.epochs={EPOCHS}", "--config.eval.resamples=0"),
    ]
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start
