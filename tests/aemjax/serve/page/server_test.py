"""Connections end in time, whatever those at their other ends do or leave undone."""

import gc
import socket
import threading
import time
import weakref

import pytest

from aemjax.serve.page.limits import Limits
from aemjax.serve.page.server import bind, make_server

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = bytes(16_000_000)  # more than the system takes for one who does not read


def app_of(*chunks):
    """Answers with these."""

    async def app(scope, receive, send):
        headers = [(b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for chunk in chunks:
            part = {"type": "http.response.body", "body": chunk, "more_body": True}
            await send(part)
        await send({"type": "http.response.body", "body": b""})

    return app


@pytest.fixture
def served():
    """(server, address) of an app, by a function."""
    started = []

    def serve(app, timeout_s):
        is_ready = threading.Event()
        listener = bind("127.0.0.1", 0)
        server = make_server(app, Limits(timeout_s=timeout_s), ready=is_ready.set)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        started.append((listener, server, thread))
        assert is_ready.wait(10)
        return server, listener.getsockname()

    yield serve
    for listener, server, thread in started:
        server.should_exit = True
        thread.join()
        listener.close()


def wait_until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


@pytest.mark.parametrize("chunks", [[LARGE], [LARGE, LARGE]], ids=["whole", "parts"])
def test_an_answer_that_is_not_read_is_not_kept(served, chunks):
    server, address = served(app_of(*chunks), timeout_s=0.5)
    connections = server.server_state.connections
    with socket.create_connection(address, timeout=10) as sock:
        sock.sendall(REQUEST)
        wait_until(lambda: connections)
        wait_until(lambda: not connections)


def test_what_is_read_in_time_is_whole(served):
    _, address = served(app_of(LARGE), timeout_s=20)
    received = 0
    with socket.create_connection(address, timeout=10) as sock:
        sock.sendall(REQUEST)
        time.sleep(0.3)
        while part := sock.recv(1 << 20):
            received += len(part)
    assert received > len(LARGE)


def test_finished_connections_are_forgotten(served):
    server, address = served(app_of(b"x"), timeout_s=60)
    connections = server.server_state.connections
    with socket.create_connection(address, timeout=10) as sock:
        wait_until(lambda: connections)
        protocol = weakref.ref(next(iter(connections)))
        sock.sendall(REQUEST)
        while sock.recv(1 << 16):
            pass

    def is_forgotten():
        gc.collect()
        return protocol() is None

    wait_until(is_forgotten)
