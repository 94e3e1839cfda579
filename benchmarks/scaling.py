"""What splitting a step over devices costs, and what follows for a cluster.

    python -m benchmarks scaling --write

Measured: small networks, as many clips on each simulated device of a CPU however many
there are. The devices share the cores, so that more of them make nothing quicker; what is
compared is the time of a clip with that on one device and the same clips in all, in turn:
what the split and its smaller batches cost or spare. One device in another process says
how far to trust it. Counted: what the networks in full send each other, in steps compiled
for eight devices. Expected, from these bytes and from the rate of one H200: larger
systems, on the assumptions of `SYSTEMS` (docs/scaling.md argues for them).
"""

import contextlib
import dataclasses
import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax

from aemjax.train import chips, compiled, sharding
from benchmarks import collectives, training

SMALL = tuple({"name": name, "width": 0.125} for name in collectives.MODELS)
KEYS = ("devices", "seconds", "clips", "turn_s")  # clips are of each device
SIZES = dict(zip(KEYS, ((1, 2, 4, 8), 1.0, 4, 1.0), strict=True))
SMOKE = dict(zip(KEYS, ((1, 2), 0.2, 2, 0.0), strict=True))

MEASURED = Path(__file__).parent / "results/training_gpu_forms.json"
AUDIOSET = 2_041_789  # clips of the unbalanced set, where none is lost
CLIP_BYTES = 2 * 10 * 16_000  # int16
REDUCE_S = 50e-6  # that an all-reduce takes which has nothing to send
CLIPS_A_CHIP = 64  # as measured
PUBLISHED_BATCH = 512  # of `configs/pretrain/aemresnet_audioset.py`


@dataclasses.dataclass(frozen=True)
class System:
    """Chips that train together.

    Attributes:
      chips: all of them.
      chips_per_host: that one host feeds.
      bytes_per_s: that a chip sends one way, over one link.
      speed: of a chip, least and most, where that of an H200 is 1.
    """

    chips: int
    chips_per_host: int
    bytes_per_s: float
    speed: tuple[float, float]


# By the ratio of memory bandwidths, 819 GB/s to 4.8 TB/s, and by that of peak rates.
V5E_SPEED = (
    819 / 4800,
    chips.PEAK_FLOPS["TPU v5e"] / chips.PEAK_FLOPS["NVIDIA H200"],
)
SYSTEMS = {
    "64 x H200": System(64, 8, 50e9, (1.0, 1.0)),
    "TPU v5e-256": System(256, 8, 50e9, V5E_SPEED),
}


def run(*, repeats: int, smoke: bool = False) -> list[dict]:
    """Prints and returns rows: of "split", of "sent" and of "expected"."""
    sizes = SMOKE if smoke else SIZES
    rows = []
    for row in split(sizes, repeats):
        rows.append({"what": "split"} | row)
        print(describe(row), flush=True)
    for row in sent(SMALL if smoke else training.MODELS, max(sizes["devices"])):
        rows.append({"what": "sent"} | row)
        print(
            f"{row['network']:<20} sends {row['bytes']:,} bytes, expected "
            f"{row['expected_bytes']:,}, in {row['collectives']}",
            flush=True,
        )
    rows += forecast(rows, measured_rates())
    print(table(rows))
    return rows


class SimulatedSide(training.JaxSide):
    """`pretrain`'s step on simulated devices of a CPU."""

    def simulate(self, devices: int) -> None:
        """So many of them; to be asked first."""
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", devices)

    def sent(self) -> int:
        """Bytes that a device puts into the collectives of the prepared step."""
        found = compiled.cost(self._step.compiled).collectives
        return sum(size for _, size in found.values())

    def count(self, case: Mapping) -> dict:
        """The row of `benchmarks.collectives` of a case."""
        return collectives.measure(training.case_config(case), sharding.data_mesh())


@contextlib.contextmanager
def simulated(devices: int) -> Iterator[training.Side]:
    """A process with so many devices."""
    with training.Side(SimulatedSide) as side:
        side.ask("simulate", devices=devices)
        yield side


def make_case(model: Mapping, seconds: float, batch: int) -> dict:
    """Of `benchmarks.training`."""
    values = (model, seconds, batch, "float32", True)
    return dict(zip(training.KEYS, values, strict=True))


def title(model: Mapping) -> str:
    """As `training_gpu_forms.json` names it."""
    return f"{model['name']} {model['width']}, {model.get('frontend', 'llf1')}"


def split(sizes: Mapping, repeats: int) -> Iterator[dict]:
    """A row for each small network and number of devices."""
    with simulated(1) as one:
        for devices in sizes["devices"]:
            with simulated(devices) as many:
                for model in SMALL:
                    batch = devices * sizes["clips"]
                    case = make_case(model, sizes["seconds"], batch)
                    one.ask("prepare", case=case)
                    many.ask("prepare", case=case)
                    steps = max(1, round(sizes["turn_s"] / one.ask("time", steps=1)))
                    pairs = []
                    for _ in range(repeats):
                        apart = many.ask("time", steps=steps)
                        pairs.append((apart, one.ask("time", steps=steps)))
                    about = {"network": title(model), "devices": devices}
                    about |= {"batch": batch, "bytes": many.ask("sent")}
                    yield about | compare(pairs)


def compare(pairs: list[tuple[float, float]]) -> dict:
    """Steps and their ratio: medians over measurements in turn.

    Args:
      pairs: seconds of a step on the devices, and on one.
    """
    each = [apart / whole for apart, whole in pairs]
    return {
        "steps/s": round(1 / statistics.median(apart for apart, _ in pairs), 3),
        "time of a clip / on one device": round(statistics.median(each), 3),
        "ratios": [round(ratio, 3) for ratio in each],
    }


def describe(row: Mapping) -> str:
    """A row of `split` as a line."""
    return (
        f"{row['network']:<20} {row['devices']} devices, {row['batch']:>2} clips: "
        f"{row['steps/s']:8.3f} steps/s, {row['bytes']:>9,} bytes a device and step, "
        f"time of a clip / on one device "
        f"{row['time of a clip / on one device']:.2f}"
    )


def sent(models: tuple[Mapping, ...], devices: int) -> Iterator[dict]:
    """A row for each network: what a device sends, whatever the clips' length."""
    with simulated(devices) as side:
        for model in models:
            case = make_case(model, 0.2, 2 * devices)
            yield {"network": title(model)} | side.ask("count", case=case)


def measured_rates() -> dict[str, float]:
    """{network: clips/s of one H200}, the quickest of ours."""
    rates = {}
    for row in json.loads(MEASURED.read_text())["rows"]:
        rates[row["model"]] = max(row["clips/s"], rates.get(row["model"], 0))
    return rates


def forecast(rows: list[dict], rates: Mapping[str, float]) -> list[dict]:
    """A row of "expected" for each network, system and batch.

    Args:
      rows: those of "sent" are used.
      rates: of `measured_rates`; networks without one are left out.
    """
    found = []
    counted = {row["network"]: row for row in rows if row["what"] == "sent"}
    for network, row in counted.items():
        if network not in rates:
            continue
        for name, system in SYSTEMS.items():
            batches = [CLIPS_A_CHIP * system.chips]
            if network == title(training.AEMRESNET):
                batches.append(PUBLISHED_BATCH)
            for batch in batches:
                about = {"what": "expected", "network": network, "system": name}
                found.append(about | expected(rates[network], row, system, batch))
    return found


def expected(rate: float, sent: Mapping, system: System, batch: int) -> dict:
    """What a system makes of a network, from the worst case to the best.

    At worst a chip has the least speed and waits for every all-reduce; at best it has
    the most, and sends while it computes.

    Args:
      rate: clips/s of one H200.
      sent: a row of `sent`.
      batch: clips of a step, over all chips.
    """
    n = system.chips
    ring_bytes = 2 * (n - 1) / n * sent["bytes"]
    sending_s = ring_bytes / system.bytes_per_s
    waiting_s = sum(sent["collectives"].values()) * REDUCE_S
    slow_s, quick_s = (batch / n / (rate * speed) for speed in system.speed)
    step_s = (slow_s + sending_s + waiting_s, max(quick_s, sending_s))
    clips_per_s = [batch / seconds for seconds in step_s]
    return {
        "batch": batch,
        "clips/s": clips_per_s,
        "share of linear": [slow_s / step_s[0], quick_s / step_s[1]],
        "steps an epoch": AUDIOSET // batch,
        "seconds an epoch": [AUDIOSET / x for x in clips_per_s],
        "bytes/s to a host": [
            x * CLIP_BYTES * system.chips_per_host / n for x in clips_per_s
        ],
    }


def table(rows: list[dict]) -> str:
    """The rows of "expected" in Markdown."""
    lines = [
        "| network | system | batch | clips/s | of linear | steps an epoch "
        "| s an epoch | GB/s to a host |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["what"] != "expected":
            continue
        cells = [
            row["network"],
            row["system"],
            f"{row['batch']:,}",
            _range(row["clips/s"]),
            _range([100 * x for x in row["share of linear"]]) + " %",
            f"{row['steps an epoch']:,}",
            _range(row["seconds an epoch"]),
            _range([x / 1e9 for x in row["bytes/s to a host"]]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _range(values: list[float]) -> str:
    """The lesser first, of two significant digits; once where they are the same."""
    texts = [_round(value) for value in sorted(values)]
    return " to ".join(dict.fromkeys(texts))


def _round(value: float) -> str:
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"
