"""A stream in chunks of any size is the whole clip."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemjax.audio.read import standardize, statistics, to_int16
from aemjax.serve.classifier import Classifier
from aemjax.serve.streaming import FeatureStream, ScoreStream
from aemjax.train.card import Card
from tests.aemjax.audio.files import noise
from tests.aemjax.models.networks import network, quick_jit
from tests.aemjax.serve.streams import quick_streams
from tests.jobs import ROOT

# Of no multiple of anything: from one frame on, up to blocks that do not see the start.
CHUNKS = {
    160: (1, 160),
    479: (1,),
    5_119: (7, 5_119),
    16_161: (160, 16_001),
    55_003: (1_000, 16_001, 55_003),
}
LENGTHS = tuple(CHUNKS)
WIDTH = 1 / 32
BLOCKS, KINDS = ("frontend", "backbone"), ("llf", "hlf")
CASES = [
    ("aemnet", "llf1"),
    ("aemnet_dw", "llf2"),
    ("aemresnet", "llf1"),
    pytest.param("aemnet", "llf2", marks=pytest.mark.slow),
    pytest.param("aemnet_dw", "llf1", marks=pytest.mark.slow),
    pytest.param("aemresnet", "llf2", marks=pytest.mark.slow),
    pytest.param("aemresnet", "8,5,3,8", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", autouse=True)
def quick():
    with quick_streams():
        yield


@functools.cache
def small(name, frontend):
    about = {"name": name, "frontend": frontend, "width": WIDTH, "num_classes": 7}
    variables = network(name, frontend=frontend, width=WIDTH).variables
    card = Card(about, 16_000, list("abcdefg"), False, "accuracy", "-", {})
    return Classifier(card, variables)


@functools.cache
def clip(n_samples):
    return noise(n_samples, level=0.3, seed=n_samples) + np.float32(0.1)


@functools.cache
def whole(name, frontend):
    """By length: front end's and backbone's output, embedding and scores of the clip."""
    classifier = small(name, frontend)

    @quick_jit
    def apply(variables, audio, lengths):
        (logits, aux), seen = classifier.model.apply(
            variables,
            audio,
            lengths,
            capture_intermediates=lambda module, _: module.name in BLOCKS,
            mutable=["intermediates"],
        )
        blocks = [seen["intermediates"][block]["__call__"][0] for block in BLOCKS]
        return blocks, aux["embedding"], jax.nn.softmax(logits)

    # Each is what it is alone, as tests of models show, so that one shape is compiled.
    batch = np.zeros((len(LENGTHS), max(LENGTHS)), np.float32)
    for row, n_samples in zip(batch, LENGTHS, strict=True):
        row[:n_samples] = standardize(clip(n_samples))
    blocks, *others = apply(classifier.variables, batch, np.array(LENGTHS))
    return {
        n: [*(np.asarray(x)[i, : valid[i]] for x, valid in blocks)]
        + [np.asarray(x)[i] for x in others]
        for i, n in enumerate(LENGTHS)
    }


def streamed(stream, audio, chunk):
    """Features of a stream in chunks, joined."""
    parts = [stream.push(audio[i : i + chunk]) for i in range(0, len(audio), chunk)]
    parts.append(stream.close())
    return [np.concatenate([getattr(x, kind) for x in parts]) for kind in KINDS]


def own_statistics(audio):
    mean, std = statistics(audio)
    return {"mean": mean, "std": std}


def assert_close(found, expected):
    # Of values of the order of 1, or their own.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "frontend"), CASES)
def test_features_are_those_of_the_whole_clip(name, frontend):
    classifier, expected = small(name, frontend), whole(name, frontend)
    for n_samples in LENGTHS:
        audio = clip(n_samples)
        for chunk in CHUNKS[n_samples]:
            stream = FeatureStream(classifier, **own_statistics(audio))
            for found, values in zip(
                streamed(stream, audio, chunk), expected[n_samples], strict=False
            ):
                assert found.dtype == np.float32 and len(values) > 0
                assert_close(found, values)
    assert np.abs(expected[LENGTHS[-1]][1]).max() > 0.1


@pytest.mark.parametrize(("name", "frontend"), CASES)
def test_the_scores_of_one_window_are_the_clips(name, frontend):
    classifier = small(name, frontend)
    for n_samples in LENGTHS[2:]:
        audio = clip(n_samples)
        stream = ScoreStream(classifier, window_s=4, hop_s=1, **own_statistics(audio))
        found = [*stream.push(audio), *stream.close()][-1]
        *_, embedding, scores = whole(name, frontend)[n_samples]
        assert (found.start_s, found.end_s) == (0, n_samples / 16_000)
        assert_close(found.embedding, embedding)
        assert_close(found.scores, scores)


def test_without_lengths_it_is_the_same():
    classifier = small("aemnet_dw", "llf2")
    n_samples = LENGTHS[-1]
    apply = quick_jit(classifier.model.apply)
    _, aux = apply(
        classifier.variables, jnp.asarray(standardize(clip(n_samples)))[None]
    )
    *_, embedding, _ = whole("aemnet_dw", "llf2")[n_samples]
    assert_close(embedding, aux["embedding"][0])


@pytest.mark.parametrize("block_s", [0, 20])
def test_blocks_of_any_size_make_the_same(block_s):
    classifier, audio = small("aemnet_dw", "llf2"), clip(55_003)
    stream = FeatureStream(classifier, block_s=block_s, **own_statistics(audio))
    found = streamed(stream, audio, 4_001)
    for values, expected in zip(
        found, whole("aemnet_dw", "llf2")[55_003], strict=False
    ):
        assert_close(values, expected)


def test_a_frame_comes_with_the_last_sample_that_it_sees():
    classifier, audio = small("aemnet_dw", "llf2"), clip(55_003)
    stream = FeatureStream(classifier, block_s=0, **own_statistics(audio))
    stride, look_ahead = stream.stride_samples, stream.look_ahead_samples
    assert stride == 5_120 and look_ahead == 61 * 160 - 3
    assert stream.look_ahead_s == look_ahead / 16_000
    counts = np.zeros(2, int)
    places = [*range(0, 4_000, 1_333)]
    places += [stride + look_ahead - 1, stride + look_ahead]
    places += [7 * stride + look_ahead - 1, 7 * stride + look_ahead]
    for start, end in zip(places, places[1:], strict=False):
        found = stream.push(audio[start:end])
        counts += len(found.llf), len(found.hlf)
        # Frame i of llf2 sees samples up to 160 i + 156.
        assert counts.tolist() == [(end + 3) // 160, max(0, end - look_ahead) // stride]
    assert counts[1] == 7 and stream.heard_samples == places[-1]


def test_little_is_compiled_and_computed_twice():
    classifier, audio = small("aemnet_dw", "llf2"), clip(55_003)
    streamed(FeatureStream(classifier, **own_statistics(audio)), audio, 16_001)
    stream = FeatureStream(classifier, **own_statistics(audio))
    llf, function = stream._llf._function, stream._hlf._function
    compiled = llf.func._cache_size(), function.func._cache_size()
    assert min(compiled) > 0
    runs = []
    stream._hlf._function = lambda *args: runs.append(args[0].shape) or function(*args)
    streamed(stream, audio, 999)
    streamed(FeatureStream(small("aemnet_dw", "llf2")), audio, 7_001)
    assert compiled == (llf.func._cache_size(), function.func._cache_size())
    # A block for each frame and one for the end, of what a frame sees.
    assert set(runs) == {(1, 157, 128)} and len(runs) == 9


def test_windows_are_averages_of_frames():
    classifier, audio = small("aemnet", "llf1"), clip(55_003)
    _, hlf, *_ = whole("aemnet", "llf1")[55_003]
    stream = ScoreStream(classifier, window_s=1, hop_s=0.7, **own_statistics(audio))
    found = []
    for i in range(0, len(audio), 3_000):
        found += stream.push(audio[i : i + 3_000])
    found += stream.close()
    # Frames of 0.32 s; ends are the first to reach 0.7 s, 1.4 s, ..., and the stream's.
    assert [round(x.end_s / 0.32) for x in found] == [3, 5, 7, 9, 11]
    dense = classifier.variables["params"]["head"]["dense"]
    for window in found:
        end = round(window.end_s / 0.32)
        start = max(0, end - 3)
        assert window.start_s == pytest.approx(start * 0.32)
        embedding = hlf[start:end].mean(axis=(0, 1))
        assert_close(window.embedding, embedding)
        logits = embedding @ dense["kernel"] + dense["bias"]
        assert_close(window.scores, jax.nn.softmax(logits))
    assert found[-1].end_s == 55_003 / 16_000


def test_running_statistics_do_not_depend_on_chunks():
    classifier, audio = small("aemnet_dw", "llf2"), clip(16_161)
    first, second = (
        streamed(FeatureStream(classifier, memory_s=0.5), audio, chunk)
        for chunk in (777, 16_161)
    )
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    expected = whole("aemnet_dw", "llf2")[16_161]
    assert first[0].shape == expected[0].shape
    assert np.abs(first[0] - expected[0]).max() > 0.01


def test_chunks_of_integers_and_of_nothing():
    classifier, audio = small("aemnet_dw", "llf2"), to_int16(clip(5_119))
    given = {"mean": 0.1, "std": 0.2}
    stream = FeatureStream(classifier, **given)
    nothing = stream.push(np.zeros(0, np.int16))
    assert nothing.llf.shape == (0, 128) and nothing.hlf.shape[0] == 0
    stream.push([])
    found = streamed(stream, audio, 2_000)
    floats = (audio / 32_768).astype(np.float32)
    expected = streamed(FeatureStream(classifier, **given), floats, 5_119)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": 0.0}, "mean 0.0 and deviation None: give both or none"),
        ({"std": 1.0}, "mean None and deviation 1.0: give both or none"),
        ({"mean": 0, "std": 0}, "mean 0 and deviation 0: expected finite numbers"),
        ({"memory_s": 0}, "a memory of 0 s, expected more than 0"),
        ({"block_s": -1}, "blocks of -1 s, expected a number of 0 or more"),
        ({"window_s": 0}, "a window of 0 s, expected more than 0"),
        ({"window_s": float("inf")}, "a window of inf s, expected more than 0"),
        ({"hop_s": float("nan")}, "a hop of nan s, expected more than 0"),
        ({"window_s": 0.5}, "windows of 0.5 s every 1.0 s would leave gaps; expected"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ScoreStream(small("aemnet_dw", "llf2"), **options)


@pytest.mark.parametrize("seconds", [0.3, 0.47, 1.0])
def test_windows_as_long_as_a_hop_leave_no_gaps(seconds):
    classifier = small("aemnet_dw", "llf2")
    stream = ScoreStream(classifier, window_s=seconds, hop_s=seconds, mean=0, std=1)
    windows = [*stream.push(clip(55_003)), *stream.close()]
    assert len(windows) > 3 and windows[0].start_s == 0
    for one, other in itertools.pairwise(windows):
        assert other.start_s <= one.end_s < other.end_s


def test_bad_chunks_and_ends_are_refused():
    stream = FeatureStream(small("aemnet_dw", "llf2"))
    for chunk, message in (
        (np.zeros((2, 3)), r"the chunk is of shape \(2, 3\), expected"),
        ([0.0, np.nan], "the chunk has nan at sample 1"),
        (np.zeros(3, np.int32), "the chunk is of type int32"),
    ):
        with pytest.raises(ValueError, match=message):
            stream.push(chunk)
    stream.push(np.zeros(159))
    with pytest.raises(ValueError, match="ended after 159 samples, a frame needs 160"):
        stream.close()
    for method in (stream.close, lambda: stream.push([])):
        with pytest.raises(ValueError, match="the stream was closed; begin another"):
            method()


@pytest.mark.parametrize("frontend", ["log_mel", "mfcc"])
def test_a_network_that_hears_all_at_once_is_refused(frontend):
    with pytest.raises(ValueError, match="(LogMel|MFCC) cannot be streamed: it is not"):
        FeatureStream(small("aemnet_dw", frontend))


def test_the_guide_shows_what_works(capsys):
    guide = (ROOT / "docs" / "inference.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", guide, re.M | re.S)
    (block,) = (block for block in blocks if "ScoreStream" in block)
    microphone = [noise(16_000, seed=i) for i in range(3)]
    shown = {"classifier": small("aemnet_dw", "llf2"), "microphone": microphone}
    exec(block, shown)
    ends = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert ends == ["1.28", "2.24"] and shown["last"][-1].end_s == 3
