"""The API: what is answered is what the classifier says, what is wrong is said in one shape."""

import base64
import logging
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from aemjax.audio.read import AudioError, read_audio
from aemjax.serve.page.analysis import Analyser
from aemjax.serve.page.app import create_app
from aemjax.serve.page.features import FrontEnd
from aemjax.serve.page.limits import Limits
from aemjax.serve.page.neighbours import Neighbours
from tests.aemjax.audio.files import RATE, encode, noise, tone
from tests.aemjax.serve.page.networks import LABELS, tiny_classifier
from tests.aemjax.serve.page.servers import client_of

CLIP = encode(noise(RATE, level=0.3), format="WAV")


@pytest.fixture(scope="module")
def classifier():
    return tiny_classifier()


@pytest.fixture(scope="module")
def client(classifier):
    clips = [noise(RATE, level=0.3), tone(500), tone(3_000)]
    neighbours = Neighbours(
        ["/a/b/noise", "/a/low", "/a/high"], classifier.embed(clips)
    )
    limits = Limits(max_mb=0.5, max_s=5)
    options = {"limits": limits, "neighbours": neighbours, "top_k": 2}
    with client_of(classifier, **options) as client:
        yield client


def classify(client, data=CLIP, status=200, **query):
    response = client.post("/api/classify", params=query, content=data)
    assert response.status_code == status, response.text
    if status != 200:
        assert set(response.json()) == {"error"}
        return response.json()["error"]
    return response.json()


def test_a_clip_has_the_classifiers_classes(client, classifier):
    found = classify(client)
    expected = classifier.classify(read_audio(CLIP), top_k=2)
    assert [(x["label"], x["probability"]) for x in found["top"]] == expected
    assert found["sample_rate"] == RATE and found["duration_s"] == 1
    assert found["windows"] == []
    for part in ("timeline", "waveform", "features", "embedding", "neighbours"):
        assert found[part] is None
    assert [x["label"] for x in classify(client, top_k=4)["top"]] != LABELS
    stereo = encode(np.stack([noise(), noise(seed=1)], 1), rate=8_000, format="FLAC")
    found = classify(client, stereo, top_k=1)
    assert found["top"][0]["probability"] == pytest.approx(
        classifier.classify(read_audio(stereo))[0][1], abs=1e-6
    )
    assert found["duration_s"] == 2


def test_windows_are_as_cut_out(client, classifier):
    audio = np.concatenate([noise(RATE, level=0.3), tone(700)])
    data = encode(audio, format="WAV", subtype="FLOAT")
    found = classify(client, data, window_s=0.8, hop_s=0.5, top_k=3)
    spans = [(w["start_s"], w["end_s"]) for w in found["windows"]]
    assert spans == [(0, 0.8), (0.5, 1.3), (1, 1.8), (1.2, 2)]
    scores = np.stack(
        [classifier.scores(audio[round(s * RATE) : round(e * RATE)]) for s, e in spans]
    )
    for window, row in zip(found["windows"], scores, strict=True):
        expected = classifier.top(row, 3)
        assert [x["label"] for x in window["top"]] == [label for label, _ in expected]
        np.testing.assert_allclose(
            [x["probability"] for x in window["top"]],
            [p for _, p in expected],
            atol=1e-5,
        )
    best = np.argsort(-scores.max(axis=0))[:3]
    assert found["timeline"]["labels"] == [LABELS[i] for i in best]
    np.testing.assert_allclose(
        found["timeline"]["probabilities"], scores[:, best].T, atol=1e-5
    )
    short = classify(client, CLIP, window_s=3)  # than a window: one, whole
    assert [(w["start_s"], w["end_s"]) for w in short["windows"]] == [(0, 1)]
    assert short["windows"][0]["top"] == short["top"]


@pytest.mark.parametrize("query", [{"window_s": 0.11, "hop_s": 0.055}, {"window_s": 1}])
def test_windows_every_half_a_window_are_allowed(client, query):
    found = classify(client, **query)["windows"]
    assert sum(w["end_s"] - w["start_s"] for w in found) <= 2


def test_windows_are_counted_in_samples(client):
    # 59.2 samples are 59; 63.5 are 64, but would be 249.2 windows unrounded.
    error = classify(client, status=422, window_s=0.016, hop_s=0.0037)
    assert "every 0.0036875 s are 268, expected 250" in error
    assert len(classify(client, window_s=0.0149, hop_s=0.00397)["windows"]) == 248


def test_what_is_not_finite_is_refused():
    classifier = tiny_classifier()
    params = classifier.variables["params"]
    params["head"] = jax.tree.map(lambda x: np.full_like(x, 3e38), params["head"])
    with client_of(classifier) as client:
        error = classify(client, status=422)
    assert error == "the file: the network's outputs are not finite"


def test_what_else_is_asked_for(client, classifier):
    audio = np.concatenate([tone(500), np.zeros(RATE, np.float32)])
    data = encode(audio, format="WAV", subtype="FLOAT")
    found = classify(client, data, include="waveform,features,embedding,neighbours")
    np.testing.assert_allclose(found["embedding"], classifier.embed(audio), atol=1e-5)
    low, high = found["waveform"]["low"], found["waveform"]["high"]
    assert len(low) == len(high) == 800
    np.testing.assert_allclose(low[0], audio[:40].min())
    np.testing.assert_allclose(high[399], audio[399 * 40 : 400 * 40].max())
    assert not any(low[400:] + high[400:])
    assert [n["path"] for n in found["neighbours"]][0] == "low"
    assert 0.9 < found["neighbours"][0]["similarity"] <= 1.0001
    repeated = client.post(
        "/api/classify?include=waveform&include=embedding", content=data
    ).json()
    assert repeated["waveform"] == found["waveform"] and repeated["features"] is None
    nearest = classify(client, include="neighbours", top_k=3)["neighbours"]
    assert nearest[0]["path"] == "b/noise"
    assert nearest[0]["similarity"] == pytest.approx(1, abs=1e-4)


def test_features_can_be_decoded(client, classifier):
    found = classify(client, include="features")["features"]
    assert (found["channels"], found["columns"]) == (128, 100)
    data = np.frombuffer(base64.b64decode(found["data"]), "u1").reshape(128, 100)
    values = found["low"] + (found["high"] - found["low"]) * (data / 255) ** 2
    expected = FrontEnd(classifier)(read_audio(CLIP))
    assert found["low"] == expected.min()
    assert 0.9 < (expected <= found["high"]).mean() < 1
    step = (found["high"] - found["low"]) / 127
    np.testing.assert_allclose(values, expected.clip(None, found["high"]), atol=step)
    assert found["tones_hz"] == sorted(found["tones_hz"])
    long = encode(noise(5 * RATE), format="WAV", subtype="PCM_U8")
    assert classify(client, long, include="features")["features"]["columns"] == 500


def test_the_model_is_described(client):
    about = client.get("/api/model").json()
    assert about["labels"] == LABELS and about["sample_rate"] == RATE
    assert about["frontend"] == "llf1"
    assert about["name"] == "tests.tiny:Backbone" and about["dataset"] == "made"
    assert about["neighbours"] == 3 and about["top_k"] == 2
    assert about["limits"]["max_bytes"] == 500_000 and about["limits"]["max_s"] == 5
    assert client.get("/healthz").json() == {"status": "ok"}
    for path in ("/", "/static/page.js", "/static/page.css", "/static/icon.svg"):
        assert client.get(path).status_code == 200


def test_the_api_is_documented(client):
    about = client.get("/openapi.json").json()
    post = about["paths"]["/api/classify"]["post"]
    assert "application/octet-stream" in post["requestBody"]["content"]
    refs = {
        status: response["content"]["application/json"]["schema"]["$ref"]
        for status, response in post["responses"].items()
    }
    assert refs.pop("200").endswith("/Answer")
    assert set(refs) == {"400", "403", "408", "413", "422", "500", "503"}
    assert {ref.rpartition("/")[2] for ref in refs.values()} == {"Problem"}
    assert "HTTPValidationError" not in about["components"]["schemas"]
    for path in ("/docs", "/redoc"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"top_k": 0}, "top_k is '0': .* greater than or equal to 1"),
        ({"top_k": 101}, "less than or equal to 100"),
        ({"top_k": "x" * 500}, r"top_k is 'xxx.*\.\.\.x+': .*integer"),
        ({"window_s": "nan"}, "window_s is 'nan': .*finite"),
        ({"window_s": 0.001}, "greater than or equal to 0.01"),
        ({"hop_s": 1}, "hop_s is 1 without a window; give window_s"),
        ({"window_s": 1, "hop_s": 2}, "windows of 1 s every 2 s would leave gaps"),
        (
            {"window_s": 0.1, "hop_s": 1e-5},
            "every 6.25e-05 s are 14401, expected 250 at most; give a longer hop_s",
        ),
        (
            {"window_s": 0.9, "hop_s": 0.02},
            "every 0.02 s are 6, together 5.4 times as long as the clip, expected 4",
        ),
        ({"include": "waves"}, "include.0 is 'waves': .*'waveform', 'features'"),
        ({"topk": 1}, "topk is '1': Extra inputs are not permitted"),
    ],
)
def test_bad_parameters_are_named(client, query, message):
    assert re.search(message, classify(client, status=422, **query))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file: 0 bytes, expected audio"),
        (b"<html>" * 100, "the file: cannot be read .*convert it to WAV"),
        (CLIP[:5_000], "the file: truncated"),
        (encode(noise(100), format="WAV"), "shorter than one 10 ms frame"),
        (
            encode(np.full(RATE, np.nan), format="WAV", subtype="FLOAT"),
            "expected finite numbers",
        ),
        (
            encode(9 * noise(RATE, level=1), format="WAV", subtype="FLOAT"),
            "expected .-1, 1.",
        ),
    ],
    ids=["empty", "html", "cut", "short", "nan", "loud"],
)
def test_what_is_no_usable_audio_is_refused(client, data, message):
    error = classify(client, data, status=422)
    assert re.search(message, error)
    assert "Traceback" not in error and "/" not in error.replace("Hz/", "")


def test_long_audio_is_refused_by_its_header(client):
    bomb = encode(np.zeros(3_600 * 8_000), rate=8_000, format="FLAC")
    assert len(bomb) < 500_000
    error = classify(client, bomb, status=413)
    assert error == "the file: 3600.00 s long, expected 5 s at most; cut it"
    wide = encode(np.zeros((4 * 96_000, 8)), rate=96_000, format="FLAC")
    error = classify(client, wide, status=413)
    assert error.startswith("the file: 3072000 values (384000 samples of 8 channels at")
    assert "expected 1920000 at most" in error
    large = encode(noise(300_000), format="WAV")
    assert "more than 500000 bytes (0.5 MB)" in classify(client, large, status=413)


def test_there_may_be_no_neighbours(classifier):
    with client_of(classifier) as client:
        error = classify(client, status=422, include="neighbours")
        assert client.get("/api/model").json()["neighbours"] == 0
    assert error.startswith("there are no neighbours; start the server with --neigh")
    for top_k in (0, 101):
        with pytest.raises(ValueError, match=f"top_k is {top_k}, expected 1 to 100"):
            create_app(classifier, top_k=top_k)


def test_other_errors_have_the_same_shape(client):
    response = client.get("/api/nothing")
    assert response.status_code == 404
    assert response.json()["error"].startswith("there is nothing at /api/nothing; ")
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/none"):
        assert client.get(path).status_code == 404
    response = client.get("/api/classify")
    assert response.status_code == 405 and response.headers["allow"] == "POST"
    assert response.json()["error"].startswith("/api/classify takes no GET; ")


def test_the_unexpected_is_logged_and_not_told(classifier, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(Analyser, "analyse", fail)
    with client_of(classifier) as client:
        logger = logging.getLogger("uvicorn.error")
        logger.addHandler(caplog.handler)
        response = client.post("/api/classify", content=CLIP)
        logger.removeHandler(caplog.handler)
    assert response.status_code == 500
    assert response.json() == {"error": "the server failed; its log says why"}
    assert "content-security-policy" in response.headers
    assert "RuntimeError: secret" in caplog.text


def test_one_is_computed_and_few_wait(classifier, monkeypatch):
    at_once, most_at_once, go = [], [], threading.Event()
    analyse = Analyser.analyse

    def waiting(self, data, options):
        at_once.append(self)
        most_at_once.append(len(at_once))
        assert go.wait(20)
        at_once.pop()
        return analyse(self, data, options)

    def post(_):
        response = client.post("/api/classify", content=CLIP)
        if response.status_code == 503:
            assert response.headers["retry-after"] == "5"
            assert "8 requests are in hand already; try" in response.json()["error"]
            go.set()
        return response.status_code

    monkeypatch.setattr(Analyser, "analyse", waiting)
    with client_of(classifier) as client, ThreadPoolExecutor(9) as threads:
        assert sorted(threads.map(post, range(9))) == [200] * 8 + [503]
        assert set(most_at_once) == {1} and len(most_at_once) == 8
        assert post(None) == 200


def test_who_went_away_is_not_computed(classifier, monkeypatch):
    begun, go, computed = threading.Event(), threading.Event(), []

    def waiting(self, data, options):
        computed.append(len(data))
        begun.set()
        assert go.wait(20)
        raise AudioError("enough")

    monkeypatch.setattr(Analyser, "analyse", waiting)
    head = b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n"
    with client_of(classifier) as client, ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/api/classify", content=b"first")
        assert begun.wait(20)
        address = client.base_url.host, client.base_url.port
        for _ in range(5):
            with socket.create_connection(address) as sock:
                sock.sendall(head + bytes(300_000))
        time.sleep(0.3)  # until the server has noticed
        go.set()
        assert first.result().status_code == 422
        assert client.post("/api/classify", content=b"last").status_code == 422
    assert computed == [5, 4]


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_mb", 0), ("max_s", 301), ("max_s", float("nan")), ("timeout_s", 1e9)],
)
def test_limits_are_checked(name, value):
    message = f"--{name.replace('_', '-')} is {value}, expected"
    with pytest.raises(ValueError, match=message):
        Limits(**{name: value})
