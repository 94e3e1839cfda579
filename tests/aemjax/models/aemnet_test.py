import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.models import (
    BLOCKS,
    EMBEDDING_DIM,
    backbones,
    create,
    frontends,
    heads,
)
from tests.aemjax.models import reference

NETWORKS = ("aemnet", "aemnet_dw", "aemresnet")
BACKBONES = {"aemnet": "vgg", "aemnet_dw": "vgg_dw", "aemresnet": "resnet18"}
LLFS = {"llf1": (16, 2, 5), "llf2": (4, 4, 10), "llf-fast": (16, 2, 5)}
NUM_CLASSES = 7
OWN = "tests.aemjax.models.own_blocks"

# On inputs this small, LLVM's optimisations take longer than they save.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def shapes_of(model, n_samples=160):
    audio = jax.ShapeDtypeStruct((1, n_samples), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), audio)


def random_variables(shapes, *, gain=1.4, seed=0):
    """Weights that keep activations, and so logits, of the order of 1."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            fan_in = np.prod(leaf.shape[:-1])
            values = rng.normal(0, gain / np.sqrt(fan_in), leaf.shape)
        elif name in ("scale", "var"):
            values = rng.uniform(0.6, 1.4, leaf.shape)
        else:
            values = rng.normal(0, 0.2, leaf.shape)
        return values.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


class Network:
    """A small model, random weights for it, and its compiled evaluation."""

    def __init__(self, name, **kwargs):
        kwargs = dict(width=0.25, num_classes=NUM_CLASSES) | kwargs
        self.model = create(name, **kwargs)
        # Shortcuts add up: the residual network needs less gain.
        gain = 1.0 if name == "aemresnet" else 1.4
        self.variables = random_variables(shapes_of(self.model), gain=gain)
        self.apply = quick_jit(functools.partial(self.model.apply, self.variables))


network = functools.cache(Network)


def clips(n_samples, *, rows=2, seed=0):
    rng = np.random.default_rng((seed, n_samples))
    return jnp.asarray(rng.normal(size=(rows, n_samples)), jnp.float32)


def paths(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): x for p, x in leaves}


def front_end_variables(module, audio):
    init = functools.partial(module.init, train=False)
    return random_variables(jax.eval_shape(init, jax.random.key(0), audio))


def with_statistics(variables):
    params, stats = variables["params"], variables["batch_stats"]
    return {name: leaves | stats.get(name, {}) for name, leaves in params.items()}


def assert_outputs_close(got, expected, *, atol):
    logits, aux = got
    assert set(aux) == {"embedding", "pooled"}
    for name, value in {"logits": logits, **aux}.items():
        np.testing.assert_allclose(
            value, expected[name], rtol=atol, atol=atol, err_msg=name
        )


# The forward pass.


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("frontend", "n_samples"),
    [("llf1", 800), ("llf1", 4_800), ("llf2", 16_000), ("llf1", 59_200)],
)
def test_forward_equals_the_numpy_reference(name, frontend, n_samples):
    net = network(name, frontend=frontend)
    audio = clips(n_samples)
    logits, aux = net.apply(audio)
    assert logits.shape == (2, NUM_CLASSES) and aux["embedding"].shape == (2, 512)
    assert 0.1 < np.abs(logits).max() < 20  # else 1e-4 would say little
    expected = reference.forward(
        net.variables, audio, backbone=BACKBONES[name], llf=LLFS[frontend]
    )
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=1e-4)
    assert_outputs_close((logits, aux), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("frontend", "kernels", "llf"),
    [
        ("llf1", ((33, 1, 64), (5, 64, 128)), (16, 2, 5)),
        ("llf2", ((9, 1, 64), (5, 64, 128)), (4, 4, 10)),
        ("llf-fast", ((33, 1, 64), (10, 64, 128)), (16, 2, 5)),
        ("8,10,3,4", ((8, 1, 64), (3, 64, 128)), (10, 4, 4)),
        ("1,160,1,1", ((1, 1, 64), (1, 64, 128)), (160, 1, 1)),
    ],
)
def test_front_end_equals_the_numpy_reference(frontend, kernels, llf):
    module = frontends.LLF(**frontends.llf_sizes(frontend))
    audio = clips(2_077)  # no whole number of frames
    variables = front_end_variables(module, audio)
    params = variables["params"]
    assert tuple(params[c]["kernel"].shape for c in ("conv1", "conv2")) == kernels
    apply = quick_jit(functools.partial(module.apply, train=False))
    got, valid = apply(variables, audio)
    assert valid is None
    expected = reference.low_level_features(with_statistics(variables), audio, llf)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_kernel_shapes(name):
    got = {k: x.shape for k, x in paths(network(name).variables["params"]).items()}
    expected = {
        "aemnet": {
            "backbone/conv3/kernel": (3, 3, 1, 8),
            "backbone/conv4/kernel": (3, 3, 8, 16),
            "backbone/conv10/kernel": (3, 3, 64, 128),
            "backbone/conv11/kernel": (3, 3, 128, 512),
            "head/dense/kernel": (512, NUM_CLASSES),
        },
        "aemnet_dw": {
            "backbone/conv3/depthwise/kernel": (3, 3, 1, 1),
            "backbone/conv3/pointwise/kernel": (1, 1, 1, 8),
            "backbone/conv11/depthwise/kernel": (3, 3, 1, 128),
            "backbone/conv11/pointwise/kernel": (1, 1, 128, 128),
            "embedding/kernel": (128, 512),
            "head/dense/kernel": (512, NUM_CLASSES),
        },
        "aemresnet": {
            "backbone/conv3/kernel": (3, 3, 1, 16),
            "backbone/block1/conv1/kernel": (3, 3, 16, 16),
            "backbone/block7/conv1/kernel": (3, 3, 64, 128),
            "backbone/block7/projection/kernel": (1, 1, 64, 128),
            "backbone/block8/conv2/kernel": (3, 3, 128, 128),
            "embedding/kernel": (128, 512),
            "head/dense/kernel": (512, NUM_CLASSES),
        },
    }[name]
    assert {k: got[k] for k in expected} == expected


# Padding.


@pytest.mark.parametrize("name", NETWORKS)
def test_padded_clips_score_as_alone(name):
    net = network(name, frontend="llf1")
    lengths = np.array([800, 800, 4_800, 4_800])
    batch = 100 * np.array(clips(8_000, rows=4))  # garbage
    alone = []
    for rows, n_samples in ((slice(0, 2), 800), (slice(2, 4), 4_800)):
        audio = clips(n_samples)
        batch[rows, :n_samples] = audio
        logits, aux = net.apply(audio)
        alone.append({"logits": logits, **aux})
    expected = {k: np.concatenate([one[k] for one in alone]) for k in alone[0]}
    assert_outputs_close(
        net.apply(jnp.asarray(batch), jnp.asarray(lengths)), expected, atol=1e-5
    )


@pytest.mark.parametrize("frontend", ["llf1", "llf2"])
def test_padded_front_end_at_any_length(frontend):
    module = frontends.LLF(**frontends.llf_sizes(frontend))
    lengths = [160, 161, 319, 320, 1_000, 1_599, 1_600]
    batch = np.array(clips(1_600, rows=len(lengths), seed=1))
    for row, n_samples in zip(batch, lengths, strict=True):
        row[n_samples:] *= 100
    variables = front_end_variables(module, jnp.asarray(batch))
    apply = quick_jit(functools.partial(module.apply, train=False))
    features, valid = apply(variables, jnp.asarray(batch), jnp.asarray(lengths))
    tree = with_statistics(variables)
    for i, n_samples in enumerate(lengths):
        alone = batch[i : i + 1, :n_samples]
        expected = reference.low_level_features(tree, alone, LLFS[frontend])[0]
        assert valid[i] == len(expected)
        np.testing.assert_allclose(
            features[i, : valid[i]], expected, rtol=1e-5, atol=1e-5
        )
        assert not features[i, valid[i] :].any()


# Names.

GOLDEN = {
    "aemnet": """
        frontend/bn1 frontend/bn2 frontend/conv1 frontend/conv2
        backbone/bn3 backbone/bn4 backbone/bn5 backbone/bn6 backbone/bn7 backbone/bn8
        backbone/bn9 backbone/bn10 backbone/bn11
        backbone/conv3 backbone/conv4 backbone/conv5 backbone/conv6 backbone/conv7
        backbone/conv8 backbone/conv9 backbone/conv10 backbone/conv11
        head/dense
    """,
    "aemnet_dw": """
        frontend/bn1 frontend/bn2 frontend/conv1 frontend/conv2
        backbone/conv3 backbone/conv4 backbone/conv5 backbone/conv6 backbone/conv7
        backbone/conv8 backbone/conv9 backbone/conv10 backbone/conv11
        embedding/bias embedding/kernel
        head/dense
    """,
    "aemresnet": """
        frontend/bn1 frontend/bn2 frontend/conv1 frontend/conv2
        backbone/bn3 backbone/conv3
        backbone/block1 backbone/block2 backbone/block3 backbone/block4
        backbone/block5 backbone/block6 backbone/block7 backbone/block8
        embedding/bias embedding/kernel
        head/dense
    """,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_paths(name):
    leaves = paths(network(name).variables["params"])
    assert {"/".join(p.split("/")[:2]) for p in leaves} == set(GOLDEN[name].split())


def test_parameter_paths_inside_the_blocks():
    resnet = paths(network("aemresnet").variables["params"]["backbone"])
    norms = {f"{bn}/{p}" for bn in ("bn1", "bn2") for p in ("bias", "scale")}
    plain = norms | {"conv1/kernel", "conv2/kernel"}
    extra = {"projection/kernel", "projection_bn/bias", "projection_bn/scale"}
    for i in range(1, 9):
        prefix = f"block{i}/"
        inside = {p.removeprefix(prefix) for p in resnet if p.startswith(prefix)}
        assert inside == (plain | extra if i in (3, 5, 7) else plain)
    separable = paths(network("aemnet_dw").variables["params"]["backbone"]["conv3"])
    assert set(separable) == {
        f"{kind}{leaf}"
        for kind in ("depthwise", "pointwise")
        for leaf in ("/kernel", "_bn/bias", "_bn/scale")
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_stats_have_the_paths_of_the_batch_norms(name):
    variables = network(name).variables
    norms = {p[: -len("/scale")] for p in paths(variables["params"]) if "scale" in p}
    stats = {f"{bn}/{leaf}" for bn in norms for leaf in ("mean", "var")}
    assert set(paths(variables["batch_stats"])) == stats


# Combinations.


def outputs_of(model, n_samples=480):
    audio = jax.ShapeDtypeStruct((2, n_samples), jnp.float32)
    init = functools.partial(model.init_with_output, jax.random.key(0))
    return jax.eval_shape(init, audio)


@pytest.mark.parametrize("head", ["acnet", "aclnetx"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("frontend", LLFS)
def test_every_combination_builds(frontend, name, head):
    model = create(name, num_classes=5, frontend=frontend, head=head, width=0.5)
    (logits, aux), variables = outputs_of(model)
    assert logits.shape == (2, 5)
    assert aux["embedding"].shape == (2, EMBEDDING_DIM) == (2, 512)
    assert set(variables["params"]) <= set(BLOCKS)
    assert ("embedding" in variables["params"]) == (name != "aemnet")


@pytest.mark.parametrize(
    "own", [("frontend",), ("name",), ("head",), ("frontend", "name", "head")], ids=str
)
def test_own_blocks_by_import_path(own):
    parts = {"frontend": "llf1", "name": "aemnet_dw", "head": None}
    classes = {"frontend": "FrontEnd", "name": "Backbone", "head": "Head"}
    parts |= {part: f"{OWN}:{classes[part]}" for part in own}
    model = create(parts.pop("name"), num_classes=3, width=0.125, **parts)
    variables = random_variables(shapes_of(model))
    params = paths(variables["params"])
    assert ("frontend/levels/kernel" in params) == ("frontend" in own)
    assert ("backbone/mix/kernel" in params) == ("name" in own)
    assert ("head/scores/kernel" in params) == ("head" in own)
    assert params["embedding/bias"].shape == (512,)
    if "name" in own:  # `width` reaches it
        assert params["embedding/kernel"].shape == (4, 512)
    if len(own) < 3:
        logits, aux = outputs_of(model)[0]
        assert logits.shape == (2, 3) and aux["embedding"].shape == (2, 512)
        return
    logits, aux = model.apply(variables, clips(480))
    assert np.isfinite(logits).all() and aux["embedding"].shape == (2, 512)
    padded = jnp.concatenate([clips(480), 100 * clips(320)], axis=1)
    got = model.apply(variables, padded, jnp.array([480, 480]))
    assert_outputs_close(got, {"logits": logits, **aux}, atol=1e-5)


# Errors.


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            dict(name="vgg19"),
            r"unknown model 'vgg19'; known: \['aemnet', 'aemnet_dw', 'aemresnet'\]",
        ),
        (
            dict(frontend="llf3"),
            r"unknown front end 'llf3'; known: \['llf-fast', 'llf1', 'llf2'\], four",
        ),
        (dict(frontend="33,16,5"), "unknown front end '33,16,5'; .*'K1,S1,K2,S2'"),
        (dict(frontend="33,16,5,0"), "unknown front end '33,16,5,0'"),
        (dict(head="mlp"), r"unknown head 'mlp'; known: \['aclnetx', 'acnet'\]"),
        (
            dict(dtype="float16"),
            r"unknown dtype 'float16'; known: \['bfloat16', 'float32', 'float64'\]",
        ),
        (dict(num_classes=0), "num_classes is 0, a head needs at least 1"),
        (dict(dropout=1.0), "dropout is 1.0, expected 0 <= dropout < 1"),
        (dict(dropout=-0.1), "dropout is -0.1, expected 0 <= dropout < 1"),
        (dict(dropout=float("nan")), "dropout is nan, expected 0 <= dropout < 1"),
        (dict(name=f"{OWN}:function"), r"own_blocks:function.*flax\.linen\.Module cla"),
        (dict(head=f"{OWN}:NOT_A_MODULE"), r"NOT_A_MODULE' is 3, expected a flax\.lin"),
        (dict(frontend="pathlib:Path"), r"Path.*expected a flax\.linen\.Module class"),
        (
            dict(frontend=f"{OWN}:Missing"),
            "cannot import .*own_blocks:Missing.*no attr",
        ),
        (dict(head="no_such_package:Head"), "cannot import 'no_such_package:Head': No"),
        (dict(head=".relative:Head"), r"cannot import '\.relative:Head'"),
        (dict(head=":Head"), "cannot import ':Head'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_bad_arguments_raise(kwargs, message):
    with pytest.raises(ValueError, match=message):
        create(**dict(name="aemnet", num_classes=4) | kwargs)


@pytest.mark.parametrize(
    ("name", "width"),
    [("aemnet", 0.3), ("aemnet_dw", 0.01), ("aemresnet", 0.0), ("aemnet", -1.0)],
)
def test_bad_width_raises(name, width):
    model = create(name, num_classes=4, width=width)
    message = rf"width {width} makes \d+ channels .*choose a multiple of 1/32"
    with pytest.raises(ValueError, match=message):
        shapes_of(model)


@pytest.mark.parametrize("frontend", ["33,16,5,3", "33,16,5,20", "33,7,5,1"])
def test_strides_that_do_not_divide_a_frame_raise(frontend):
    model = create("aemnet", num_classes=4, frontend=frontend, width=0.25)
    with pytest.raises(ValueError, match="does not divide the 160 samples of a 10 ms"):
        shapes_of(model)


@pytest.mark.parametrize("frontend", LLFS)
def test_audio_shorter_than_a_frame_raises(frontend):
    model = create("aemresnet", num_classes=4, frontend=frontend, width=0.25)
    with pytest.raises(ValueError, match="audio has 159 samples, a frame needs 160"):
        shapes_of(model, 159)
    assert outputs_of(model, 160)[0][0].shape == (2, 4)


# Compute type.


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_float32_whatever_the_compute_type(name):
    model = create(name, num_classes=NUM_CLASSES, width=0.25, dtype="bfloat16")
    (logits, aux), variables = outputs_of(model)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
        jnp.shape, network(name).variables
    )
    leaves = (logits, *aux.values(), *jax.tree.leaves(variables))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", ["aemnet", "aemresnet"])
def test_bfloat16_stays_near_float32(name):
    net = network(name, frontend="llf1")
    narrow = create(name, num_classes=NUM_CLASSES, width=0.25, dtype="bfloat16")
    audio = clips(800)
    logits, aux = quick_jit(narrow.apply)(net.variables, audio)
    assert {x.dtype for x in (logits, *aux.values())} == {jnp.dtype("float32")}
    expected = net.apply(audio)[0]
    error = np.abs(logits - expected).max()
    assert 0 < error < 0.03 * np.abs(expected).max()  # 8 bits of mantissa, not 24


# Training.


def train_apply(model):
    """(variables, audio, lengths) -> (logits, new batch_stats), compiled."""

    def apply(variables, audio, lengths=None):
        rngs = {"dropout": jax.random.key(3)}
        (logits, _), new = model.apply(
            variables, audio, lengths, train=True, rngs=rngs, mutable=["batch_stats"]
        )
        return logits, new["batch_stats"]

    return quick_jit(apply)


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_blocks_keep_their_statistics(name):
    net = network(name, frontend="llf1")
    model = create(name, num_classes=NUM_CLASSES, width=0.25, dropout=0.0)
    model = model.clone(frozen=("frontend", "backbone"))
    audio = clips(800)
    logits, stats = train_apply(model)(net.variables, audio)
    jax.tree.map(np.testing.assert_array_equal, stats, net.variables["batch_stats"])
    # No statistics of the batch in the result either: dropout is 0.
    np.testing.assert_allclose(logits, net.apply(audio)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("frozen", ["frontend", "backbone"])
def test_only_what_is_frozen_keeps_its_statistics(frozen):
    own = dict(name=f"{OWN}:Backbone", num_classes=3, width=0.25)
    model = create(**own).clone(frozen=(frozen,))
    variables = random_variables(shapes_of(model))
    stats = paths(train_apply(model)(variables, clips(800))[1])
    assert {path.split("/")[0] for path in stats} == {"frontend"}
    for path, before in paths(variables["batch_stats"]).items():
        assert np.array_equal(stats[path], before) == (frozen == "frontend"), path


@pytest.mark.parametrize(
    "module",
    [backbones.BasicBlock(6, 2), backbones.BasicBlock(4), backbones.SeparableConv(6)],
    ids=["strided", "plain", "separable"],
)
def test_padding_does_not_enter_the_statistics(module):
    frames = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 6, 4)), "float32")
    padded = jnp.pad(frames, ((0, 0), (0, 4), (0, 0), (0, 0)))
    init = functools.partial(module.init, valid=None, train=False)
    variables = random_variables(jax.eval_shape(init, jax.random.key(0), frames))
    apply = functools.partial(module.apply, train=True, mutable=["batch_stats"])
    apply = quick_jit(apply)
    (expected, _), expected_stats = apply(variables, frames, None)
    (got, valid), stats = apply(variables, padded, jnp.array([5, 5]))
    assert (valid == expected.shape[1]).all()
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    close(got[:, : valid[0]], expected)
    assert not got[:, valid[0] :].any()
    jax.tree.map(close, stats, expected_stats)


def test_batch_stats_equal_the_numpy_reference():
    module = frontends.LLF()
    lengths = np.array([800, 1_600])
    audio = clips(1_600).at[0, 800:].multiply(100)
    variables = front_end_variables(module, audio)
    apply = functools.partial(module.apply, train=True, mutable=["batch_stats"])
    _, new = quick_jit(apply)(variables, audio, jnp.asarray(lengths))
    kernel = np.float64(variables["params"]["conv1"]["kernel"])
    filtered = np.concatenate(
        [
            reference.conv(np.float64(row[None, :n, None]), kernel, stride=16)[0]
            for row, n in zip(audio, lengths, strict=True)
        ]
    )
    before, after = variables["batch_stats"]["bn1"], new["batch_stats"]["bn1"]
    for name, value in (("mean", filtered.mean(0)), ("var", filtered.var(0))):
        expected = 0.9 * before[name] + 0.1 * value
        np.testing.assert_allclose(after[name], expected, rtol=1e-5, atol=1e-6)


def test_dropout_draws_by_key_and_not_in_a_frozen_head():
    own = dict(name=f"{OWN}:Backbone", frontend=f"{OWN}:FrontEnd", num_classes=3)
    audio = clips(480)

    def scores(seed, frozen=()):
        model = create(**own, dropout=0.5).clone(frozen=frozen)
        variables = random_variables(shapes_of(model))
        if seed is None:
            return np.asarray(model.apply(variables, audio)[0])
        rngs = {"dropout": jax.random.key(seed)}
        return np.asarray(model.apply(variables, audio, train=True, rngs=rngs)[0])

    first, evaluated = scores(0), scores(None)
    np.testing.assert_array_equal(scores(0), first)
    assert np.abs(scores(1) - first).max() > 1e-3
    assert np.abs(evaluated - first).max() > 1e-3
    np.testing.assert_array_equal(scores(0, frozen=("head",)), evaluated)


# Heads.


@pytest.mark.parametrize("lengths", [None, (2, 5)], ids=["whole", "padded"])
def test_acnet_is_dropout_then_convolution_then_average(lengths):
    rng = np.random.default_rng(0)
    frames = jnp.asarray(rng.normal(size=(2, 5, 4, 64)), jnp.float32)
    head = heads.AclNetHead(num_classes=3, dropout=0.25)
    kernel = rng.normal(size=(64, 3)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    variables = {"params": {"dense": {"kernel": kernel, "bias": bias}}}
    valid = None if lengths is None else jnp.array(lengths)

    def literal(frames):
        scores = np.einsum("bfwd,dk->bfwk", np.float64(frames), kernel) + bias
        counts = lengths or (5, 5)
        return [row[:n].mean((0, 1)) for row, n in zip(scores, counts, strict=True)]

    logits = head.apply(variables, frames, valid, train=False)
    np.testing.assert_allclose(logits, literal(frames), rtol=1e-5, atol=1e-5)

    logits, state = head.apply(
        variables,
        frames,
        valid,
        train=True,
        rngs={"dropout": jax.random.key(0)},
        mutable=["intermediates"],
        capture_intermediates=lambda module, _: isinstance(module, nn.Dropout),
    )
    ((dropped,),) = jax.tree.leaves(
        state["intermediates"], is_leaf=lambda x: isinstance(x, tuple)
    )
    kept = np.asarray(dropped) != 0
    assert 0.7 < kept.mean() < 0.8
    # Every position draws its own.
    assert all((kept[0, 0, 0] != kept[0, i, j]).any() for i, j in ((0, 1), (1, 0)))
    np.testing.assert_allclose(dropped, np.where(kept, frames / 0.75, 0), rtol=1e-6)
    np.testing.assert_allclose(logits, literal(dropped), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lengths", [None, (480, 960)], ids=["whole", "padded"])
def test_acnet_reads_the_embedding_of_every_position(lengths):
    blocks = dict(frontend=f"{OWN}:FrontEnd", head="acnet", width=0.25)
    model = create(f"{OWN}:Backbone", num_classes=3, **blocks)
    variables = random_variables(shapes_of(model))
    lengths = None if lengths is None else jnp.array(lengths)
    logits, aux = model.apply(variables, clips(960), lengths)
    # Average and dense layers commute where nothing bends in between.
    p = jax.tree.map(np.float64, variables["params"])
    embedding = reference.dense(np.float64(aux["pooled"]), p["embedding"])
    np.testing.assert_allclose(aux["embedding"], embedding, rtol=1e-5, atol=1e-5)
    expected = reference.dense(embedding, p["head"]["dense"])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_aclnetx_is_relu_dropout_dense():
    rng = np.random.default_rng(0)
    embedding = jnp.asarray(rng.normal(size=(4, 512)), jnp.float32)
    head = heads.AclNetXHead(num_classes=3, dropout=0.0)
    kernel = rng.normal(size=(512, 3)).astype(np.float32)
    variables = {"params": {"dense": {"kernel": kernel, "bias": np.float32([1, 2, 3])}}}
    expected = np.maximum(np.float64(embedding), 0) @ kernel + [[1, 2, 3]]
    got = head.apply(variables, embedding, train=False)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)
