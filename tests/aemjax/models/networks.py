"""Networks with random weights, and what tests ask of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from aemjax.models import create

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


def outputs_of(model, n_samples=480):
    audio = jax.ShapeDtypeStruct((2, n_samples), jnp.float32)
    init = functools.partial(model.init_with_output, jax.random.key(0))
    return jax.eval_shape(init, audio)
