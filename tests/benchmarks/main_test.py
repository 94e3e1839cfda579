"""The command line of the benchmarks, and what they run in."""

import os

import jax
import pytest

from benchmarks import __main__


@pytest.mark.parametrize("repeats", ["0", "-1"])
def test_nothing_is_measured_less_than_once(repeats, capsys):
    with pytest.raises(SystemExit):
        __main__.main(["ops", "--repeats", repeats])
    assert f"--repeats is {repeats}, expected 1 or more" in capsys.readouterr().err


def test_the_cache_of_the_user_is_hidden(monkeypatch):
    def caches():
        return os.environ.get(__main__.CACHE), jax.config.jax_compilation_cache_dir

    found = []
    monkeypatch.setitem(__main__.BENCHMARKS, "ops", lambda **_: found.append(caches()))
    monkeypatch.setenv(__main__.CACHE, "theirs")
    before = caches()
    assert None not in before
    __main__.main(["ops"])
    assert found == [(None, None)] and caches() == before
    monkeypatch.delenv(__main__.CACHE)
    __main__.main(["ops"])
    assert __main__.CACHE not in os.environ
