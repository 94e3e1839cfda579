import numpy as np

import aemjax
from aemjax.serve import long_clips
from tests.aemjax.audio.files import noise


def test_a_long_file_is_the_mean_of_its_pieces(released, monkeypatch):
    classifier = aemjax.load(released, batch_size=2)
    clips = [noise(n, level=0.3, seed=n) * np.linspace(0, 1, n) for n in (24_001, 900)]
    clips = [clip.astype(np.float32) for clip in clips]
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
        assert 0 < away < 0.05 * np.abs(values[0]).max(), key
