"""A server of a test's own, on a free port."""

import contextlib
import threading

import httpx

from aemjax.serve.page.app import create_app
from aemjax.serve.page.limits import Limits
from aemjax.serve.page.server import bind, make_server, url_of


@contextlib.contextmanager
def running(classifier, *, limits=None, **options):
    """Its URL."""
    limits = limits or Limits()
    app = create_app(classifier, limits=limits, **options)
    is_ready = threading.Event()
    with bind("127.0.0.1", 0) as listener:
        server = make_server(app, limits, ready=is_ready.set)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            assert is_ready.wait(10)
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def client_of(classifier, **options):
    """What sends requests to such a server."""
    with running(classifier, **options) as url:
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            yield client
