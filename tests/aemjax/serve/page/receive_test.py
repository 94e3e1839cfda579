"""Senders that are slow, lie about lengths, or go away; each by its own socket."""

import contextlib
import json
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from aemjax.serve.page.limits import MAX_IN_HAND, Limits
from tests.aemjax.audio.files import encode, noise
from tests.aemjax.serve.page.networks import tiny_classifier
from tests.aemjax.serve.page.servers import running

TIMEOUT_S = 2  # for good requests too, and cores may be busy
HASTY_S = 0.5
CLIP = encode(noise(1_600), format="WAV")


@pytest.fixture(scope="module")
def url():
    limits = Limits(max_mb=0.1, timeout_s=TIMEOUT_S)
    with running(tiny_classifier(), limits=limits) as url:
        yield url


@pytest.fixture(scope="module")
def hasty_url():
    """Of a server that good requests may be too slow for."""
    with running(tiny_classifier(), limits=Limits(timeout_s=HASTY_S)) as url:
        yield url


@contextlib.contextmanager
def connection(url):
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as sock:
        yield sock


def head(*lines):
    first = ("POST /api/classify HTTP/1.1", "Host: localhost")
    return "\r\n".join([*first, *lines, "", ""]).encode()


def answer(sock):
    """(status, error) once the server has closed the connection."""
    data = b""
    while more := sock.recv(1 << 16):
        data += more
    top, _, body = data.partition(b"\r\n\r\n")
    assert b"connection: close" in top.lower()
    return int(top.split()[1]), json.loads(body).get("error")


def is_alive(url):
    response = httpx.post(
        f"{url}api/classify", content=CLIP, trust_env=False, timeout=30
    )
    return response.status_code == 200


def test_a_body_that_stops_is_not_waited_for(url):
    for sent in (CLIP[:50], b""):
        with connection(url) as sock:
            start = time.monotonic()
            sock.sendall(head(f"Content-Length: {len(CLIP)}") + sent)
            status, error = answer(sock)
            assert TIMEOUT_S <= time.monotonic() - start < 9
            assert status == 408
            assert error.startswith(f"{len(sent)} bytes came in 2 s, expected the who")
    assert is_alive(url)


def test_a_body_in_drips_is_not_waited_for(hasty_url):
    with connection(hasty_url) as sock:
        sock.sendall(head(f"Content-Length: {len(CLIP)}"))
        with contextlib.suppress(OSError):  # it may have been closed
            for _ in range(7):
                sock.sendall(b"R")
                time.sleep(0.1)
        assert answer(sock)[0] == 408


@pytest.mark.parametrize("begun", [b"", head()[:30]], ids=["silence", "half a head"])
def test_a_request_that_does_not_begin_is_closed(hasty_url, begun):
    with connection(hasty_url) as sock:
        start = time.monotonic()
        sock.sendall(begun)
        assert sock.recv(100) == b""
        assert HASTY_S <= time.monotonic() - start + 0.1 < 5


def test_too_much_is_refused_as_announced(url):
    with connection(url) as sock:
        sock.sendall(head("Content-Length: 99999999999"))
        status, error = answer(sock)
    assert status == 413 and error.startswith(
        "the file has more than 100000 bytes (0.1"
    )


def test_too_much_is_refused_as_it_comes(url):
    chunk = b"2710\r\n" + bytes(10_000) + b"\r\n"
    with connection(url) as sock:
        sock.sendall(head("Transfer-Encoding: chunked") + 11 * chunk)
        status, error = answer(sock)  # the end of the body never comes
    assert status == 413 and "more than 100000 bytes" in error
    response = httpx.post(
        f"{url}api/classify", content=bytes(3_000_000), trust_env=False
    )
    assert response.status_code == 413  # is read by one who sends all first


@pytest.mark.parametrize(
    ("lines", "query", "expected"),
    [
        ([], "", (413, "the file has more than 100000 bytes")),
        ([], "?top_k=0", (422, "top_k is '0'")),
        (["Origin: https://evil.example"], "", (403, "a page of 'https://evil.ex")),
        (["Host: evil.example"], "", (400, "the Host 'evil.example' is none")),
    ],
)
def test_refusals_reach_who_sends_all_first(url, lines, query, expected):
    check_refusal(url, lines, query, expected)


def test_that_all_places_are_taken_reaches_who_sends_all_first(url):
    with contextlib.ExitStack() as others:
        for _ in range(MAX_IN_HAND):
            sock = others.enter_context(connection(url))
            sock.sendall(head("Content-Length: 100"))
        time.sleep(0.2)  # until they have their places
        check_refusal(url, [], "", (503, f"{MAX_IN_HAND} requests are in hand"))


def check_refusal(url, lines, query, expected):
    """Sends several MB before it reads, as browsers do."""
    n_bytes = 6_000_000
    first = f"POST /api/classify{query} HTTP/1.1"
    host = [] if any(line.startswith("Host") for line in lines) else ["Host: localhost"]
    top = [first, *host, *lines, f"Content-Length: {n_bytes}", "", ""]
    with connection(url) as sock:
        sock.sendall("\r\n".join(top).encode())
        for _ in range(6):
            sock.sendall(bytes(n_bytes // 6))
            time.sleep(0.02)
        status, error = answer(sock)
    assert status == expected[0] and error.startswith(expected[1])


def test_chunks_and_lies_about_lengths(url):
    with connection(url) as sock:
        body = b"".join(b"%x\r\n%s\r\n" % (len(x), x) for x in (CLIP[:99], CLIP[99:]))
        sock.sendall(head("Transfer-Encoding: chunked") + body + b"0\r\n\r\n")
        assert answer(sock) == (200, None)
    with connection(url) as sock:  # what is past the length is no part of the body
        sock.sendall(head("Content-Length: 100") + CLIP)
        status, error = answer(sock)
    assert status == 422 and "the file: truncated" in error


def test_senders_that_go_away_leave_nothing(url, capfd):
    for _ in range(20):  # more than there are places
        with connection(url) as sock:
            sock.sendall(head(f"Content-Length: {len(CLIP)}") + CLIP[:100])
    assert is_alive(url)
    assert "Traceback" not in capfd.readouterr().err
