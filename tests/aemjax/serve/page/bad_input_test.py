"""Bad files and requests: each is answered in the one shape of errors, and forgotten."""

import http.client
import json
import re
from urllib.parse import urlsplit

import pytest

from aemjax.serve.page.limits import Limits
from tests.aemjax.serve.page.networks import tiny_classifier
from tests.aemjax.serve.page.servers import client_of
from tests.bad_audio import BAD, ODD, wav
from tests.jobs import ROOT

LIMITS = Limits(max_mb=4, max_s=60)
# Where it is another one than a file's on disk.
REASONS = {
    "announces_27_h.flac": "268435.46 s long, expected 60 s at most; cut it",
    "announces_8_times_27_h.flac": "268435.46 s long, expected 60 s at most; cut it",
}


@pytest.fixture(scope="module")
def client():
    with client_of(tiny_classifier(), limits=LIMITS) as client:
        yield client


def send(client, method, path, body=None, headers=None):
    """(status, headers, body) of a request as it is, which a better client would mend."""
    url = client.base_url
    connection = http.client.HTTPConnection(url.host, url.port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def post(client, data, **options):
    return client.post("/api/classify", content=data, **options)


def error_of(status, text, kind):
    """The message of an answer that is a refusal."""
    assert 400 <= status < 500, (status, text)
    assert kind == "application/json"
    answer = json.loads(text)
    assert set(answer) == {"error"} and answer["error"]
    message = answer["error"]
    assert len(message.splitlines()) == 1 and len(message) < 600
    for secret in ("Traceback", "site-packages", 'File "', str(ROOT), "root:"):
        assert secret not in message
    return message


def refused(response):
    kind = response.headers["content-type"]
    return error_of(response.status_code, response.text, kind)


@pytest.mark.parametrize("name", BAD)
def test_bad_files(client, name):
    data, reason = BAD[name]
    message = refused(post(client, data()))
    assert message.startswith("the file: ")
    assert re.search(REASONS.get(name, reason), message)


def test_odd_files(client):
    long = []
    for name, data in ODD.items():
        response = post(client, data(), params={"top_k": 1})
        if response.status_code == 413:
            long.append((name, refused(response)))
            continue
        assert response.status_code == 200, (name, response.text)
        assert 0 <= response.json()["top"][0]["probability"] <= 1
    assert long == [
        ("six_minutes.flac", "the file: 360.00 s long, expected 60 s at most; cut it")
    ]


def test_a_good_file_is_read_after_the_bad_ones(client):
    before = post(client, wav()).json()
    for data, _ in BAD.values():
        post(client, data(), params={"include": "waveform,features,embedding"})
    response = post(client, wav())
    assert response.status_code == 200 and response.json() == before


@pytest.mark.parametrize(
    "kind",
    ["text/html", "application/json", "multipart/form-data", "audio/wav", "x", ""],
)
def test_the_kind_that_is_announced_does_not_matter(client, kind):
    headers = {"Content-Type": kind, "Content-Encoding": "gzip", "Range": "bytes=9-"}
    assert post(client, wav(), headers=headers).status_code == 200
    assert "0 bytes" in refused(post(client, b"", headers=headers))


def test_a_form_is_no_file(client):
    response = client.post("/api/classify", files={"file": ("a.wav", wav())})
    assert "cannot be read" in refused(response)


@pytest.mark.parametrize(
    "query",
    [
        *("top_k=0", "top_k=-1", "top_k=1e9", "top_k=nan", "top_k=", "top_k=0x5"),
        *("top_k=99999999999999999999", "top_k=%00", "top_k=5&top_k=x", "top_k=1_"),
        *("window_s=0", "window_s=-1", "window_s=nan", "window_s=inf", "window_s=-inf"),
        *("window_s=1e-300", "window_s=1e999", "window_s=%F0%9F%90%95", "window_s=1,5"),
        *(
            "hop_s=1",
            "window_s=1&hop_s=2",
            "window_s=1&hop_s=0",
            "window_s=1&hop_s=nan",
        ),
        *("window_s=0.01&hop_s=1e-300", "window_s=0.01&hop_s=1e-5"),
        *(
            "include=all",
            "include=__class__",
            "include=../../etc/passwd",
            "include=%00",
        ),
        *("include=neighbours", "path=/etc/passwd", "%00=1", "x" * 3_000 + "=1"),
        "window_s=1%0d%0aSet-Cookie:%20a=b",
        "&".join(f"a{i}={i}" for i in range(2_000)),
    ],
)
def test_bad_parameters(client, query):
    response = client.post(f"/api/classify?{query}", content=wav())
    if len(query) < 1_000:
        refused(response)
    assert response.status_code == 422 and "set-cookie" not in response.headers


@pytest.mark.parametrize("query", ["window_s=1e308", "window_s=1e300&hop_s=1e299"])
def test_a_window_that_no_clip_fills(client, query):
    response = client.post(f"/api/classify?{query}", content=wav())
    assert response.status_code == 200 and len(response.json()["windows"]) == 1


@pytest.mark.parametrize(
    "method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]
)
def test_other_methods(client, method):
    assert refused(client.request(method, "/api/classify"))
    assert client.request(method, "/api/classify").status_code == 405


@pytest.mark.parametrize(
    "path", ["/", "/api/model", "/static/page.js", "/openapi.json"]
)
def test_nothing_else_takes_files(client, path):
    response = client.post(path, content=wav())
    assert response.status_code == 405 and refused(response)


@pytest.mark.parametrize(
    "path",
    [
        *("/../../../../etc/passwd", "/static/../../../../../etc/passwd", "/.env"),
        *("/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py"),
        *("/static/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "/static//etc/passwd"),
        *("/static/%2e%2e%2fapp.py", "/static/..%5capp.py", "/static/..%252fapp.py"),
        *("/static/%00", "/static/page.js%00", "/static/page.js%00.html", "/%00"),
        *("/static/%ff%fe", "/static/%c0%ae%c0%ae/app.py", "/static/" + "a" * 5_000),
        *(
            "/static/" + "a/" * 3_000,
            "/static",
            "/static/",
            "/static/.",
            "/static/none",
        ),
        *("/api", "/api/", "/api/model/", "/api/classify/../secret", "/docs", "/redoc"),
        *("//etc/passwd", "/file:///etc/passwd", "http://evil.example/", "/;/", "/*"),
    ],
)
def test_other_paths(client, path):
    status, headers, text = send(client, "GET", path)
    if status == 307:  # to the same, without the slash at its end
        assert urlsplit(headers["location"]).netloc == client.base_url.netloc.decode()
        return
    assert error_of(status, text, headers["content-type"])


@pytest.mark.parametrize(
    "headers",
    [
        *({"Host": host} for host in ("evil.example", "localhost@evil.example", "[::")),
        *({"Host": host} for host in ("", "localhost.", "a" * 3_000)),
        *(
            {"Origin": origin}
            for origin in ("null", "https://evil.example", "x" * 3_000)
        ),
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "https://localhost"},
    ],
    ids=lambda headers: ": ".join(*headers.items())[:40],
)
def test_bad_headers(client, headers):
    assert refused(post(client, wav(), headers=headers))


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 20, "9" * 30, "\xb2", "x", ""])
def test_lengths_that_are_none(client, length):
    headers = {"Content-Length": length}
    status, _, text = send(client, "POST", "/api/classify", b"", headers)
    assert status in (400, 413) and b"Traceback" not in text
    assert post(client, wav()).status_code == 200
