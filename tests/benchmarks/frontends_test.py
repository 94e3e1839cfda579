import pytest

from benchmarks import frontends


def test_front_ends_are_compared(monkeypatch, capsys):
    monkeypatch.setattr(frontends, "SECONDS_TIMED", 0.01)
    monkeypatch.setattr(frontends, "NETWORKS", ("aemnet_dw",))
    (row,) = frontends.run(repeats=1, smoke=True)
    assert row["network"] == "aemnet_dw 0.125" and row["clips"] == "16 x 0.2 s"
    ratios = row["llf2 / llf1"]
    assert ratios["time of a training step"] > 0 < ratios["time of scoring"]
    # Both have as many frames, and what follows is the same.
    assert ratios["multiply-adds"] > 1
    assert capsys.readouterr().out.startswith(
        "aemnet_dw 0.125 16 x 0.2 s: llf2 / llf1, "
    )


def test_the_ratio_is_the_second_over_the_first(monkeypatch):
    monkeypatch.setattr(frontends, "SECONDS_TIMED", 1.0)
    asked = []

    def takes(seconds):
        def timed(passes):
            asked.append((seconds, passes))
            return seconds

        return timed

    ratio = frontends._ratio({"llf1": takes(0.5), "llf2": takes(2.0)}, 1)
    assert ratio == pytest.approx(4.0)
    assert asked[-2:] == [(0.5, 2), (2.0, 1)]
