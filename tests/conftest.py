"""Eight simulated CPU devices, strict rank promotion, one compilation cache.

XLA optimises less: most of a test's time would go into that.
"""

import os
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)
# What one test, worker or subprocess compiled, the next one loads.
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers inherit what follows
    _cache = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402

from aemjax.data.prepare import prepare  # noqa: E402
from aemjax.data.synthetic import synthesize  # noqa: E402
from aemjax.export import release  # noqa: E402
from pretrain.train import train as pretrain  # noqa: E402
from tests.jobs import tiny_pretrain  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
flags.FLAGS.mark_as_parsed()  # grain reads them


@pytest.fixture(scope="session")
def audioset(tmp_path_factory):
    """A prepared AudioSet twin: 120 clips of half a second, 12 classes."""
    folder = tmp_path_factory.mktemp("audioset")
    synthesize("audioset", folder / "twin", clips=120, classes=12, seconds=0.5)
    prepare("audioset", folder / "twin", folder / "set", clips_per_shard=40)
    return folder / "set"


@pytest.fixture(scope="session")
def esc50(tmp_path_factory):
    """A prepared ESC-50 twin: 100 clips of half a second, 10 classes, 5 folds."""
    folder = tmp_path_factory.mktemp("esc50")
    synthesize("esc50", folder / "twin", clips=100, classes=10, seconds=0.5)
    prepare("esc50", folder / "twin", folder / "set", clips_per_shard=40)
    return folder / "set"


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory, audioset):
    """A finished tiny pretraining run, made on eight devices."""
    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    pretrain(tiny_pretrain(audioset), folder)
    return folder


@pytest.fixture(scope="session")
def released(tmp_path_factory, pretrained):
    """The best step of that run, as a release."""
    folder = tmp_path_factory.mktemp("released") / "tiny"
    release.write(str(pretrained), folder)
    return folder
