"""Pages of other sites, and names that were made to lead here, get nothing."""

import socket

import pytest

from aemjax.serve.page.guard import HEADERS
from tests.aemjax.audio.files import encode, noise
from tests.aemjax.serve.page.networks import tiny_classifier
from tests.aemjax.serve.page.servers import client_of

CLIP = encode(noise(1_600), format="WAV")


@pytest.fixture(scope="module")
def client():
    with client_of(tiny_classifier(), host="sounds.example") as client:
        yield client


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1:1",
        "192.168.7.7",
        "[::1]:8000",
        "sounds.example:8000",
        socket.gethostname(),
    ],
)
def test_own_names_are_answered(client, host):
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "", "[::", "a b"]
)
def test_other_names_are_refused(client, host):
    for path in ("/", "/api/model", "/static/page.js", "/none"):
        response = client.get(path, headers={"Host": host})
        assert response.status_code == 400
        assert "is none of this server" in response.json()["error"]


def test_other_sites_may_not_send(client):
    own = f"http://{client.base_url.netloc.decode()}"
    for origin in ("https://evil.example", "null", "http://localhost:1", own + "0", ""):
        response = client.post(
            "/api/classify", content=CLIP, headers={"Origin": origin}
        )
        assert response.status_code == 403, origin
        assert "may not send requests here" in response.json()["error"]
    for headers in ({"Origin": own}, {}):
        response = client.post("/api/classify", content=CLIP, headers=headers)
        assert response.status_code == 200
        assert "access-control-allow-origin" not in response.headers
    headers = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
    }
    response = client.options("/api/classify", headers=headers)
    assert response.status_code == 405
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("path", ["/", "/api/model", "/static/page.css", "/none"])
def test_every_answer_is_guarded(client, path):
    headers = client.get(path).headers
    for name, value in HEADERS.items():
        assert headers.get_list(name) == [value]
    policy = headers["content-security-policy"]
    assert "default-src 'none'; " in policy and "unsafe" not in policy
    assert "server" not in headers
