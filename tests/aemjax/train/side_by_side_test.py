import dataclasses

import jax
import numpy as np
import optax
import pytest

from aemjax.audio.augment import Augment
from aemjax.data.pipeline import CropBatches
from aemjax.data.prepared import PreparedSet
from aemjax.train import all_runs, losses, sharding, side_by_side
from aemjax.train.card import Card
from aemjax.train.checkpoint import Checkpoints
from aemjax.train.state import jit_initial_state
from aemjax.train.step import jit_train_step
from tests.aemjax.train import steps

SEEDS = (3, 0, 7)
CARD = Card({}, 16_000, [], True, "mAP", "unknown", {})


def test_values_of_each_run_are_named_and_found_again():
    each = [{"loss": 1, "lr/run1/x": 2}, {"loss": 3, "mAP": 4}]
    values = {"clips_per_s": 5, "loss": 2} | side_by_side.named(each)
    assert set(values) == {
        *("clips_per_s", "loss", "run0/loss", "run0/lr/run1/x"),
        *("run1/loss", "run1/mAP"),
    }
    assert side_by_side.own(values, 0) == each[0] | {"clips_per_s": 5}
    assert side_by_side.own(values, 1) == each[1] | {"clips_per_s": 5}
    written = {f"train/{key}": value for key, value in values.items()}
    assert side_by_side.own(written, 1) == {
        f"train/{key}": value for key, value in (each[1] | {"clips_per_s": 5}).items()
    }


def make_step(mesh, tx, **options):
    # The front end thaws at the second update: the phase is one for all runs.
    phases = [(0, steps.tiny().clone(frozen=("frontend",))), (1, steps.tiny())]
    return jit_train_step(
        mesh,
        phases=phases,
        tx=tx,
        augment=Augment(mixup_start_step=1),
        loss_fn=losses.binary_cross_entropy,
        ema_decay=0.5,
        **options,
    )


@pytest.fixture(scope="module")
def trained():
    """(losses, states) of runs one by one, and of the same side by side."""
    mesh = sharding.data_mesh(jax.devices()[:2])
    _, split = sharding.shardings(mesh)
    tx = optax.sgd(0.05, momentum=0.9)
    start = jit_initial_state(mesh, model=steps.tiny(), tx=tx, ema=True)
    parts = [[steps.a_batch(seed=10 * s + n) for s in SEEDS] for n in range(3)]

    def train(step, state, batches):
        found = []
        for batch in batches:
            state, scalars = step(state, sharding.global_batch(batch, split))
            found.append(jax.device_get(scalars))
        return found, jax.device_get(state)

    step = make_step(mesh, tx, seed=0)
    alone = [
        train(
            dataclasses.replace(step, seed=np.asarray(seed, np.uint32)),
            start(seed),
            [part[run] for part in parts],
        )
        for run, seed in enumerate(SEEDS)
    ]
    together = train(
        dataclasses.replace(step, seed=np.asarray(SEEDS, np.uint32)),
        side_by_side.stack([start(seed) for seed in SEEDS]),
        [
            {key: np.stack([batch[key] for batch in part], 1) for key in part[0]}
            for part in parts
        ],
    )
    return alone, together


def test_runs_side_by_side_are_what_each_is_alone(trained):
    alone, (scalars, state) = trained
    assert int(state.step) == 3
    for run, (own, last) in enumerate(alone):
        for name in ("loss", "grad_norm"):
            found = [step[f"run{run}/{name}"] for step in scalars]
            expected = [step[name] for step in own]
            np.testing.assert_allclose(found, expected, rtol=1e-4)
        picked = side_by_side.pick(state, run)
        steps.assert_close(picked.params, last.params, rtol=1e-3, atol=1e-5)
        steps.assert_close(picked.ema, last.ema, rtol=1e-3, atol=1e-5)
        steps.assert_close(picked.batch_stats, last.batch_stats, rtol=1e-3, atol=1e-5)
    means = [step["loss"] for step in scalars]
    own = [[step[f"run{run}/loss"] for run in range(3)] for step in scalars]
    np.testing.assert_allclose(means, np.mean(own, axis=1), rtol=1e-6)


def test_each_run_has_its_own_seed_and_data(trained):
    (scalars, _) = trained[1]
    assert len({float(scalars[0][f"run{run}/loss"]) for run in range(3)}) == 3


def test_batches_are_those_of_each(audioset):
    data = PreparedSet(audioset)
    each = [CropBatches(data, np.arange(20) + n, 4, 800, n) for n in range(2)]
    batch = all_runs.Batches(each).read(5)
    for run, own in enumerate(each):
        for key, value in own.read(5).items():
            np.testing.assert_array_equal(batch[key][:, run], value)
    each[1].damaged.add(3)
    assert all_runs.Batches(each).scalars() == {
        "run0/damaged_records": 0,
        "run1/damaged_records": 1,
    }


def test_what_only_some_runs_have_saved_is_dropped(tmp_path):
    """A kill between the saves of two runs."""
    state = side_by_side.stack([steps.start(seed=seed) for seed in (0, 1)])

    def open_each():
        return [
            Checkpoints(tmp_path / name, metric="mAP", keep_latest=2) for name in "ab"
        ]

    def at(step, scale):
        state_then = jax.tree.map(lambda x: x * scale, state)
        return state_then.replace(step=np.int32(step))

    each = open_each()
    both = all_runs.AllCheckpoints(each)
    assert both.latest_step is None
    both.save(at(0, 1), CARD)
    scores = side_by_side.named([{"mAP": 0.2}, {"mAP": 0.7}])
    both.save(at(4, 2), CARD, scores | {"epoch": 1})
    each[0].save(side_by_side.pick(at(8, 3), 0), CARD, {"mAP": 0.9})
    both.wait()
    for one in each:
        one.close()
    each = open_each()
    both = all_runs.AllCheckpoints(each)
    assert both.latest_step == 4
    assert [one.steps for one in each] == [[0, 4], [0, 4]]
    assert [one.metrics(4)["mAP"] for one in each] == [0.2, 0.7]
    replicated, _ = sharding.shardings(sharding.data_mesh(jax.devices()[:1]))
    restored = both.restore(at(0, 1), step=4, sharding=replicated)
    assert int(restored.step) == 4
    steps.assert_close(restored.params, at(4, 2).params, rtol=0, atol=0)
    both.save(at(8, 3), CARD, scores)
    both.wait()
    assert each[0].metrics(8)["mAP"] == 0.2
    for one in each:
        one.close()


def test_a_run_whose_checkpoints_are_gone_does_not_take_the_others_along(tmp_path):
    state = steps.start()
    each = [Checkpoints(tmp_path / name, keep_latest=2) for name in "ab"]
    for step in (0, 4, 8):
        each[0].save(state.replace(step=np.int32(step)), CARD)
    each[0].wait()
    with pytest.raises(ValueError, match=r"a/checkpoints': \[0, 4, 8\].*bring back"):
        all_runs.AllCheckpoints(each)
    assert each[0].steps == [0, 4, 8]
    for one in each:
        one.close()


def test_runs_without_a_common_step_begin_anew(tmp_path):
    state = side_by_side.stack([steps.start(seed=seed) for seed in (0, 1)])
    each = [Checkpoints(tmp_path / name, keep_latest=2) for name in "ab"]
    each[0].save(side_by_side.pick(state, 0), CARD)
    each[0].wait()
    both = all_runs.AllCheckpoints(each)
    assert both.latest_step is None and each[0].steps == []
    both.save(state, CARD)
    both.wait()
    assert [one.steps for one in each] == [[0], [0]]
    for one in each:
        one.close()
