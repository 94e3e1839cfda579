"""Every shipped experiment: traced at full size, and run for steps on a tiny model."""

import functools
import importlib
import inspect
import json
import operator
import re

import jax
import jax.numpy as jnp
import pytest

import finetune.train
import pretrain.train
from aemjax import models
from aemjax.data.prepare import prepare
from aemjax.data.synthetic import synthesize
from aemjax.train import param_groups, recipe, sharding
from finetune.train import GROUP_OPTIONS
from tests.jobs import ROOT


def _variants(job, name):
    module = importlib.import_module(f"configs.{job}.{name}")
    return getattr(module, "VARIANTS", (None,))


EXPERIMENTS = [
    (path.parent.name, path.stem, variant)
    for path in sorted((ROOT / "configs").glob("*/*.py"))
    for variant in _variants(path.parent.name, path.stem)
]


def get_config(job, name, variant):
    module = importlib.import_module(f"configs.{job}.{name}")
    assert f"configs/{job}/{name}.py" in inspect.getdoc(module)  # its command
    config = module.get_config(variant) if variant else module.get_config()
    json.dumps(config.to_dict())
    return config.lock()


def different(*ignored):
    """The experiments whose configs differ in more than what is ignored."""
    found = {}
    for experiment in EXPERIMENTS:
        config = get_config(*experiment).to_dict()
        for key in ignored:
            section, _, name = key.partition(".")
            if name:
                config[section].pop(name, None)
            else:
                config.pop(section, None)
        # Which data set it is for is in the number of classes.
        key = json.dumps([experiment[0], config], sort_keys=True)
        found.setdefault(key, experiment)
    return list(found.values())


def slow_but_the_first_of_each_file(
    experiments, *, jobs=("pretrain", "finetune"), names=None
):
    """Marks the others; `names` are the files of which the first is not marked."""
    seen = set()
    for job, name, variant in experiments:
        later = (job, name) in seen or (names is not None and name not in names)
        marks = [pytest.mark.slow] if job in jobs and later else []
        seen.add((job, name))
        yield pytest.param(job, name, variant, marks=marks)


# Small twins, by the dataset that an experiment is for.
TWINS = {
    "dcase2013": {"clips": 100, "seconds": 0.5},
    "icbhi2017": {"clips": 100, "seconds": 0.6},
    "tau2020": {"clips": 80, "seconds": 0.5},
    "urbansound8k": {"clips": 100, "seconds": 0.5},
    "covid19sounds": {"clips": 120, "seconds": 0.5},
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, esc50):
    """(name of a finetuning config, variant) -> the prepared set it is for."""
    folder = tmp_path_factory.mktemp("sets")

    @functools.cache
    def of_dataset(name):
        if name.startswith("esc50"):
            return esc50
        twin = name.partition("_")[0]
        if not (folder / twin).exists():
            synthesize(twin, folder / twin, **TWINS[twin])
        prepare(name, folder / twin, folder / f"{name}.set")
        return folder / f"{name}.set"

    def of_config(name, variant):
        datasets = {
            "covid19": f"covid19sounds_{variant}",
            "dcase2021_1a": "tau2020",
            "icbhi": "icbhi2017",
            "urbansound8k": "urbansound8k",
            # by variant:
            "dcase2013": "dcase2013",
            "icbhi_official": "icbhi2017",
            "icbhi_custom": "icbhi2017",
        }
        by_variant = datasets.get(variant) or datasets.get(variant.partition("-")[0])
        return of_dataset(datasets.get(name) or by_variant or "esc50")

    return of_config


# An init_from and its rates change nothing that is traced.
@pytest.mark.parametrize(
    ("job", "name", "variant"),
    list(
        slow_but_the_first_of_each_file(
            different("data.protocol", "data.grouped", "optimizer"), jobs=("finetune",)
        )
    ),
)
def test_traces_at_full_size(job, name, variant):
    config = get_config(job, name, variant)
    if not config.model.num_classes:
        config.model.num_classes = 7
    loss = config.loss.to_dict()
    if loss.get("alpha") == ():
        loss["alpha"] = (0.5,) * config.model.num_classes
    model = models.create(**config.model)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 1600))))
    options = config.optimizer.to_dict()
    own = {key: options.pop(key) for key in GROUP_OPTIONS if key in options}
    params = shapes["params"]
    groups = param_groups.of_fine_tuning(model, params, total_steps=100, **own)
    plan = recipe.create(
        model,
        sharding.data_mesh(),
        seed=config.seed,
        total_steps=100,
        num_classes=config.model.num_classes,
        multi_label=False,
        crop_samples=round(config.data.crop_s * 16_000),
        optimizer_options=options,
        schedule_options=config.schedule.to_dict(),
        augment_options=config.augment.to_dict(),
        loss_options=loss,
        groups=groups,
        microbatches=config.train.microbatches,
        remat=config.train.remat,
        ema_decay=config.train.ema_decay,
    )
    rows, samples = config.train.batch_size, round(config.data.crop_s * 16_000)

    array = jax.ShapeDtypeStruct
    batch = {
        "audio": array((rows, samples), jnp.int16),
        "mean": array((rows,), jnp.float32),
        "std": array((rows,), jnp.float32),
        "labels": array((rows, config.model.num_classes), jnp.float32),
    }
    step = plan.train_step
    state, scalars = step.compiled.eval_shape(
        plan.state_shapes, batch, step.seed, step.teacher
    )
    assert plan.flops_per_clip > 1e7
    assert jax.tree.map(jnp.shape, state.params) == jax.tree.map(
        jnp.shape, shapes["params"]
    )
    assert scalars["loss"].shape == ()


# The tiny model takes the place of whatever model it is.
@pytest.mark.parametrize(
    ("job", "name", "variant"),
    list(
        slow_but_the_first_of_each_file(
            different("model.name", "model.frontend", "model.width", "model.dropout"),
            # One of each kind: from scratch, distilled; transferred, with focal loss.
            names=("aemresnet_audioset", "distilled_audioset", "esc50", "icbhi"),
        )
    ),
)
def test_runs_on_a_tiny_model(
    job, name, variant, tmp_path, audioset, esc50, prepared, pretrained
):
    config = get_config(job, name, variant)
    with config.unlocked():
        config.model.update(name="tests.tiny:Backbone", frontend="llf1", width=1.0)
        config.data.update(crop_s=0.25, threads=1)
        config.train.update(batch_size=16, epochs=0.4)
        config.eval.update(batch_size=16)
        if job == "finetune":
            config.model.num_classes = 0
            config.data.update(path=str(prepared(name, variant)), fold=1)
            config.eval.resamples = 40
            if config.optimizer.lr_fraction < 1:
                config.init_from = str(pretrained)
        elif config.loss.name == "bce":
            config.model.num_classes = 12
            config.data.path = str(audioset)
            if config.distill.teacher_weight:
                config.distill.teacher = str(pretrained)
        else:
            config.model.num_classes = 10
            config.data.update(path=str(esc50), train="full:1,2", eval="full:3")
    train = {"pretrain": pretrain.train.train, "finetune": finetune.train.train}[job]
    results = train(config, tmp_path / "run")
    if job == "finetune":
        (run,) = results["runs"]
        last = run["last"]["metrics"]
        if interval := run["last"]["intervals"]["accuracy"]:  # of several groups
            assert 0 <= interval[0] <= last["accuracy"] <= interval[1] <= 1
    else:
        last = results["last"]
    assert 0 <= last[config.checkpoint.metric] <= 1


@pytest.mark.parametrize(
    "name", ["esc50", "llf_study", "transfer_study", "icbhi", "covid19"]
)
def test_an_unknown_variant_lists_the_known_ones(name):
    module = importlib.import_module(f"configs.finetune.{name}")
    known = re.escape(", ".join(module.VARIANTS))
    with pytest.raises(ValueError, match=f"unknown variant 'frozen'; known: {known}"):
        module.get_config("frozen")


JOBS = {name: job for job, name, _ in EXPERIMENTS}

# (config, variant) -> published values, as Galindo-Meza 2021 prints them.
PUBLISHED = {
    ("icbhi", "official"): {
        "optimizer.learning_rate": 1e-3,
        "optimizer.weight_decay": 2e-4,
        "optimizer.lr_fraction": 0.6,
        "train.batch_size": 64,
        "train.epochs": 350,
        "augment.mixup_start_fraction": 0.1,
        "loss.gamma": 0.5,
        "loss.alpha": (0.4272, 0.7636, 0.8609, 0.9483),
    },
    ("icbhi", "custom"): {"optimizer.lr_fraction": 0.1, "data.protocol": "draws"},
    ("covid19", "task1"): {
        "optimizer.learning_rate": 1e-3,
        "optimizer.weight_decay": 1e-8,
        "optimizer.lr_fraction": 0.8,
        "model.dropout": 0.2,
        "train.batch_size": 32,
        "train.epochs": 400,
        "augment.mixup_start_fraction": 0.05,
        "loss.alpha": (0.68, 0.32),
    },
    ("covid19", "task2"): {
        "optimizer.learning_rate": 1e-3,
        "optimizer.lr_fraction": 0.6,
        "model.dropout": 0.2,
        "loss.alpha": (0.37, 0.63),
    },
    ("covid19", "task3"): {
        "optimizer.learning_rate": 1e-6,
        "optimizer.lr_fraction": 0.9,
        "model.dropout": 0.9,
        "loss.alpha": (0.27, 0.73),
    },
    ("llf_study", "dcase2013-aemnet-llf2"): {
        "optimizer.learning_rate": 1e-3,
        "optimizer.weight_decay": 2e-4,
        "train.batch_size": 128,
        "train.epochs": 600,
        "model.width": 1.0,
        "model.frontend": "llf2",
        "augment.mixup_alpha": 0.1,
        "augment.mixup_start_fraction": 0.05,
    },
    ("transfer_study", "esc50-aemnet_dw-pretrained"): {
        "model.width": 2.0,
        "model.frontend": "llf1",
        "data.folds": 5,
    },
    ("aemresnet_audioset", "llf1"): {
        "optimizer.name": "adam",
        "optimizer.learning_rate": 5e-4,
        "optimizer.weight_decay": 1e-8,
        "optimizer.clip_norm": 0,
        "schedule.name": "cosine",
        "schedule.warmup_fraction": 0,
        "train.batch_size": 512,
        "train.epochs": 80,
        "data.crop_s": 10,
        "augment.gain_db": 6,
        "augment.noise_probability": 0.5,
        "augment.mixup_alpha": 0.1,
        "augment.mixup_start_fraction": 0.05,
        "augment.time_masks": 0,
        "distill.teacher_weight": 0,
    },
    ("distilled_audioset", "aemnet_dw"): {
        "optimizer.name": "adam",
        "optimizer.learning_rate": 5e-4,
        "optimizer.weight_decay": 1e-11,
        "train.batch_size": 256,
        "train.epochs": 60,
        "distill.label_weight": 0.1,
        "distill.teacher_weight": 0.9,
        "distill.temperature": 1,
    },
}


@pytest.mark.parametrize(("experiment", "values"), PUBLISHED.items())
def test_the_published_values(experiment, values):
    config = get_config(JOBS[experiment[0]], *experiment)
    found = {key: operator.attrgetter(key)(config) for key in values}
    for key, value in values.items():
        assert found[key] == (value if isinstance(value, str) else pytest.approx(value))


# (config, variant) -> trainable parameters.
COUNTS = {
    ("dcase2021_1a", "pretrained"): 319_093,
    ("icbhi", "official"): 11_475_844,
    ("covid19", "task1"): 11_473_282,
    ("transfer_study", "esc50-aemresnet-pretrained"): 11_499_442,
    ("transfer_study", "esc50-aemnet-pretrained"): 14_158_514,
    ("transfer_study", "esc50-aemnet_dw-pretrained"): 2_722_429,
    ("aemresnet_audioset", "llf1"): 11_744_143,
    ("distilled_audioset", "aemnet_dw"): 2_967_130,
    ("distilled_audioset", "aemnet"): 14_403_215,
    ("aemnet_dw_audioset", None): 584_314,
}


@pytest.mark.parametrize(("experiment", "count"), COUNTS.items())
def test_the_published_parameter_counts(experiment, count):
    model = models.create(**get_config(JOBS[experiment[0]], *experiment).model)
    assert models.summarize(model, n_samples=16_000).total_parameters == count
