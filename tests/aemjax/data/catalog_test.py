"""The entries of the catalogue agree with one another."""

import pytest

from aemjax.data import catalog, splits

NAMES = sorted(catalog.DATASETS)


def test_names():
    assert NAMES == [
        "audioset",
        "covid19sounds_task1",
        "covid19sounds_task2",
        "covid19sounds_task3",
        "dcase2013",
        "esc10",
        "esc50",
        "icbhi2017",
        "manifest",
        "tau2020",
        "urbansound8k",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_published_counts_agree(name):
    dataset = catalog.get(name)
    for split, clips in dataset.published_per_class.items():
        assert len(clips) == dataset.classes
        assert sum(clips.values()) == dataset.published_clips[split]
    if dataset.published_per_class:
        assert dataset.published_per_class.keys() == dataset.published_clips.keys()


@pytest.mark.parametrize("name", NAMES)
def test_protocols_can_be_made(name):
    dataset = catalog.get(name)
    assert set(dataset.protocols) <= set(splits.PROTOCOLS)
    if dataset.official:
        assert "official" in dataset.protocols
        assert set(dataset.official) <= dataset.published_clips.keys()


@pytest.mark.parametrize("name", NAMES)
def test_metrics_have_the_class_that_they_are_of(name):
    dataset = catalog.get(name)
    assert len(set(dataset.metrics)) == len(dataset.metrics)
    assert ("Se" in dataset.metrics) == (dataset.normal_class is not None)
    assert ("positive_F1" in dataset.metrics) == (dataset.positive_class is not None)
    special = {dataset.normal_class, dataset.positive_class} - {None}
    for clips in dataset.published_per_class.values():
        assert special <= clips.keys()


def test_classes_that_metrics_are_of():
    assert catalog.get("icbhi2017").normal_class == "normal"
    for task in (1, 2, 3):
        assert catalog.get(f"covid19sounds_task{task}").positive_class == "covid"


def test_metrics_by_device():
    metrics = catalog.get("tau2020").metrics
    assert metrics[:7] == (*catalog.SINGLE_LABEL_METRICS, "accuracy/a", "accuracy/b")
    assert len(metrics) == 5 + 2 * 9
    assert metrics[-1] == "log_loss/s6"


def test_unknown_dataset():
    with pytest.raises(ValueError, match="unknown dataset 'esc5'; known: .*'esc50'"):
        catalog.get("esc5")
