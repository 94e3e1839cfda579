import functools

import pytest

from aemjax.models import create, summarize

# Name, front end, width, classes, trainable parameters.
PUBLISHED = [
    ("aemresnet", "llf1", 1.0, 527, 11_744_143),
    ("aemresnet", "llf1", 1.0, 50, 11_499_442),
    ("aemresnet", "llf1", 1.0, 4, 11_475_844),
    ("aemresnet", "llf2", 1.0, 2, 11_473_282),
    ("aemnet", "llf1", 2.0, 50, 14_158_514),
    ("aemnet_dw", "llf1", 2.0, 50, 2_722_429),
    ("aemnet_dw", "llf1", 2.0, 527, 2_967_130),
    ("aemnet_dw", "llf2", 0.5, 10, 319_093),
]
IMPLIED = [
    ("aemnet", "llf1", 2.0, 527, 14_403_215),
    ("aemnet_dw", "llf2", 0.5, 527, 584_314),
]


@functools.cache
def summary(name, *, n_samples=16_000, **kwargs):
    return summarize(create(name, **kwargs), n_samples=n_samples)


@pytest.mark.parametrize(
    ("name", "frontend", "width", "num_classes", "parameters"), PUBLISHED + IMPLIED
)
def test_published_parameter_counts(name, frontend, width, num_classes, parameters):
    costs = summary(name, frontend=frontend, width=width, num_classes=num_classes)
    assert costs.total_parameters == parameters
    assert costs.output_frames == 100


@pytest.mark.parametrize(("frontend", "macs"), [("llf1", 1.827e9), ("llf2", 1.848e9)])
def test_macs_of_aemresnet(frontend, macs):
    costs = summary("aemresnet", frontend=frontend, num_classes=4, width=1.0)
    assert costs.total_macs == pytest.approx(macs, rel=1e-3)


def test_macs_and_parameters_by_hand():
    costs = summary("aemnet_dw", frontend="llf2", width=0.5, num_classes=10)
    # 16,000 samples -> 4,000 -> 1,000 outputs -> 100 frames x 128 rows, then halved.
    assert costs.macs["frontend/conv1"] == 4_000 * 9 * 64
    assert costs.macs["frontend/conv2"] == 1_000 * 5 * 64 * 128
    assert costs.macs["backbone/conv3"] == 100 * 128 * (9 + 16)
    assert costs.macs["backbone/conv4"] == 50 * 64 * (9 * 16 + 16 * 32)
    assert costs.macs["embedding"] == 256 * 512
    assert costs.macs["head/dense"] == 512 * 10
    assert costs.parameters["frontend/conv1"] == 9 * 64 + 2 * 64
    assert costs.parameters["backbone/conv4"] == 9 * 16 + 2 * 16 + 16 * 32 + 2 * 32
    assert costs.parameters["embedding"] == 256 * 512 + 512
    assert costs.parameters["head/dense"] == 512 * 10 + 10


@pytest.mark.parametrize("name", ["aemnet", "aemnet_dw", "aemresnet"])
@pytest.mark.parametrize("frontend", ["llf1", "llf2", "llf-fast"])
def test_100_frames_per_second(name, frontend):
    kwargs = dict(frontend=frontend, width=0.25, num_classes=2)
    for n_samples, frames in ((16_000, 100), (160_000, 1_000)):
        assert summary(name, n_samples=n_samples, **kwargs).output_frames == frames


def test_macs_grow_with_the_clip_and_parameters_do_not():
    kwargs = dict(frontend="llf1", width=0.25, num_classes=2)
    short = summary("aemresnet", **kwargs)
    long = summary("aemresnet", n_samples=160_000, **kwargs)
    assert long.parameters == short.parameters
    assert 9.5 < long.total_macs / short.total_macs < 10


def test_too_short_clip_raises():
    with pytest.raises(ValueError, match="audio has 159 samples, a frame needs 160"):
        summary("aemresnet", n_samples=159, num_classes=2)


def test_dict():
    costs = summary("aemresnet", frontend="llf1", num_classes=4, width=1.0)
    totals = costs.to_dict()
    keys = ["parameters", "macs", "bytes", "output_frames", "blocks"]
    assert list(totals) == keys
    assert totals["parameters"] == 11_475_844
    assert totals["bytes"] == 4 * 11_475_844
    blocks = totals["blocks"]
    assert set(blocks) == {
        "frontend/conv1",
        "frontend/conv2",
        "backbone/conv3",
        *(f"backbone/block{i}" for i in range(1, 9)),
        "embedding",
        "head/dense",
    }
    for key in ("parameters", "macs", "bytes"):
        assert all(row[key] > 0 for row in blocks.values())
        assert sum(row[key] for row in blocks.values()) == totals[key]


def test_table():
    costs = summary("aemnet_dw", frontend="llf2", width=0.5, num_classes=10)
    header, *rows, total, frames = costs.table().splitlines()
    assert header.split() == ["block", "parameters", "MACs", "bytes"]
    assert [row.split()[0] for row in rows] == list(costs.parameters)
    macs = f"{costs.total_macs:,}"
    assert total.split() == ["total", "319,093", macs, f"{4 * 319_093:,}"]
    assert frames == "front end output: 100 frames"
    assert {len(line) for line in (header, *rows, total)} == {70}
