"""The front end's picture: valid frames alone, channels from low to high."""

import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.audio.read import standardize
from aemjax.models.aemnet import parts
from aemjax.serve.page.features import FrontEnd
from tests.aemjax.audio.files import RATE, noise, tone
from tests.aemjax.serve.page.networks import tiny_classifier


def own_frames(classifier, clip):
    """ "f c" of the clip unpadded, channels in their own order."""
    frontend, _, _ = parts(classifier.model)
    weights = {k: x.get("frontend", {}) for k, x in classifier.variables.items()}
    audio = jnp.asarray(standardize(clip))[None]
    frames, _ = frontend.apply(weights, audio, train=False)
    return np.asarray(frames)[0]


def test_padding_does_not_show():
    classifier = tiny_classifier()
    front_end = FrontEnd(classifier)
    for n_samples in (160, 7_777):
        clip = noise(n_samples, level=0.3)
        picture = front_end(clip)
        assert picture.shape == (128, n_samples // 160)
        expected = own_frames(classifier, clip).T
        order = np.lexsort(expected.T), np.lexsort(picture.T)
        np.testing.assert_allclose(picture[order[1]], expected[order[0]], atol=1e-4)


def test_channels_are_in_the_order_of_their_tones():
    classifier = tiny_classifier()
    # Of the filter bank, a fourth is for each of these; the rest is mixed at random.
    hz = np.repeat([6_000, 500, 3_000, 1_500], 16)
    t = np.arange(-16, 17) / RATE
    bank = np.cos(2 * np.pi * hz * t[:, None]) * np.hanning(33)[:, None]
    frontend = classifier.variables["params"]["frontend"]
    frontend["conv1"]["kernel"] = bank[:, None].astype(np.float32)
    front_end = FrontEnd(classifier)
    tones = front_end.tones_hz
    assert tones.shape == (128,) and (np.diff(tones) >= 0).all()
    assert tones[0] < 1_000 and tones[-1] > 4_500
    for channel in (0, 40, 80, 127):
        hz = (tones[channel], 100, 1_000, 4_000, 7_500)
        answers = [front_end(tone(f, seconds=0.2))[channel].mean() for f in hz]
        assert max(answers) == answers[0] > 0


@pytest.mark.parametrize("frontend", ["log_mel", "mfcc"])
def test_others_keep_their_own_order(frontend):
    classifier = tiny_classifier(frontend=frontend)
    front_end = FrontEnd(classifier)
    assert front_end.tones_hz is None
    clip = noise(RATE, level=0.3)
    np.testing.assert_allclose(
        front_end(clip), own_frames(classifier, clip).T, atol=1e-3
    )
