import dataclasses

import numpy as np
import pytest

import aemjax
from aemjax.serve import long_clips
from tests.aemjax.audio.files import noise


@pytest.mark.parametrize("head", ["aclnetx", "acnet"])
def test_a_long_file_is_the_mean_of_its_pieces(released, monkeypatch, head):
    classifier = aemjax.load(released, batch_size=2)
    card, variables = classifier.card, classifier.variables
    card = dataclasses.replace(card, model=card.model | {"head": head})
    classifier = aemjax.Classifier(card, variables, batch_size=2)
    tone = 0.3 * np.sin(0.3 * np.arange(12_000)).astype(np.float32)
    clips = [np.concatenate([noise(12_001, level=0.1), tone]), noise(900)]
    whole = long_clips.run_whole(classifier, clips)
    np.testing.assert_allclose(
        whole["embedding"], [classifier.embed(clip) for clip in clips], atol=1e-4
    )
    given = []
    outputs = classifier.outputs

    def spy(pieces, **options):
        given.extend(len(piece) for piece in pieces)
        return outputs(pieces, **options)

    monkeypatch.setattr(long_clips, "PIECE_S", 1)
    monkeypatch.setattr(classifier, "outputs", spy)
    found = long_clips.run_whole(classifier, clips)
    assert given == [10_240, 13_761, 900]
    for key, values in whole.items():
        assert found[key].dtype == np.float32
        np.testing.assert_allclose(found[key][1], values[1], atol=1e-4)
        away = np.abs(found[key][0] - values[0]).max()
        assert 0 < away < 0.02 * np.abs(values[0]).max(), key
    # The head is one of the average, whether it has a ReLU in it or not.
    dense, read = variables["params"]["head"]["dense"], found["embedding"][0]
    read = np.maximum(read, 0) if head == "aclnetx" else read
    np.testing.assert_allclose(
        found["logits"][0], read @ dense["kernel"] + dense["bias"], atol=1e-5
    )
